#pragma once

#include <cstddef>
#include <optional>
#include <string_view>

#include <soundhash/db/core/deadline.hpp>

#include "cache/key_space.hpp"
#include "cache/redis_call.hpp"

namespace soundhash::db {

/// Deletes the values whose name matches a glob pattern, by SCAN and UNLINK, and tells the near
/// caches of all processes, which hear of tags alone: by the tag of the value
/// (`key_space::value_tag`). Returns how many it deleted; nullopt when the server did not answer
/// everything.
[[nodiscard]] std::optional<std::size_t> clear_pattern(redis::caller& session,
                                                       const key_space& keys,
                                                       std::string_view pattern, deadline until);

}  // namespace soundhash::db
