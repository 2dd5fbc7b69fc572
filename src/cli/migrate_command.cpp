#include "cli/migrate_command.hpp"

#include <chrono>
#include <cstdint>
#include <functional>
#include <iomanip>
#include <iostream>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <unistd.h>

#include <soundhash/db/core/error.hpp>
#include <soundhash/db/database_options.hpp>
#include <soundhash/db/migrate/migrator.hpp>

#include "cli/exit_code.hpp"

namespace soundhash::db::cli {
namespace {

using std::chrono::milliseconds;

/// What the command line said.
struct arguments {
  bool json = false;
  std::string dsn;
  std::string schema;
  std::string directory;
  migrator_options migrator;
  up_options up;
  down_options down;
  std::vector<std::string> with;
  std::optional<std::int64_t> to;
  std::optional<std::size_t> steps;
  std::int64_t version = 0;
  std::string name;
  bool check = false;
  bool from_alembic = false;
  bool accept_checksum = false;
};

int exit_code_of(errc code) {
  switch (code) {
    case errc::migration_pending:
      return pending;
    case errc::migration_drift:
      return drift;
    case errc::migration_half_applied:
      return half_applied;
    case errc::migration_locked:
      return locked;
    case errc::migration_mismatch:
      return mismatch;
    case errc::invalid_argument:
      return usage;
    default:
      return failed;
  }
}

int exit_code_of(const schema_verification& report) {
  int code = ok;
  for (const auto& finding : report.findings) {
    if (finding.what == schema_finding::kind::drift) return drift;
    if (finding.what == schema_finding::kind::half_applied) code = half_applied;
    if (finding.what != schema_finding::kind::extra && code == ok) code = mismatch;
  }
  return code;
}

int exit_code_of(const migration_overview& all) {
  if (all.drifted > 0) return drift;
  if (all.half_applied > 0) return half_applied;
  return all.pending > 0 ? pending : ok;
}

std::ostream& label(std::ostream& out, std::int64_t version, const std::string& name) {
  return out << std::setw(4) << std::setfill('0') << version << std::setfill(' ') << ' ' << name;
}

void print_event(const migration_event& event) {
  using kind = migration_event::kind;
  if (event.what == kind::waiting) {
    std::cerr << "waiting for another migrator (" << event.detail << ")\n";
    return;
  }
  label(std::cerr, event.version, event.name);
  switch (event.what) {
    case kind::statement_finished:
      std::cerr << ": statement " << event.statement << " of " << event.statements;
      break;
    case kind::retrying:
      std::cerr << ": a lock was not to be had (" << event.detail << "), trying again";
      break;
    case kind::index_dropped:
      std::cerr << ": dropped the invalid index " << event.detail;
      break;
    case kind::statement_skipped:
      std::cerr << ": " << event.detail;
      break;
    case kind::file_finished:
      std::cerr << ": done in " << event.elapsed.count() << " ms";
      break;
    default:
      std::cerr << (event.direction == migration_direction::up ? ": applying" : ": reverting");
  }
  std::cerr << '\n';
}

/// With --json each event is a line of standard output; else a terminal shows them.
std::function<void(const migration_event&)> progress(bool json) {
  if (json) return [](const migration_event& e) { std::cout << to_json(e) << '\n' << std::flush; };
  if (isatty(STDERR_FILENO) != 0) return print_event;
  return {};
}

database_options options_of(const arguments& given) {
  auto options =
      given.dsn.empty() ? database_options::from_env() : database_options::from_url(given.dsn);
  if (!given.schema.empty()) options.schema = given.schema;
  if (options.application_name == database_options{}.application_name) {
    options.application_name = "soundhash-db migrate";
  }
  return options;
}

migrator connect(const arguments& given) {
  auto options = given.migrator;
  options.on_event = progress(given.json);
  return migrator{options_of(given),
                  given.directory.empty() ? migration_source::embedded()
                                          : migration_source::from_directory(given.directory),
                  std::move(options)};
}

// --- the subcommands -----------------------------------------------------------------------------

int status(const arguments& given) {
  const auto all = connect(given).status();
  if (given.json) {
    std::cout << to_json(all) << '\n';
  } else {
    for (const auto& m : all.migrations) {
      label(std::cout, m.version, m.name)
          << ": " << to_string(m.state) << (m.drifted ? ", file was changed" : "")
          << (m.file_missing ? ", no file here" : "") << '\n';
    }
    std::cout << "at version " << all.current << ", " << all.pending << " pending\n";
  }
  return given.check ? exit_code_of(all) : ok;
}

int print_steps(const arguments& given, const std::vector<migration_step>& steps,
                std::string_view verb) {
  if (given.json) {
    std::cout << to_json(steps) << '\n';
    return ok;
  }
  for (const auto& step : steps) label(std::cout, step.version, step.name) << ": " << verb << '\n';
  if (steps.empty()) std::cout << "nothing to do\n";
  return ok;
}

up_options up_options_of(const arguments& given) {
  auto what = given.up;
  what.to = given.to;
  what.steps = given.steps;
  what.with = {given.with.begin(), given.with.end()};
  return what;
}

int up(const arguments& given) {
  return print_steps(given, connect(given).up(up_options_of(given)), "applied");
}

int down(const arguments& given) {
  auto what = given.down;
  what.to = given.to;
  what.steps = given.steps;
  return print_steps(given, connect(given).down(what), "reverted");
}

int plan(const arguments& given) {
  const auto steps = connect(given).plan(up_options_of(given));
  if (given.json) return print_steps(given, steps, {});
  for (const auto& step : steps) {
    label(std::cout << "-- ", step.version, step.name)
        << (step.transactional ? ", one transaction" : ", statement by statement");
    if (step.statements_done > 0) std::cout << ", from statement " << step.statements_done + 1;
    std::cout << '\n' << step.sql << '\n';
  }
  if (steps.empty()) std::cout << "-- nothing to do\n";
  return ok;
}

int verify(const arguments& given) {
  const auto report = connect(given).verify();
  if (given.json) {
    std::cout << to_json(report) << '\n';
    return exit_code_of(report);
  }
  for (const auto& f : report.findings) {
    std::cout << (f.what == schema_finding::kind::extra ? "note: " : "wrong: ") << f.subject << ' '
              << f.problem << '\n';
  }
  std::cout << (report.ok() ? "the schema is as the migrations make it\n"
                            : "the schema is not as the migrations make it\n");
  return exit_code_of(report);
}

int baseline(const arguments& given) {
  auto migrations = connect(given);
  const auto report = given.from_alembic ? migrations.baseline_from_alembic()
                                         : migrations.baseline(given.to.value());
  if (given.json) {
    std::cout << to_json(report) << '\n';
  } else {
    std::cout << "adopted at version " << report.version << (report.tenants ? ", with tenants" : "")
              << '\n';
  }
  return ok;
}

int repair(const arguments& given) {
  connect(given).accept_checksum(given.version);
  if (given.json) {
    std::cout << "{\"accepted\":" << given.version << "}\n";
  } else {
    std::cout << "the file of version " << given.version << " is accepted as it is\n";
  }
  return ok;
}

int history(const arguments& given) {
  const auto rows = connect(given).history();
  if (given.json) {
    std::cout << to_json(rows) << '\n';
    return ok;
  }
  for (const auto& row : rows) {
    label(std::cout, row.version, row.name)
        << ": " << to_string(row.state) << (row.baseline ? " (adopted)" : "") << " by "
        << row.applied_by << ", " << row.execution.count() << " ms"
        << (row.last_error.empty() ? "" : ", ") << row.last_error << '\n';
  }
  return ok;
}

int create(const arguments& given) {
  const auto [up_file, down_file] =
      create_migration(given.directory.empty() ? "migrations" : given.directory, given.name);
  std::cout << up_file.string() << '\n' << down_file.string() << '\n';
  return ok;
}

int lock_info(const arguments& given) {
  const auto holder = connect(given).lock_holder();
  if (given.json) {
    std::cout << (holder ? to_json(*holder) : "null") << '\n';
  } else if (holder) {
    std::cout << "held by pid " << holder->pid << ", application \"" << holder->application_name
              << "\", user " << holder->user << ", client " << holder->client << ", "
              << holder->state << '\n';
  } else {
    std::cout << "nobody holds the lock\n";
  }
  return ok;
}

int report_failure(const arguments& given, const error& problem) {
  if (given.json) {
    std::cout << to_json(problem) << '\n';
  } else {
    std::cerr << "soundhash-db: " << problem.what() << '\n';
  }
  return exit_code_of(problem.code());
}

// --- the command line ----------------------------------------------------------------------------

using command = int (*)(const arguments&);

CLI::App* add(CLI::App& to, const std::string& name, const std::string& help,
              const std::shared_ptr<arguments>& given, const std::shared_ptr<int>& code,
              command run) {
  auto* added = to.add_subcommand(name, help);
  added->fallthrough();
  added->callback([given, code, run] {
    try {
      *code = run(*given);
    } catch (const error& problem) {
      *code = report_failure(*given, problem);
    }
  });
  return added;
}

/// A number with a unit: 500ms, 5s, 2min, 1h.
void add_duration(CLI::App& to, const std::string& name, milliseconds& value,
                  const std::string& help) {
  const std::map<std::string, std::int64_t> units = {
      {"ms", 1}, {"s", 1'000}, {"min", 60'000}, {"h", 3'600'000}};
  to.add_option_function<std::int64_t>(
        name, [&value](const std::int64_t& number) { value = milliseconds{number}; }, help)
      ->transform(CLI::AsNumberWithUnit(
          units, static_cast<CLI::AsNumberWithUnit::Options>(CLI::AsNumberWithUnit::UNIT_REQUIRED),
          "DURATION"));
}

void add_common(CLI::App& to, arguments& given) {
  to.add_flag("--json", given.json, "One JSON value a line");
  to.add_option("--dsn", given.dsn,
                "postgresql://user@host:port/name; without it the environment and .env tell");
  to.add_option("--schema", given.schema, "Schema to work in");
  to.add_option("--dir", given.directory, "Folder of SQL files instead of the built-in ones");
  add_duration(to, "--lock-wait", given.migrator.lock_wait,
               "Wait for another migrator: 500ms, 60s (default), 2min");
  add_duration(to, "--lock-timeout", given.migrator.lock_timeout,
               "Wait of a statement for a table lock, 5s (default); 0s: for ever");
  add_duration(to, "--statement-timeout", given.migrator.statement_timeout,
               "Time of one statement; 0s (default): for ever");
  to.add_flag("--allow-missing-files", given.migrator.allow_missing_files,
              "Work although applied migrations have no file here");
}

// The text is looked at: as a number without sign, -1 would be all there are.
const CLI::Range some_steps{std::int64_t{1}, std::int64_t{1'000'000}};

void add_up_choice(CLI::App& to, arguments& given) {
  to.add_option("--to", given.to, "Up to and including this version");
  to.add_option("--steps", given.steps, "At most so many migrations")->check(some_steps);
  to.add_option("--with", given.with, "Also this optional migration (may be repeated)");
  to.add_flag("--out-of-order", given.up.out_of_order,
              "Also migrations below the highest applied one");
}

}  // namespace

void add_migrate_command(CLI::App& app, const std::shared_ptr<int>& code) {
  auto* migrate = app.add_subcommand("migrate", "Bring the schema of the database up to date");
  migrate->require_subcommand(1);
  const auto given = std::make_shared<arguments>();
  add_common(*migrate, *given);
  const auto subcommand = [&](const std::string& name, const std::string& help, command run) {
    return add(*migrate, name, help, given, code, run);
  };

  subcommand("status", "Show where each migration stands", status)
      ->add_flag("--check", given->check, "Exit with 3, 4 or 5 unless all is applied");
  add_up_choice(*subcommand("up", "Apply what is pending", up), *given);
  add_up_choice(*subcommand("plan", "Show the SQL that `up` would run", plan), *given);

  auto* reverting = subcommand("down", "Revert migrations, the highest first", down);
  auto* down_to = reverting->add_option("--to", given->to, "Revert everything above this version");
  reverting->add_option("--steps", given->steps, "Revert so many migrations")
      ->check(some_steps)
      ->excludes(down_to);
  reverting->add_flag("--yes", given->down.accept_data_loss, "Also those that lose data");

  subcommand("verify", "Check files, tables, indexes and the time zone", verify);
  subcommand("history", "Show the history table", history);
  subcommand("lock-info", "Show who holds the migration lock", lock_info);

  auto* adopting = subcommand("baseline", "Adopt a database that exists already", baseline);
  auto* source = adopting->add_option_group("source");
  source->add_flag("--from-alembic", given->from_alembic, "Find the version by alembic_version");
  source->add_option("--to", given->to, "Take it to be at this version");
  source->require_option(1);

  auto* repairing = subcommand("repair", "Accept the changed file of one migration", repair);
  repairing->add_option("version", given->version, "Its version")->required();
  repairing->add_flag("--accept-checksum", given->accept_checksum, "Confirm")->required();

  subcommand("new", "Create a pair of files for a new migration", create)
      ->add_option("name", given->name, "Its name: a-z, 0-9 and _")
      ->required();
}

}  // namespace soundhash::db::cli
