#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include <soundhash/db/database_options.hpp>
#include <soundhash/db/export.hpp>
#include <soundhash/db/migrate/migration_report.hpp>
#include <soundhash/db/migrate/migration_source.hpp>

namespace soundhash::db {

/// How a migrator behaves.
struct migrator_options {
  /// How long to wait for another migrator, polling. Range 0 to 24 days.
  std::chrono::milliseconds lock_wait{60'000};
  /// How long a statement of a transactional file waits for a table lock before the file starts
  /// again; 0 is for ever. A file's own directive goes before; other files wait for ever.
  std::chrono::milliseconds lock_timeout{5'000};
  /// How long one statement of a file may take; 0 is for ever. A file's own directive goes before.
  std::chrono::milliseconds statement_timeout{0};
  /// Work although applied files are unknown here: an older program during a rolling deployment.
  bool allow_missing_files = false;
  /// Called in the migrator's thread; must not throw.
  std::function<void(const migration_event&)> on_event;
};

/// What `up` and `plan` choose.
struct up_options {
  std::optional<std::int64_t> to{};    ///< up to and including this version
  std::optional<std::size_t> steps{};  ///< at most so many files
  std::set<std::string> with{};        ///< names of optional migrations to apply too
  bool out_of_order = false;           ///< also versions below the highest applied one
};

/// What `down` chooses: exactly one of `to` and `steps`.
struct down_options {
  std::optional<std::int64_t> to{};    ///< revert everything above this version
  std::optional<std::size_t> steps{};  ///< revert so many files, highest version first
  bool accept_data_loss = false;
};

/// Brings the schema of a database up to date with plain SQL files.
///
/// A file runs in one transaction together with its record in `soundhash_schema_history`, so that
/// a failure leaves nothing behind. A file with `-- soundhash: no-transaction` among its leading
/// comments runs statement by statement, each recorded (in the same transaction where the server
/// allows one), and goes on where it stopped. Such a statement that cannot run in a transaction
/// must be safe to repeat; for CREATE INDEX CONCURRENTLY and DROP INDEX CONCURRENTLY the migrator
/// sees to it.
/// Other directives: `optional` (applied only by name), `loses-data` (of a down file; DROP TABLE,
/// DROP COLUMN, TRUNCATE and DELETE imply it), `lock-timeout=5s`, `statement-timeout=0`.
///
/// Works on a direct connection of its own, which it opens when first needed; a pooler in between
/// is refused. One migrator at a time: others poll an advisory lock.
/// Thread safety: one thread at a time; several migrators, also of several processes, are safe.
class SOUNDHASH_DB_EXPORT migrator {
 public:
  /// Connects to nothing yet. `database.schema` must exist; everything happens in it.
  /// Throws: config_error for bad options; migration_error for a file whose name, directives or
  /// quotes cannot be read, for two files of one version and for a down file without its up file.
  explicit migrator(const database_options& database,
                    const migration_source& source = migration_source::embedded(),
                    migrator_options options = {});
  ~migrator();
  migrator(migrator&&) noexcept;
  migrator& operator=(migrator&&) noexcept;

  /// Applies what is pending, in order, and returns it; takes no lock when nothing is.
  /// Throws: migration_error: migration_drift (a file changed after it was applied, or is missing),
  /// migration_locked (lock_wait passed), migration_half_applied (a non-transactional file stopped,
  /// or changed where it was already done), migration_mismatch (made by Alembic and not adopted),
  /// migration_failed (out of order, or a statement failed: then sqlstate() is the server's);
  /// invalid_argument for an unknown name in `with`; connection_error, timeout_error.
  std::vector<migration_step> up(const up_options& what = {});
  /// What `up` would do. Changes nothing and takes no lock. Throws: as up.
  [[nodiscard]] std::vector<migration_step> plan(const up_options& what = {});
  /// Reverts, highest version first, and returns what was reverted.
  /// Throws: as up; migration_failed also for a migration without down file and for one that loses
  /// data when that was not accepted; invalid_argument unless exactly one of `to` and `steps` is
  /// given.
  std::vector<migration_step> down(const down_options& what);

  /// Throws: connection_error, timeout_error, query_error.
  [[nodiscard]] migration_overview status();
  [[nodiscard]] std::vector<migration_record> history();
  /// Checks files against records, and tables, columns, indexes and constraints against what the
  /// applied files make of an empty database (tried in temporary tables that are rolled back).
  /// Throws: connection_error, timeout_error, query_error.
  [[nodiscard]] schema_verification verify();
  /// Throws: migration_error{migration_pending} when the schema is below `version`, and
  /// {migration_half_applied} when a migration did not end. For a service that starts.
  void require_at_least(std::int64_t version);

  /// Adopts a database that Alembic made: the versions that its revisions amount to are recorded as
  /// applied, without running them, after the tables were checked as by `verify`.
  /// Throws: migration_error{migration_mismatch} for an unknown revision, for no revision at all,
  /// for a schema that is not as the files make it and when a history exists already.
  baseline_report baseline_from_alembic();
  /// The same up to a version that the caller vouches for. Throws: as baseline_from_alembic.
  baseline_report baseline(std::int64_t version);
  /// Takes the present file of one version for the one that was applied (of a half-applied one:
  /// its first statements for those that were done).
  /// Throws: migration_error{migration_failed} when it was not applied or has no file.
  void accept_checksum(std::int64_t version);
  /// Who holds the migration lock; nullopt when nobody does.
  [[nodiscard]] std::optional<migration_lock_holder> lock_holder();

 private:
  struct impl;
  std::unique_ptr<impl> state_;
};

}  // namespace soundhash::db
