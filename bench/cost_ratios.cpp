#include "cost_ratios.hpp"

#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <stdexcept>
#include <string>

#include <fmt/format.h>
#include <unistd.h>

#include <soundhash/db.hpp>

namespace sdb = soundhash::db;

namespace {

using std::chrono::steady_clock;

/// Makes the compiler believe that the value is used.
template <class T>
void keep(const T& value) {
  asm volatile("" : : "r"(&value) : "memory");
}

/// Every standard header that our public headers include.
std::string std_includes() {
  const std::filesystem::path folder{SOUNDHASH_DB_INCLUDE_DIR};
  std::string found;
  for (const auto& entry : std::filesystem::recursive_directory_iterator{folder}) {
    if (!entry.is_regular_file() || entry.path().native().find("/testing/") != std::string::npos ||
        entry.path().filename() == "native.hpp") {
      continue;
    }
    std::ifstream in{entry.path()};
    for (std::string line; std::getline(in, line);) {
      if (line.starts_with("#include <") && line.find('/') == std::string::npos) {
        found += line + '\n';
      }
    }
  }
  return found;
}

/// Compiles the file as a user would.
cost time_compiler(const std::filesystem::path& file) {
  const auto command = fmt::format("{} -std=c++20 -O1 -I {} -c {} -o /dev/null",
                                   SOUNDHASH_DB_COMPILER, SOUNDHASH_DB_INCLUDE_DIR, file.native());
  const auto began = steady_clock::now();
  // NOLINTNEXTLINE(cert-env33-c,concurrency-mt-unsafe): the command is ours
  if (std::system(command.c_str()) != 0)
    throw std::runtime_error{"cannot compile " + file.native()};
  const std::chrono::duration<double, std::micro> wall = steady_clock::now() - began;
  return {wall.count(), wall.count(), std::nullopt};  // the compiler waits for nothing
}

}  // namespace

ratio_result measure_interceptor(const ratio_run& run, std::size_t threads) {
  constexpr std::size_t statements = 2'000'000;
  const auto each = statements / threads;
  sdb::metrics registry{std::chrono::milliseconds{100}};

  ratio_result row;
  row.name = "interceptor_" + std::to_string(threads) + "t";
  row.unit = "statement";
  row.baseline_name = "two clock reads";
  const auto ours = [&] {
    return time_threads(threads, statements, [&](std::size_t) {
      sdb::statement_event event{.name = "video.find_by_video_id", .sql = "SELECT 1"};
      for (std::size_t i = 0; i < each; ++i) {
        const auto began = steady_clock::now();
        event.execute = steady_clock::now() - began;
        registry.record(event);
      }
    });
  };
  const auto baseline = [&] {
    return time_threads(threads, statements, [&](std::size_t) {
      for (std::size_t i = 0; i < each; ++i) {
        const auto began = steady_clock::now();
        keep(steady_clock::now() - began);
      }
    });
  };
  compete(run.rounds, ours, baseline, row);
  const auto recorded = registry.totals().total_queries;
  if (recorded != statements * static_cast<std::uint64_t>(run.rounds)) {
    throw std::runtime_error{row.name + ": the metrics counted " + std::to_string(recorded) +
                             " statements"};
  }
  judge(row, "p50", row.ours.p50_us / row.baseline->p50_us, 1.4);
  return row;
}

ratio_result measure_header_cost(const ratio_run& run) {
  const auto folder =
      std::filesystem::temp_directory_path() / fmt::format("header_cost_{}", getpid());
  std::filesystem::create_directory(folder);
  const auto write = [&](const char* name, const std::string& includes) {
    std::ofstream{folder / name} << includes << "int main() { return 0; }\n";
    return folder / name;
  };
  const auto with_ours = write("ours.cpp", "#include <soundhash/db.hpp>\n");
  const auto with_std = write("std.cpp", std_includes());

  ratio_result row;
  row.name = "header_cost";
  row.unit = "compilation";
  row.baseline_name = "the standard headers alone";
  compete(
      run.rounds, [&] { return time_compiler(with_ours); }, [&] { return time_compiler(with_std); },
      row);
  std::filesystem::remove_all(folder);
  judge(row, "p50", row.ours.p50_us / row.baseline->p50_us, 1.3);
  return row;
}
