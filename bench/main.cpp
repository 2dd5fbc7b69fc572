// ./dev bench: measures the library on a loaded database that the environment names.

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <exception>
#include <fstream>
#include <stdexcept>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <soundhash/db.hpp>

#include "dataset.hpp"
#include "query_benchmark.hpp"
#include "ratio.hpp"

namespace sdb = soundhash::db;

namespace {

struct query_options {
  int iterations = 10;
  std::string log_level = "INFO";
  std::string json_file;
  dataset_size size;
};

void write_file(const std::string& path, const std::string& text) {
  std::ofstream out{path};
  out << text << '\n';
  out.close();
  if (!out) throw std::runtime_error{"cannot write " + path};
}

void set_level(const std::string& name) {
  const auto level = name == "DEBUG"     ? spdlog::level::debug
                     : name == "WARNING" ? spdlog::level::warn
                     : name == "ERROR"   ? spdlog::level::err
                                         : spdlog::level::info;
  spdlog::set_level(level);
  sdb::logger()->set_level(level);
}

int bench_queries(const query_options& options) {
  set_level(options.log_level);
  const auto settings = sdb::database_options::from_env();
  auto db = sdb::database::open(settings);
  load(db, options.size);
  const auto keys = choose_keys(db);
  db.metrics().reset();

  const auto timings = run_queries(db, keys, options.iterations);
  const auto metrics = db.metrics().snapshot();
  print_table(timings);
  print_metrics(metrics);
  if (!options.json_file.empty()) write_file(options.json_file, to_json(timings, metrics));

  for (const auto& timing : timings) {
    if (!timing.error.empty()) return 1;
  }
  return 0;
}

struct ratio_options {
  std::vector<std::string> only;
  std::string json_file;
  int rounds = 9;
  double scale = 1;
};

/// 2 000 000 fingerprints at scale 1.
dataset_size scaled(double scale) {
  const auto rows = [scale](double count) {
    return static_cast<std::int32_t>(std::max(1.0, count * scale));
  };
  return {.channels = rows(200),
          .videos = rows(20'000),
          .jobs = rows(100'000),
          .fingerprints = rows(2'000'000),
          .matches = rows(100'000)};
}

std::vector<std::string> row_names() {
  std::vector<std::string> names;
  for (const auto& row : ratio_rows()) names.push_back(row.name);
  return names;
}

/// A bar that is missed is shown, not an error: the figures of a busy machine mean little.
int bench_ratios(const ratio_options& options) {
  set_level("WARNING");
  ratio_run run{sdb::database_options::from_env(), options.rounds, scaled(options.scale)};
  run.settings.cache.enabled = false;
  std::vector<ratio_result> results;
  for (const auto& row : ratio_rows()) {
    const auto& only = options.only;
    if (!only.empty() && std::find(only.begin(), only.end(), row.name) == only.end()) continue;
    fmt::print(stderr, "measuring {}\n", row.name);
    results.push_back(row.measure(run));
  }
  print_table(results);
  if (!options.json_file.empty()) write_file(options.json_file, to_json(results));
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app{"Measures soundhash-db"};
  app.require_subcommand(1);

  query_options options;
  auto* queries =
      app.add_subcommand("queries", "The seven queries of the application, with verdicts");
  queries->add_option("--iterations", options.iterations, "Runs of each query")
      ->check(CLI::Range(1, 1'000'000))
      ->capture_default_str();
  queries->add_option("--log-level", options.log_level, "What is logged")
      ->check(CLI::IsMember({"DEBUG", "INFO", "WARNING", "ERROR"}))
      ->capture_default_str();
  queries->add_option("--json", options.json_file, "Also write the results to this file");
  queries->add_option("--videos", options.size.videos, "Videos to load into an empty database")
      ->check(CLI::Range(100, 10'000'000))
      ->capture_default_str();
  queries
      ->add_option("--fingerprints", options.size.fingerprints,
                   "Fingerprints to load into an empty database")
      ->check(CLI::Range(1000, 100'000'000))
      ->capture_default_str();

  ratio_options compared;
  auto* ratios = app.add_subcommand("ratios", "Our work beside the same by hand, as ratios");
  ratios->add_option("--only", compared.only, "Names of rows, separated by commas")
      ->delimiter(',')
      ->check(CLI::IsMember(row_names()));
  ratios->add_option("--json", compared.json_file, "Also write the results to this file");
  ratios->add_option("--rounds", compared.rounds, "Rounds, of which the median counts")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  ratios->add_option("--scale", compared.scale, "Data to load, in parts of 2 000 000 fingerprints")
      ->check(CLI::Range(0.1, 100.0))
      ->capture_default_str();
  CLI11_PARSE(app, argc, argv);

  try {
    return ratios->parsed() ? bench_ratios(compared) : bench_queries(options);
  } catch (const std::exception& problem) {
    fmt::print(stderr, "soundhash-db-bench: {}\n", problem.what());
    return 1;
  }
}
