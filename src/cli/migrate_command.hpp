#pragma once

#include <memory>
#include <string>

#include <CLI/CLI.hpp>

namespace soundhash::db::cli {

/// Adds `migrate` and its subcommands to the command line. A subcommand that was chosen runs while
/// the line is parsed and puts its exit code into `*code`.
void add_migrate_command(CLI::App& app, const std::shared_ptr<int>& code);

}  // namespace soundhash::db::cli
