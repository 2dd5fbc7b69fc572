#pragma once

#include <string_view>

#include <soundhash/db/database.hpp>

namespace soundhash::db::test {

/// A figure of a database's registry: the sum over its labels, or that of one label
/// (`result="hit"`). 0 when there is none.
inline double figure_of(database& db, std::string_view name, std::string_view labels = {}) {
  double sum = 0;
  for (const auto& one : db.metrics().totals().figures) {
    if (one.name == name && (labels.empty() || one.labels == labels)) sum += one.value;
  }
  return sum;
}

/// Is Redis used, and has it heard of all writes?
inline bool cache_is_well(database& db) {
  return figure_of(db, "soundhash_cache_breaker_open") == 0 &&
         figure_of(db, "soundhash_cache_undelivered_tags") == 0;
}

/// Reads that the cache answered.
inline double cache_hits(database& db) {
  constexpr std::string_view requests = "soundhash_cache_requests_total";
  return figure_of(db, requests, "result=\"hit\"") +
         figure_of(db, requests, "result=\"negative_hit\"") +
         figure_of(db, requests, "result=\"near_hit\"");
}

}  // namespace soundhash::db::test
