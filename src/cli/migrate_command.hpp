#pragma once

#include <memory>
#include <string>

#include <CLI/CLI.hpp>

namespace soundhash::db::cli {

/// Exit codes of `soundhash-db`.
enum exit_code : int {
  ok = 0,
  failed = 1,
  usage = 2,
  pending = 3,
  drift = 4,
  half_applied = 5,
  locked = 6,
  mismatch = 7,
};

/// Adds `migrate` and its subcommands to the command line. A subcommand that was chosen runs while
/// the line is parsed and puts its exit code into `*code`.
void add_migrate_command(CLI::App& app, std::shared_ptr<int> code);

}  // namespace soundhash::db::cli
