#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <soundhash/db/database_options.hpp>
#include <soundhash/db/export.hpp>

namespace soundhash::db {

/// How much a finding matters.
enum class severity : std::uint8_t {
  ok,       ///< looked at, nothing to do
  note,     ///< worth knowing
  warning,  ///< costs time or space, or will become a problem
  problem,  ///< something is wrong now
};

[[nodiscard]] SOUNDHASH_DB_EXPORT std::string_view to_string(severity value) noexcept;

/// One thing that `doctor::examine` looked at.
struct finding {
  severity level = severity::ok;
  std::string check;    ///< "connections", "statistics"; see doctor
  std::string subject;  ///< "videos", "idx_jobs_failed", a setting, a process
  std::string text;     ///< what was seen
  std::string remedy;   ///< what to run or to do; empty: nothing
  bool safe = false;    ///< the remedy is SQL that this role may run, blocks nobody, loses nothing
  bool applied = false;
};

/// Looks at a database and its cache for what goes wrong in production, and names the command that
/// mends it. The checks: `connections` (against the server's limit and the pool's), `settings`
/// (TimeZone, log_min_duration_statement, autovacuum), `schema` (migrations, tables and indexes
/// that are not as they make them), `slow_queries` (of pg_stat_statements with their plans, and
/// what runs now), `indexes` (invalid, bloated, redundant, unused, and tables that are read whole),
/// `statistics` (stale ones, dead rows, transaction ids), `ids` (how much of an id's range is
/// used), `cache` (does Redis answer).
///
/// Works on a direct connection of its own; a pooler in between is refused. What belongs to other
/// roles is only seen by a role with pg_monitor. Bloat is estimated from the statistics.
/// Thread safety: one thread at a time.
class SOUNDHASH_DB_EXPORT doctor {
 public:
  /// Throws: connection_error, timeout_error, config_error; migration_error when the schema does
  /// not exist.
  explicit doctor(const database_options& options);
  ~doctor();
  doctor(doctor&&) noexcept;
  doctor& operator=(doctor&&) noexcept;

  /// Changes nothing. A check that fails, for want of a right, say, is a finding too.
  /// Throws: connection_error, timeout_error.
  [[nodiscard]] std::vector<finding> examine();

  /// Runs the safe remedies, ANALYZE, VACUUM and REINDEX CONCURRENTLY, and marks them applied; one
  /// that fails says why in its text. May take as long as the tables are large.
  /// Throws: connection_error.
  void apply(std::vector<finding>& findings);

 private:
  struct impl;
  std::unique_ptr<impl> state_;
};

/// One JSON value (RFC 8259) on one line: `{"findings":[{"level":…,"check":…, …}]}`.
[[nodiscard]] SOUNDHASH_DB_EXPORT std::string to_json(const std::vector<finding>& findings);

}  // namespace soundhash::db
