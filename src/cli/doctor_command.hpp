#pragma once

#include <memory>

#include <CLI/CLI.hpp>

namespace soundhash::db::cli {

/// Adds `doctor` to the command line. When it was chosen, it runs while the line is parsed and puts
/// its exit code into `*code`.
void add_doctor_command(CLI::App& app, const std::shared_ptr<int>& code);

}  // namespace soundhash::db::cli
