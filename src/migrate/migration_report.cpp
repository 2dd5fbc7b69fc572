#include <algorithm>

#include <soundhash/db/core/codec.hpp>
#include <soundhash/db/core/error.hpp>
#include <soundhash/db/migrate/migration_report.hpp>

#include "core/json.hpp"

namespace soundhash::db {
namespace {

std::string json_bool(bool value) {
  return value ? "true" : "false";
}

/// ISO 8601 with the zone that a bare SQL timestamp lacks.
std::string iso_time(timestamp at) {
  std::string text;
  codec<timestamp>::append_text(text, at);
  if (const auto space = text.find(' '); space != std::string::npos) text[space] = 'T';
  return text + "Z";
}

std::string_view name_of(migration_direction direction) {
  return direction == migration_direction::up ? "up" : "down";
}

std::string_view name_of(migration_event::kind what) {
  switch (what) {
    case migration_event::kind::waiting:
      return "waiting";
    case migration_event::kind::file_started:
      return "file_started";
    case migration_event::kind::statement_finished:
      return "statement_finished";
    case migration_event::kind::retrying:
      return "retrying";
    case migration_event::kind::index_dropped:
      return "index_dropped";
    case migration_event::kind::statement_skipped:
      return "statement_skipped";
    case migration_event::kind::file_finished:
      return "file_finished";
  }
  return "unknown";
}

std::string_view name_of(schema_finding::kind what) {
  switch (what) {
    case schema_finding::kind::drift:
      return "drift";
    case schema_finding::kind::half_applied:
      return "half_applied";
    case schema_finding::kind::mismatch:
      return "mismatch";
    case schema_finding::kind::invalid_index:
      return "invalid_index";
    case schema_finding::kind::time_zone:
      return "time_zone";
    case schema_finding::kind::extra:
      return "extra";
  }
  return "unknown";
}

json_object& milliseconds(json_object& into, std::string_view key, std::chrono::milliseconds time) {
  return into.count(key, static_cast<std::uint64_t>(time.count()));
}

json_object& version(json_object& into, std::int64_t number) {
  return into.count("version", static_cast<std::uint64_t>(number));
}

constexpr auto as_json = [](const auto& value) { return to_json(value); };

}  // namespace

std::string_view to_string(migration_state state) noexcept {
  switch (state) {
    case migration_state::pending:
      return "pending";
    case migration_state::optional:
      return "optional";
    case migration_state::applied:
      return "applied";
    case migration_state::running:
      return "running";
    case migration_state::failed:
      return "failed";
    case migration_state::reverting:
      return "reverting";
  }
  return "unknown";
}

bool schema_verification::ok() const noexcept {
  return std::all_of(findings.begin(), findings.end(),
                     [](const auto& f) { return f.what == schema_finding::kind::extra; });
}

std::string to_json(const migration_record& value) {
  json_object object;
  version(object, value.version)
      .string("name", value.name)
      .string("checksum", value.checksum)
      .string("state", to_string(value.state))
      .count("statements_done", static_cast<std::uint64_t>(value.statements_done))
      .string("last_error", value.last_error)
      .string("applied_at", iso_time(value.applied_at))
      .string("applied_by", value.applied_by);
  milliseconds(object, "execution_ms", value.execution)
      .string("tool_version", value.tool_version)
      .member("baseline", json_bool(value.baseline));
  return std::move(object).close();
}

std::string to_json(const migration_status& value) {
  json_object object;
  version(object, value.version)
      .string("name", value.name)
      .string("state", to_string(value.state))
      .member("drifted", json_bool(value.drifted))
      .member("file_missing", json_bool(value.file_missing))
      .member("record", value.record ? to_json(*value.record) : "null");
  return std::move(object).close();
}

std::string to_json(const migration_overview& value) {
  json_object object;
  object.count("current", static_cast<std::uint64_t>(value.current))
      .count("pending", value.pending)
      .count("drifted", value.drifted)
      .count("half_applied", value.half_applied)
      .member("migrations", json_array(value.migrations, as_json));
  return std::move(object).close();
}

std::string to_json(const migration_step& value) {
  json_object object;
  version(object, value.version)
      .string("name", value.name)
      .string("direction", name_of(value.direction))
      .member("transactional", json_bool(value.transactional))
      .member("loses_data", json_bool(value.loses_data))
      .count("statements", value.statements)
      .count("statements_done", value.statements_done)
      .string("sql", value.sql);
  return std::move(object).close();
}

std::string to_json(const migration_event& value) {
  json_object object;
  object.string("event", name_of(value.what)).string("direction", name_of(value.direction));
  version(object, value.version)
      .string("name", value.name)
      .count("statement", value.statement)
      .count("statements", value.statements);
  milliseconds(object, "elapsed_ms", value.elapsed).string("detail", value.detail);
  return std::move(object).close();
}

std::string to_json(const schema_finding& value) {
  json_object object;
  object.string("kind", name_of(value.what))
      .string("subject", value.subject)
      .string("problem", value.problem);
  return std::move(object).close();
}

std::string to_json(const schema_verification& value) {
  json_object object;
  object.member("ok", json_bool(value.ok()))
      .member("findings", json_array(value.findings, as_json));
  return std::move(object).close();
}

std::string to_json(const baseline_report& value) {
  json_object object;
  version(object, value.version)
      .member("alembic_revisions", json_array(value.alembic_revisions,
                                              [](const auto& text) { return json_string(text); }))
      .member("tenants", json_bool(value.tenants))
      .member("extras", json_array(value.extras, as_json));
  return std::move(object).close();
}

std::string to_json(const migration_lock_holder& value) {
  json_object object;
  object.count("pid", static_cast<std::uint64_t>(value.pid))
      .string("user", value.user)
      .string("application_name", value.application_name)
      .string("client", value.client)
      .string("state", value.state)
      .string("since", iso_time(value.since));
  return std::move(object).close();
}

std::string to_json(const std::vector<migration_record>& values) {
  return json_array(values, as_json);
}

std::string to_json(const std::vector<migration_step>& values) {
  return json_array(values, as_json);
}

std::string to_json(const error& value) {
  json_object object;
  object.string("code", to_string(value.code()))
      .string("message", value.what())
      .string("sqlstate", value.sqlstate());
  return "{\"error\":" + std::move(object).close() + "}";
}

}  // namespace soundhash::db
