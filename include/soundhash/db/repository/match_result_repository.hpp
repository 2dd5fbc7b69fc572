#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include <soundhash/db/core/page.hpp>
#include <soundhash/db/exec/executor.hpp>
#include <soundhash/db/export.hpp>
#include <soundhash/db/model/match_result.hpp>

namespace soundhash::db {

/// Reads and writes `match_results`.
/// Thread safety and lifetime: those of the executor it is made from, which must outlive it.
/// Throws, from every method: as executor; invalid_argument before anything is sent when a text is
/// too long, not UTF-8 or has a NUL byte, a number is not finite, a limit is not 1 to 10000, or a
/// cursor is not of the list; in a batch it carries the row.
class SOUNDHASH_DB_EXPORT match_result_repository {
 public:
  explicit match_result_repository(executor& on) noexcept : on_{&on} {}

  /// Throws: constraint_violation (foreign_key) when a fingerprint does not exist.
  match_result create(const new_match_result& values, const call_options& options = {});

  /// Stores all or none and returns the ids in the order of `rows`. One statement for up to 2000
  /// rows, a transaction of such statements above; nothing is sent for no rows.
  /// Throws: constraint_violation (foreign_key) when a fingerprint does not exist.
  std::vector<std::int32_t> create_batch(std::span<const new_match_result> rows,
                                         const call_options& options = {});

  /// Results for a query fingerprint, the most similar first, the newest of equals first.
  [[nodiscard]] db::page<match_result> top(std::int32_t query_fingerprint_id, int limit = 10,
                                           const cursor& after = {},
                                           const call_options& options = {});

  /// All results by id.
  [[nodiscard]] db::page<match_result> page(const cursor& after = {}, int limit = 100,
                                            const call_options& options = {});

  /// Sets responded, and response_sent_at to now. False when there is no such result.
  bool mark_responded(std::int32_t id, const call_options& options = {});

 private:
  executor* on_;
};

}  // namespace soundhash::db
