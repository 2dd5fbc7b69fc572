#pragma once

#include <span>

#include <soundhash/db/cache/cache_options.hpp>

#include "setting.hpp"

namespace soundhash::db {

/// The variables of the cache.
[[nodiscard]] std::span<const settings::setting> cache_settings();

/// Throws: config_error naming the member, its value and the range.
void validate_cache(const cache_options& cache);

}  // namespace soundhash::db
