#include <chrono>
#include <cmath>
#include <cstdint>
#include <string>
#include <thread>
#include <utility>

#include <soundhash/db/core/error.hpp>
#include <soundhash/db/database.hpp>
#include <soundhash/db/doctor.hpp>
#include <soundhash/db/migrate/migrator.hpp>

#include "core/json.hpp"
#include "doctor_checks.hpp"
#include "migrate/session.hpp"

namespace soundhash::db {
namespace {

using namespace std::chrono_literals;

severity severity_of(std::string_view word) {
  for (const auto each : {severity::note, severity::warning, severity::problem}) {
    if (word == to_string(each)) return each;
  }
  return severity::ok;
}

finding unchecked(std::string_view check, const error& why) {
  return {.level = severity::warning,
          .check = std::string{check},
          .subject = "this check",
          .text = std::string{"could not be made: "} + why.what(),
          .remedy = {}};
}

/// What `schema` reports of one difference.
finding of_schema(const schema_finding& seen) {
  using kind = schema_finding::kind;
  return {.level = seen.what == kind::extra ? severity::note : severity::problem,
          .check = "schema",
          .subject = seen.subject,
          .text = seen.problem,
          .remedy = {}};
}

/// Both are reported by another check, with a remedy.
bool is_elsewhere(const schema_finding& seen) {
  using kind = schema_finding::kind;
  return seen.what == kind::invalid_index || seen.what == kind::time_zone;
}

finding of_pending(const migration_overview& all) {
  finding seen{.level = severity::ok,
               .check = "schema",
               .subject = "migrations",
               .text = "at version " + std::to_string(all.current) + ", " +
                       std::to_string(all.pending) + " pending",
               .remedy = {}};
  if (all.pending == 0 && all.half_applied == 0) return seen;
  seen.level = severity::warning;
  seen.remedy = "soundhash-db migrate up";
  return seen;
}

bool breaker_is_open(database& db) {
  for (const auto& one : db.metrics().totals().figures) {
    if (one.name == "soundhash_cache_breaker_open") return one.value != 0;
  }
  return true;
}

/// The breaker begins open and closes when Redis has answered.
bool redis_answers(const database_options& options) {
  auto db = database::open(options);
  db.warm_up();  // the names of the keys come from the server
  const auto until =
      deadline::in(options.cache.connect_timeout + options.cache.command_timeout + 200ms);
  while (breaker_is_open(db) && !until.passed()) std::this_thread::sleep_for(2ms);
  return !breaker_is_open(db);
}

finding of_cache(const database_options& options) {
  finding seen{
      .level = severity::note, .check = "cache", .subject = "Redis", .text = {}, .remedy = {}};
  if (!options.cache.enabled) {
    seen.text = "is not used";
    seen.remedy = "REDIS_ENABLED=true";
  } else if (redis_answers(options)) {
    seen.level = severity::ok;
    seen.text = "answers, and the breaker is closed";
  } else {
    seen.level = severity::problem;
    seen.text = "does not answer at " + options.cache.host + " port " +
                std::to_string(options.cache.port) + ", so the breaker is open";
    seen.remedy = "look at the log of this service for the reason, and try redis-cli ping";
  }
  return seen;
}

}  // namespace

std::string_view to_string(severity value) noexcept {
  switch (value) {
    case severity::ok:
      return "ok";
    case severity::note:
      return "note";
    case severity::warning:
      return "warning";
    case severity::problem:
      return "problem";
  }
  return "unknown";
}

std::string to_json(const std::vector<finding>& findings) {
  const auto one = [](const finding& each) {
    json_object object;
    object.string("level", to_string(each.level))
        .string("check", each.check)
        .string("subject", each.subject)
        .string("text", each.text)
        .string("remedy", each.remedy)
        .member("safe", each.safe ? "true" : "false")
        .member("applied", each.applied ? "true" : "false");
    return std::move(object).close();
  };
  json_object all;
  all.member("findings", json_array(findings, one));
  return std::move(all).close();
}

struct doctor::impl {
  explicit impl(const database_options& given) : options{given}, session{given} {}

  std::vector<finding> examine() {
    std::vector<finding> all;
    for (const auto& check : sql_checks) {
      guarded(check.name, all, [&] { read(check, all); });
    }
    guarded("slow_queries", all, [&] { explain_slowest(all); });
    guarded("schema", all, [&] { compare_schema(all); });
    guarded("cache", all, [&] { all.push_back(of_cache(options)); });
    return all;
  }

  /// A check that cannot be made does not keep the others from being made.
  template <class Check>
  void guarded(std::string_view name, std::vector<finding>& all, Check check) {
    try {
      check();
    } catch (const error& failure) {
      if (!session.usable()) throw;
      session.rollback();
      all.push_back(unchecked(name, failure));
    }
  }

  void read(const sql_check& check, std::vector<finding>& all) {
    const auto rows = session.query(check.sql, check.values(options));
    for (std::size_t i = 0; i < rows.size(); ++i) {
      all.push_back({.level = severity_of(rows[i][0].as<std::string>()),
                     .check = std::string{check.name},
                     .subject = rows[i][1].as<std::string>(),
                     .text = rows[i][2].as<std::string>(),
                     .remedy = rows[i][3].as<std::string>(),
                     .safe = rows[i][4].as<bool>()});
    }
  }

  void compare_schema(std::vector<finding>& all) {
    migrator migrations{options};
    all.push_back(of_pending(migrations.status()));
    for (const auto& seen : migrations.verify().findings) {
      if (!is_elsewhere(seen)) all.push_back(of_schema(seen));
    }
  }

  // --- statements that were slow -----------------------------------------------------------------

  void explain_slowest(std::vector<finding>& all) {
    if (session.query("SELECT 1 FROM pg_extension WHERE extname = 'pg_stat_statements'").empty()) {
      all.push_back({.level = severity::note,
                     .check = "slow_queries",
                     .subject = "pg_stat_statements",
                     .text = "is not installed, so that nobody knows which statements are slow",
                     .remedy = "add it to shared_preload_libraries, restart, and run "
                               "CREATE EXTENSION pg_stat_statements"});
      return;
    }
    const auto slow = session.query(
        "SELECT query, calls, mean_exec_time FROM pg_stat_statements AS s "
        "JOIN pg_database AS d ON d.oid = s.dbid AND d.datname = current_database() "
        "WHERE mean_exec_time > $1 AND query ~* '^\\s*(select|with|insert|update|delete)' "
        "ORDER BY total_exec_time DESC LIMIT 5",
        {static_cast<double>(options.slow_query.count())});
    for (std::size_t i = 0; i < slow.size(); ++i) {
      const auto sql = slow[i][0].as<std::string>();
      all.push_back({.level = severity::warning,
                     .check = "slow_queries",
                     .subject = sanitize(sql, 200),
                     .text = std::to_string(slow[i][1].as<std::int64_t>()) + " calls of " +
                             std::to_string(std::llround(slow[i][2].as<double>())) +
                             " ms on average; " + plan_of(sql),
                     .remedy = "look at its plan for a Seq Scan of a large table"});
    }
  }

  /// The plan for any values. EXPLAIN runs nothing, and the extended protocol takes no second
  /// statement.
  std::string plan_of(const std::string& sql) {
    try {
      session.execute("BEGIN READ ONLY");
      session.query("PREPARE doctor_plan AS " + sql);
      const auto rows = session.query("EXPLAIN EXECUTE doctor_plan" + nulls_for_parameters());
      std::string plan;
      for (std::size_t i = 0; i < rows.size(); ++i) {
        plan += "\n" + rows[i][0].as<std::string>();
      }
      end_plan();
      return "its plan:" + plan;
    } catch (const query_error& failure) {
      end_plan();
      return std::string{"it cannot be explained: "} + failure.what();
    }
  }

  std::string nulls_for_parameters() {
    const auto rows = session.query(
        "SELECT string_agg('NULL', ', ') FROM pg_prepared_statements, unnest(parameter_types) "
        "WHERE name = 'doctor_plan' HAVING count(*) > 0");
    // With as many NULLs as parameters a custom plan would be about them, and not for any values.
    session.execute("SET LOCAL plan_cache_mode = force_generic_plan");
    return rows.empty() ? std::string{} : "(" + rows[0][0].as<std::string>() + ")";
  }

  void end_plan() {
    session.rollback();
    session.execute("DEALLOCATE ALL");
  }

  // --- mending -----------------------------------------------------------------------------------

  void apply(finding& one) {
    try {
      session.run_foreign(one.remedy);
      one.applied = true;
    } catch (const error& failure) {
      if (!session.usable()) throw;
      one.text += std::string{"; the remedy failed: "} + failure.what();
    }
  }

  database_options options;
  migrate::session session;
};

doctor::doctor(const database_options& options) : state_{std::make_unique<impl>(options)} {}
doctor::~doctor() = default;
doctor::doctor(doctor&&) noexcept = default;
doctor& doctor::operator=(doctor&&) noexcept = default;

std::vector<finding> doctor::examine() {
  return state_->examine();
}

void doctor::apply(std::vector<finding>& findings) {
  for (auto& one : findings) {
    if (one.safe && !one.remedy.empty()) state_->apply(one);
  }
}

}  // namespace soundhash::db
