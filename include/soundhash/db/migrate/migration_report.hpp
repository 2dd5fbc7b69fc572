#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <soundhash/db/core/timestamp.hpp>
#include <soundhash/db/export.hpp>

/// What the migrator reports. Each of these has `to_json`, one JSON value (RFC 8259) on one line.
namespace soundhash::db {

/// Where one migration stands.
enum class migration_state : std::uint8_t {
  pending,    ///< has a file and was never applied
  optional,   ///< the same, but waits for `up` to name it
  applied,    ///< done
  running,    ///< a non-transactional file began and did not end: killed, or at work right now
  failed,     ///< a non-transactional file stopped at a statement
  reverting,  ///< a non-transactional down file began and did not end
};

/// The name: "pending". Lives for ever.
SOUNDHASH_DB_EXPORT std::string_view to_string(migration_state state) noexcept;

/// One row of the history table `soundhash_schema_history`.
struct migration_record {
  std::int64_t version = 0;
  std::string name{};
  std::string checksum{};  ///< SHA-256 of the up file (LF line ends, no BOM), 64 hexadecimal digits
  migration_state state = migration_state::applied;
  std::int32_t statements_done = 0;  ///< of a non-transactional file
  std::string done_checksum{};       ///< SHA-256 over those statements; empty when none
  std::string last_error{};          ///< statement number and SQLSTATE; empty when none
  timestamp applied_at{};            ///< UTC; start of the file while it is not applied
  std::string applied_by{};          ///< the server's session_user
  std::chrono::milliseconds execution{};
  std::string tool_version{};
  bool baseline = false;  ///< adopted, not run
};

/// One migration, its file and its record together.
struct migration_status {
  std::int64_t version = 0;
  std::string name;
  migration_state state = migration_state::pending;
  bool drifted = false;       ///< the file is not the one that was applied
  bool file_missing = false;  ///< applied, but this program has no such file
  std::optional<migration_record> record;
};

/// All migrations, by version.
struct migration_overview {
  std::vector<migration_status> migrations;
  std::int64_t current = 0;  ///< highest applied version, 0 for none
  std::size_t pending = 0;
  std::size_t drifted = 0;  ///< with a changed or a missing file
  std::size_t half_applied = 0;
};

enum class migration_direction : std::uint8_t { up, down };

/// One file that would run.
struct migration_step {
  std::int64_t version = 0;
  std::string name;
  migration_direction direction = migration_direction::up;
  bool transactional = true;
  bool loses_data = false;
  std::size_t statements = 0;
  std::size_t statements_done = 0;  ///< where a half-applied file goes on
  std::string sql;                  ///< the text of the file
};

/// What happens while a migrator works, for progress output.
struct migration_event {
  enum class kind : std::uint8_t {
    waiting,             ///< another migrator holds the lock; `detail` says who
    file_started,        ///< before the first statement
    statement_finished,  ///< `statement` of `statements` is done
    retrying,            ///< a lock was not to be had in time; `detail` has the SQLSTATE
    index_dropped,       ///< an invalid index left by an interrupted build; `detail` is its name
    statement_skipped,   ///< its effect is there already; `detail` says what
    file_finished,       ///< committed and recorded
  };
  kind what{};
  migration_direction direction = migration_direction::up;
  std::int64_t version = 0;
  std::string name;
  std::size_t statement = 0;  ///< from 1
  std::size_t statements = 0;
  std::chrono::milliseconds elapsed{};  ///< of the file so far
  std::string detail;
};

/// One thing that `verify` found.
struct schema_finding {
  enum class kind : std::uint8_t {
    drift,         ///< a file changed after it was applied, or is missing
    half_applied,  ///< a non-transactional file did not end
    mismatch,      ///< a table, column, index or constraint is not as the files make it
    invalid_index,
    time_zone,  ///< the session's TimeZone is not UTC
    extra,      ///< a column or index that no file makes, such as tenant_id: no error
  };
  kind what{};
  std::string subject;  ///< "videos.title", "idx_jobs_failed"
  std::string problem;  ///< what is wrong and what to do
};

struct schema_verification {
  std::vector<schema_finding> findings;
  /// True when there is nothing but extras.
  [[nodiscard]] SOUNDHASH_DB_EXPORT bool ok() const noexcept;
};

/// How an existing database was adopted.
struct baseline_report {
  std::int64_t version = 0;  ///< recorded as applied up to here
  std::vector<std::string> alembic_revisions;
  bool tenants = false;  ///< it has the later tenant_id columns
  std::vector<schema_finding> extras;
};

/// The session that holds the migration lock.
struct migration_lock_holder {
  std::int32_t pid = 0;
  std::string user;
  std::string application_name;
  std::string client;  ///< address, or "local"
  std::string state;   ///< of pg_stat_activity: "active", "idle"
  timestamp since{};   ///< start of its session, UTC
};

SOUNDHASH_DB_EXPORT std::string to_json(const migration_record& value);
SOUNDHASH_DB_EXPORT std::string to_json(const migration_status& value);
SOUNDHASH_DB_EXPORT std::string to_json(const migration_overview& value);
SOUNDHASH_DB_EXPORT std::string to_json(const migration_step& value);
SOUNDHASH_DB_EXPORT std::string to_json(const migration_event& value);
SOUNDHASH_DB_EXPORT std::string to_json(const schema_finding& value);
SOUNDHASH_DB_EXPORT std::string to_json(const schema_verification& value);
SOUNDHASH_DB_EXPORT std::string to_json(const baseline_report& value);
SOUNDHASH_DB_EXPORT std::string to_json(const migration_lock_holder& value);
SOUNDHASH_DB_EXPORT std::string to_json(const std::vector<migration_record>& values);
SOUNDHASH_DB_EXPORT std::string to_json(const std::vector<migration_step>& values);
/// An error as `{"error":{"code":…,"message":…,"sqlstate":…}}`.
SOUNDHASH_DB_EXPORT std::string to_json(const class error& value);

}  // namespace soundhash::db
