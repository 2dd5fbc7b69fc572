#include <algorithm>
#include <array>
#include <utility>

#include <soundhash/db/core/error.hpp>
#include <soundhash/db/migrate/migrator.hpp>

#include "migrate/advisory_lock.hpp"
#include "migrate/alembic.hpp"
#include "migrate/catalog.hpp"
#include "migrate/file_runner.hpp"
#include "migrate/history_table.hpp"
#include "migrate/migration_file.hpp"
#include "migrate/selection.hpp"
#include "migrate/session.hpp"

namespace soundhash::db {

using namespace migrate;
using kind = schema_finding::kind;

namespace {

constexpr std::chrono::hours longest_limit{24 * 24};

void check_limit(std::string_view name, std::chrono::milliseconds value) {
  if (value.count() >= 0 && value <= longest_limit) return;
  throw config_error(name, "is " + std::to_string(value.count()) + " ms", "0 to 24 days");
}

void validate(const database_options& database, const migrator_options& options) {
  database.validate();
  check_limit("lock_wait", options.lock_wait);
  check_limit("lock_timeout", options.lock_timeout);
  check_limit("statement_timeout", options.statement_timeout);
}

std::vector<migration_step> describe_all(const std::vector<file_run>& runs) {
  std::vector<migration_step> steps;
  for (const auto& run : runs) steps.push_back(describe(run));
  return steps;
}

bool is_utc(std::string_view zone) {
  constexpr std::array<std::string_view, 8> names = {"UTC",     "Etc/UTC", "GMT",  "Etc/GMT",
                                                     "Etc/UCT", "UCT",     "Zulu", "Universal"};
  return std::find(names.begin(), names.end(), zone) != names.end();
}

std::string list_mismatches(const std::vector<schema_finding>& findings) {
  std::string text;
  for (const auto& f : findings) {
    if (f.what != kind::mismatch) continue;
    text.append(text.empty() ? "" : "; ").append(f.subject).append(": ").append(f.problem);
  }
  return text;
}

}  // namespace

struct migrator::impl {
  using chooser = std::function<std::vector<file_run>(const selection&)>;

  impl(const database_options& where, const migration_source& source, migrator_options how)
      : database{where}, options{std::move(how)}, files{parse_files(source)} {
    validate(database, options);
  }

  session& connected() {
    if (!link || !link->usable()) link = std::make_unique<session>(database);
    return *link;
  }

  std::vector<migration_record> records() {
    connected();
    return read_locked();
  }

  /// On the session as it is: one that holds the lock must not be replaced by a new one.
  std::vector<migration_record> read_locked() { return history_table{*link}.read(); }

  /// Chooses without the lock first: when there is nothing to do, nobody is kept waiting.
  std::vector<migration_step> run(const chooser& choose) {
    if (plan(choose).empty()) return {};
    auto lock = locked();
    history_table{*link}.create_if_missing();
    const auto rows = read_locked();
    const auto runs = checked(rows, choose);
    file_runner runner{*link, *lock, options};
    for (const auto& each : runs) runner.run(each);
    return describe_all(runs);
  }

  std::vector<migration_step> plan(const chooser& choose) {
    const auto rows = records();
    return describe_all(checked(rows, choose));
  }

  /// Lifetime of what comes back: `rows` and `files`.
  std::vector<file_run> checked(const std::vector<migration_record>& rows, const chooser& choose) {
    if (rows.empty() && !read_alembic_revisions(*link).empty()) {
      throw migration_error(errc::migration_mismatch,
                            "this schema was made by Alembic and is not adopted yet; run "
                            "`soundhash-db migrate baseline --from-alembic` first");
    }
    const selection all{files, rows};
    all.require_no_drift(options.allow_missing_files);
    return choose(all);
  }

  std::unique_ptr<advisory_lock> locked() {
    return std::make_unique<advisory_lock>(
        connected(), options.lock_wait, [this](const std::string& holder) {
          if (!options.on_event) return;
          options.on_event({.what = migration_event::kind::waiting, .name = {}, .detail = holder});
        });
  }

  std::vector<const migration_file*> required_up_to(std::int64_t version) const {
    std::vector<const migration_file*> chosen;
    for (const auto& file : files) {
      if (file.version <= version && !file.up.optional) chosen.push_back(&file);
    }
    return chosen;
  }

  std::vector<const migration_file*> applied_files(
      const std::vector<migration_record>& rows) const {
    std::vector<const migration_file*> chosen;
    for (const auto& file : files) {
      const auto* row = find_record(rows, file.version);
      if (row != nullptr && row->state == migration_state::applied) chosen.push_back(&file);
    }
    return chosen;
  }

  std::vector<schema_finding> compare_with(const std::vector<const migration_file*>& chosen) {
    const auto expected = modelled_catalog(*link, chosen);
    const auto name = link->query("SELECT current_schema()")[0][0].as<std::string>();
    return compare(expected, read_catalog(*link, name));
  }

  baseline_report adopt(std::int64_t version, baseline_report report) {
    const auto lock = locked();
    const auto chosen = required_up_to(version);
    if (chosen.empty() || chosen.back()->version != version) {
      throw migration_error(
          errc::migration_failed,
          "there is no migration " + std::to_string(version) + " to take as the baseline");
    }
    require_no_history();
    auto findings = compare_with(chosen);
    if (const auto wrong = list_mismatches(findings); !wrong.empty()) {
      throw migration_error(errc::migration_mismatch, "the schema is not that of version " +
                                                          std::to_string(version) + ": " + wrong);
    }
    record_baseline(chosen);
    report.version = version;
    report.extras = std::move(findings);
    return report;
  }

  void require_no_history() {
    if (read_locked().empty()) return;
    throw migration_error(errc::migration_mismatch,
                          "this schema has a history of migrations already; see `soundhash-db "
                          "migrate status`");
  }

  void record_baseline(const std::vector<const migration_file*>& chosen) {
    history_table table{*link};
    link->execute("BEGIN");
    table.create_if_missing();
    for (const auto* file : chosen) {
      table.write({.version = file->version,
                   .name = file->name,
                   .checksum = file->up.checksum,
                   .tool_version = SOUNDHASH_DB_VERSION,
                   .baseline = true});
    }
    link->commit();
  }

  void add_history_findings(const migration_overview& all, std::vector<schema_finding>& into) {
    for (const auto& m : all.migrations) {
      const auto name = std::to_string(m.version) + " " + sanitize(m.name, 63);
      if (m.drifted)
        into.push_back({kind::drift, name, "the file was changed after it was applied"});
      if (m.file_missing) into.push_back({kind::drift, name, "was applied, but has no file here"});
      if (m.record && m.state != migration_state::applied) {
        into.push_back({kind::half_applied, name,
                        "is " + std::string{to_string(m.state)} + "; run migrate " +
                            (m.state == migration_state::reverting ? "down" : "up") + " again"});
      }
    }
  }

  void add_session_findings(std::vector<schema_finding>& into) {
    for (const auto& name : invalid_indexes(*link)) {
      into.push_back({kind::invalid_index, name,
                      "is INVALID: its build was interrupted; drop it and build it again"});
    }
    const auto zone = link->query("SELECT current_setting('TimeZone')")[0][0].as<std::string>();
    if (is_utc(zone)) return;
    into.push_back({kind::time_zone, "TimeZone",
                    "is " + sanitize(zone, 63) +
                        ", so the Python services store local time; set it: ALTER DATABASE … SET "
                        "timezone = 'UTC'"});
  }

  database_options database;
  migrator_options options;
  std::vector<migration_file> files;
  std::unique_ptr<session> link;
};

migrator::migrator(const database_options& database, const migration_source& source,
                   migrator_options options)
    : state_{std::make_unique<impl>(database, source, std::move(options))} {}
migrator::~migrator() = default;
migrator::migrator(migrator&&) noexcept = default;
migrator& migrator::operator=(migrator&&) noexcept = default;

std::vector<migration_step> migrator::up(const up_options& what) {
  return state_->run([&](const selection& all) { return all.up(what); });
}

std::vector<migration_step> migrator::plan(const up_options& what) {
  return state_->plan([&](const selection& all) { return all.up(what); });
}

std::vector<migration_step> migrator::down(const down_options& what) {
  return state_->run([&](const selection& all) { return all.down(what); });
}

migration_overview migrator::status() {
  const auto rows = state_->records();
  return selection{state_->files, rows}.overview();
}

std::vector<migration_record> migrator::history() {
  return state_->records();
}

schema_verification migrator::verify() {
  schema_verification report;
  const auto rows = state_->records();
  state_->add_history_findings(selection{state_->files, rows}.overview(), report.findings);
  const auto found = state_->compare_with(state_->applied_files(rows));
  report.findings.insert(report.findings.end(), found.begin(), found.end());
  state_->add_session_findings(report.findings);
  return report;
}

void migrator::require_at_least(std::int64_t version) {
  const auto all = status();
  if (all.half_applied > 0) {
    throw migration_error(errc::migration_half_applied,
                          "a migration did not end; see `soundhash-db migrate status`");
  }
  if (all.current >= version) return;
  throw migration_error(errc::migration_pending, "the schema is at version " +
                                                     std::to_string(all.current) + " and must be " +
                                                     std::to_string(version) +
                                                     "; run `soundhash-db migrate up`");
}

baseline_report migrator::baseline_from_alembic() {
  const auto revisions = read_alembic_revisions(state_->connected());
  const auto found = resolve_alembic(revisions);
  if (found.version == 0) {
    throw migration_error(errc::migration_mismatch,
                          "there is no Alembic revision in this schema: no row in alembic_version");
  }
  return state_->adopt(found.version,
                       {.alembic_revisions = revisions, .tenants = found.tenants, .extras = {}});
}

baseline_report migrator::baseline(std::int64_t version) {
  return state_->adopt(version, {});
}

void migrator::accept_checksum(std::int64_t version) {
  const auto lock = state_->locked();
  const auto rows = state_->read_locked();
  const auto* row = find_record(rows, version);
  const auto file = std::find_if(state_->files.begin(), state_->files.end(),
                                 [&](const auto& f) { return f.version == version; });
  if (row == nullptr || file == state_->files.end()) {
    throw migration_error(errc::migration_failed,
                          "migration " + std::to_string(version) +
                              (row == nullptr ? " was not applied" : " has no file here"));
  }
  auto accepted = *row;
  accepted.checksum = file->up.checksum;
  const file_run half{*file,
                      row->state == migration_state::reverting && file->down
                          ? migration_direction::down
                          : migration_direction::up,
                      row};
  accepted.done_checksum = done_checksum(half.script().statements(), half.statements_done());
  history_table{*state_->link}.write(accepted);
}

std::optional<migration_lock_holder> migrator::lock_holder() {
  auto& on = state_->connected();
  return find_lock_holder(on, lock_key(on.schema()));
}

}  // namespace soundhash::db
