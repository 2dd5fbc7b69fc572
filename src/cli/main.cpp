#include <iostream>
#include <memory>

#include <CLI/CLI.hpp>

#include "cli/doctor_command.hpp"
#include "cli/exit_code.hpp"
#include "cli/migrate_command.hpp"

int main(int argc, char** argv) {
  namespace cli = soundhash::db::cli;
  CLI::App app{"Database tool of SoundHash", "soundhash-db"};
  app.set_version_flag("--version", "soundhash-db " SOUNDHASH_DB_VERSION);
  app.require_subcommand(1);
  const auto code = std::make_shared<int>(cli::ok);
  cli::add_migrate_command(app, code);
  cli::add_doctor_command(app, code);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& problem) {
    return app.exit(problem) == 0 ? cli::ok : cli::usage;
  }
  return *code;
}
