#include "migrate/history_table.hpp"

#include <algorithm>

#include <soundhash/db/core/error.hpp>

namespace soundhash::db::migrate {
namespace {

// In these statements %s stands for the qualified table.
constexpr std::string_view create_sql = R"sql(
CREATE TABLE IF NOT EXISTS %s (
    version bigint PRIMARY KEY,
    name text NOT NULL,
    checksum text NOT NULL,
    state text NOT NULL CHECK (state IN ('applied', 'running', 'failed', 'reverting')),
    statements_done integer NOT NULL,
    done_checksum text NOT NULL,
    last_error text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    applied_by text NOT NULL DEFAULT session_user,
    execution_ms bigint NOT NULL,
    tool_version text NOT NULL,
    baseline boolean NOT NULL
))sql";

constexpr std::string_view read_sql = R"sql(
SELECT version, name, checksum, state, statements_done, done_checksum, last_error,
       applied_at AT TIME ZONE 'UTC', applied_by, execution_ms, tool_version, baseline
FROM %s ORDER BY version)sql";

constexpr std::string_view write_sql = R"sql(
INSERT INTO %s AS h (version, name, checksum, state, statements_done, done_checksum, last_error,
                     execution_ms, tool_version, baseline)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
ON CONFLICT (version) DO UPDATE SET
    checksum = EXCLUDED.checksum, state = EXCLUDED.state,
    statements_done = EXCLUDED.statements_done, done_checksum = EXCLUDED.done_checksum,
    last_error = EXCLUDED.last_error, execution_ms = EXCLUDED.execution_ms,
    tool_version = EXCLUDED.tool_version,
    applied_at = CASE WHEN h.state <> 'applied' AND EXCLUDED.state = 'applied'
                      THEN clock_timestamp() ELSE h.applied_at END)sql";

migration_state state_named(std::string_view name) {
  for (const auto state : {migration_state::applied, migration_state::running,
                           migration_state::failed, migration_state::reverting}) {
    if (to_string(state) == name) return state;
  }
  throw migration_error(errc::migration_failed,
                        "soundhash_schema_history has the unknown state \"" + sanitize(name, 40) +
                            "\"; was it written by a newer version?");
}

migration_record record_of(const row_view& row) {
  return {.version = row[0].as<std::int64_t>(),
          .name = row[1].as<std::string>(),
          .checksum = row[2].as<std::string>(),
          .state = state_named(row[3].as<std::string>()),
          .statements_done = row[4].as<std::int32_t>(),
          .done_checksum = row[5].as<std::string>(),
          .last_error = row[6].as<std::string>(),
          .applied_at = row[7].as<timestamp>(),
          .applied_by = row[8].as<std::string>(),
          .execution = std::chrono::milliseconds{row[9].as<std::int64_t>()},
          .tool_version = row[10].as<std::string>(),
          .baseline = row[11].as<bool>()};
}

}  // namespace

std::vector<migration_record> history_table::read() {
  std::vector<migration_record> records;
  if (!exists()) return records;
  const auto rows = on_.query(with_table(read_sql));
  for (std::size_t i = 0; i < rows.size(); ++i) records.push_back(record_of(rows[i]));
  return records;
}

void history_table::create_if_missing() {
  if (!exists()) on_.execute(with_table(create_sql));
}

void history_table::write(const migration_record& row) {
  on_.query(with_table(write_sql),
            {row.version, row.name, row.checksum, to_string(row.state), row.statements_done,
             row.done_checksum, row.last_error, static_cast<std::int64_t>(row.execution.count()),
             row.tool_version, row.baseline});
}

void history_table::erase(std::int64_t version) {
  on_.query(with_table("DELETE FROM %s WHERE version = $1"), {version});
}

bool history_table::exists() {
  const auto rows = on_.query("SELECT to_regclass($1) IS NOT NULL", {with_table("%s")});
  return rows[0][0].as<bool>();
}

std::string history_table::with_table(std::string_view sql) const {
  std::string text{sql};
  return text.replace(text.find("%s"), 2, on_.schema() + ".soundhash_schema_history");
}

const migration_record* find_record(const std::vector<migration_record>& rows,
                                    std::int64_t version) {
  const auto at = std::find_if(rows.begin(), rows.end(),
                               [&](const auto& row) { return row.version == version; });
  return at == rows.end() ? nullptr : &*at;
}

}  // namespace soundhash::db::migrate
