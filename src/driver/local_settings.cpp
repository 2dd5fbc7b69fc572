#include "driver/local_settings.hpp"

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <limits>

namespace soundhash::db::driver {
namespace {

using std::chrono::milliseconds;

constexpr const char* limit_name = "statement_timeout";

/// What statement_timeout can hold.
constexpr milliseconds longest_limit{std::numeric_limits<std::int32_t>::max()};

milliseconds limit_of(const conninfo& where) {
  const auto found = where.settings.find(limit_name);
  if (found == where.settings.end()) return milliseconds::zero();
  return milliseconds{std::strtoll(found->second.c_str(), nullptr, 10)};
}

}  // namespace

local_settings::local_settings(const conninfo& where) : usual_limit_{limit_of(where)} {
  if (where.pooled) settings_ = where.settings;
  transaction_ended();
}

std::optional<milliseconds> local_settings::shorter_limit(deadline until) const {
  if (until.is_never()) return std::nullopt;
  const auto left = std::chrono::ceil<milliseconds>(until.remaining());
  if (usual_limit_.count() != 0 && left >= usual_limit_) return std::nullopt;
  if (left > longest_limit) return std::nullopt;
  return std::max(left, milliseconds{1});
}

std::optional<set_config_call> local_settings::ahead(std::optional<milliseconds> shorter) {
  if (!shorter && limit_in_force_ == usual_limit_) return std::nullopt;
  const bool nothing_is_known = !limit_in_force_;
  limit_in_force_ = shorter.value_or(usual_limit_);
  const auto limit = std::to_string(limit_in_force_->count());
  if (nothing_is_known && !settings_.empty()) return all_with(limit);
  return set_config_call{"SELECT set_config('statement_timeout', $1, true)", {limit}};
}

/// The session's own settings hold again; where it has none, another session may come next.
void local_settings::transaction_ended() noexcept {
  if (settings_.empty()) {
    limit_in_force_ = usual_limit_;
  } else {
    limit_in_force_.reset();
  }
}

set_config_call local_settings::all_with(const std::string& limit) const {
  set_config_call call{"SELECT ", {}};
  for (const auto& [name, value] : settings_) {
    call.values.push_back(name == limit_name ? limit : value);
    call.sql.append(call.values.size() == 1 ? "" : ", ").append("set_config('").append(name);
    call.sql.append("', $").append(std::to_string(call.values.size())).append(", true)");
  }
  return call;
}

}  // namespace soundhash::db::driver
