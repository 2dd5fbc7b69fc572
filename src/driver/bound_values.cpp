#include "driver/bound_values.hpp"

#include <cstddef>
#include <string>

#include <soundhash/db/core/error.hpp>

namespace soundhash::db::driver {
namespace {

/// What the Int16 in the Bind message can count.
constexpr std::size_t most_values = 65535;

}  // namespace

bound_values::bound_values(const statement& of) {
  const auto* const values = of.values;
  const auto count = values == nullptr ? 0 : values->size();
  if (count > most_values) {
    throw invalid_argument{"query \"" + std::string{of.name} + "\"",
                           "has " + std::to_string(count) +
                               " parameters, and the protocol counts to " +
                               std::to_string(most_values) + "; bind arrays and unnest them"};
  }
  data_.reserve(count);
  sizes_.reserve(count);
  formats_.reserve(count);
  for (std::size_t i = 0; i < count; ++i) {
    const auto value = (*values)[i];
    data_.push_back(value.data);
    sizes_.push_back(static_cast<int>(value.size));
    formats_.push_back(value.binary ? binary_format : 0);
  }
}

}  // namespace soundhash::db::driver
