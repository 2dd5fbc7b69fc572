#include "cli/doctor_command.hpp"

#include <algorithm>
#include <cstdlib>
#include <iostream>
#include <string>
#include <vector>

#include <soundhash/db/core/error.hpp>
#include <soundhash/db/database_options.hpp>
#include <soundhash/db/doctor.hpp>
#include <soundhash/db/migrate/migration_report.hpp>

#include "cli/exit_code.hpp"

namespace soundhash::db::cli {
namespace {

struct arguments {
  bool json = false;
  bool apply = false;
  std::string dsn;
  std::string schema;
};

/// The pool and the cache are looked at too, and are those of the environment.
database_options options_of(const arguments& given) {
  // NOLINTNEXTLINE(concurrency-mt-unsafe): there is one thread
  if (!given.dsn.empty()) ::setenv("DATABASE_URL", given.dsn.c_str(), 1);
  auto options = database_options::from_env();
  if (!given.schema.empty()) options.schema = given.schema;
  if (options.application_name == database_options{}.application_name) {
    options.application_name = "soundhash-db doctor";
  }
  return options;
}

void print(const finding& one) {
  std::cout << to_string(one.level) << ": " << one.check << ": " << one.subject << ' ' << one.text
            << '\n';
  if (one.applied) {
    std::cout << "    done: " << one.remedy << '\n';
  } else if (!one.remedy.empty()) {
    std::cout << "    remedy: " << one.remedy << (one.safe ? "  (--apply runs it)" : "") << '\n';
  }
}

bool is_open(const finding& one) {
  return one.level >= severity::warning && !one.applied;
}

int examine(const arguments& given) {
  doctor examiner{options_of(given)};
  auto findings = examiner.examine();
  if (given.apply) examiner.apply(findings);
  std::stable_sort(findings.begin(), findings.end(),
                   [](const finding& a, const finding& b) { return a.level > b.level; });
  if (given.json) {
    std::cout << to_json(findings) << '\n';
  } else {
    for (const auto& one : findings) print(one);
  }
  return std::any_of(findings.begin(), findings.end(), is_open) ? unhealthy : ok;
}

}  // namespace

void add_doctor_command(CLI::App& app, const std::shared_ptr<int>& code) {
  auto* command = app.add_subcommand(
      "doctor", "Look for what goes wrong in production, and name the command that mends it");
  const auto given = std::make_shared<arguments>();
  command->add_flag("--json", given->json, "One JSON value");
  command->add_flag("--apply", given->apply,
                    "Run the safe remedies: ANALYZE, VACUUM, REINDEX CONCURRENTLY");
  command->add_option(
      "--dsn", given->dsn,
      "postgresql://user@host:port/name, instead of DATABASE_URL; all else is as the "
      "environment and .env tell");
  command->add_option("--schema", given->schema, "Schema to look at");
  command->callback([given, code] {
    try {
      *code = examine(*given);
    } catch (const error& problem) {
      given->json ? std::cout << to_json(problem) << '\n'
                  : std::cerr << "soundhash-db: " << problem.what() << '\n';
      *code = failed;
    }
  });
}

}  // namespace soundhash::db::cli
