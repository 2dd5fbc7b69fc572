#include "driver/bound_values.hpp"

#include <cstddef>

namespace soundhash::db::driver {

bound_values::bound_values(const params* values) {
  const auto count = values == nullptr ? 0 : values->size();
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
