#pragma once

#include <algorithm>
#include <chrono>
#include <string_view>

#include <soundhash/db/cache/cache_options.hpp>
#include <soundhash/db/core/cache_tag.hpp>

namespace soundhash::db {

/// How long rows of a table may be kept: beside services that write them without this library it is
/// how stale they can be.
[[nodiscard]] inline std::chrono::seconds lifetime_of(const cache_options& options,
                                                      std::string_view table) {
  auto own = std::chrono::seconds{0};
  if (table == "channels") own = options.channel_ttl;
  if (table == "videos") own = options.video_ttl;
  if (table == "match_results") own = options.match_ttl;
  return own > std::chrono::seconds{0} ? own : options.ttl;
}

/// The lifetime of a value: a join keeps to that of each of its tables.
[[nodiscard]] inline std::chrono::milliseconds shortest_lifetime(const cache_options& options,
                                                                 const tag_set& tags) {
  if (tags.empty()) return options.ttl;
  auto shortest = std::chrono::seconds::max();
  for (const auto& tag : tags.tags()) {
    shortest = std::min(shortest, lifetime_of(options, tag.table()));
  }
  return shortest;
}

}  // namespace soundhash::db
