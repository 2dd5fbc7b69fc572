#include "query_benchmark.hpp"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <functional>
#include <numeric>
#include <stdexcept>
#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <spdlog/spdlog.h>

namespace sdb = soundhash::db;

namespace {

/// Runs one query and returns how many rows came; throws when they are not what was loaded.
using measured = std::function<std::size_t()>;

void require(bool holds, const char* what) {
  if (!holds) throw std::runtime_error{what};
}

std::vector<std::pair<std::string, measured>> seven_queries(sdb::database& db,
                                                            const dataset_keys& keys) {
  return {
      {"Get channel by ID",
       [&db, &keys] {
         const auto channel = db.channels().find_by_channel_id(keys.channel_id);
         require(channel && channel->channel_id == keys.channel_id, "another channel came");
         return std::size_t{1};
       }},
      {"Get video by ID",
       [&db, &keys] {
         const auto video = db.videos().find_by_video_id(keys.video_id);
         require(video && video->video_id == keys.video_id, "another video came");
         return std::size_t{1};
       }},
      {"Get unprocessed videos (limit 100)",
       [&db] {
         const auto videos = db.videos().unprocessed(100);
         require(std::none_of(videos.begin(), videos.end(),
                              [](const sdb::video& v) { return v.processed.value_or(true); }),
                 "a processed video came");
         return videos.size();
       }},
      {"Get pending jobs (limit 10)",
       [&db] {
         const auto jobs = db.jobs().pending({}, 10);
         require(
             std::all_of(jobs.begin(), jobs.end(),
                         [](const sdb::job& j) { return j.status == sdb::job_status::pending; }),
             "a job came that is not pending");
         return jobs.size();
       }},
      {"Check job exists",
       [&db, &keys] {
         require(db.jobs().exists(keys.job_type, keys.job_target_id), "the job is missing");
         return std::size_t{1};
       }},
      {"Count jobs by status",
       [&db] {
         return static_cast<std::size_t>(db.jobs().count_by_status(sdb::job_status::pending));
       }},
      {"Find matching fingerprints",
       [&db, &keys] {
         const auto found = db.fingerprints().find_by_hash(keys.fingerprint_hash);
         require(!found.empty() && found.front().fingerprint_hash == keys.fingerprint_hash,
                 "no fingerprint, or another one, came");
         return found.size();
       }},
  };
}

query_timing measure(const std::string& name, const measured& query, int iterations) {
  query_timing timing{.name = name, .error = {}, .iterations = iterations};
  std::vector<double> samples;
  try {
    for (int i = 0; i < iterations; ++i) {
      const auto started = std::chrono::steady_clock::now();
      timing.rows = query();
      const std::chrono::duration<double, std::milli> took =
          std::chrono::steady_clock::now() - started;
      samples.push_back(took.count());
      spdlog::debug("{}: run {} took {:.3f} ms, {} rows", name, i + 1, took.count(), timing.rows);
    }
  } catch (const std::exception& problem) {
    spdlog::error("{} failed: {}", name, problem.what());
    timing.error = problem.what();
    return timing;
  }
  std::sort(samples.begin(), samples.end());
  const auto n = samples.size();
  timing.min_ms = samples.front();
  timing.max_ms = samples.back();
  timing.avg_ms = std::accumulate(samples.begin(), samples.end(), 0.0) / static_cast<double>(n);
  timing.median_ms = (samples[(n - 1) / 2] + samples[n / 2]) / 2;
  timing.p95_ms = p95(samples);
  return timing;
}

}  // namespace

std::string verdict(const query_timing& timing) {
  if (!timing.error.empty()) return "ERROR";
  if (timing.p95_ms < 100) return "PASS";
  return timing.p95_ms < 200 ? "WARN" : "FAIL";
}

double p95(const std::vector<double>& sorted) {
  const auto n = sorted.size();
  if (n < 10) return sorted.back();
  if (n < 20) return sorted[n * 9 / 10];
  // statistics.quantiles(samples, n=20)[18]
  const double at = 0.95 * static_cast<double>(n + 1);
  const auto below = std::clamp<std::size_t>(static_cast<std::size_t>(at), 1, n - 1);
  const double fraction = at - static_cast<double>(below);
  return sorted[below - 1] + (sorted[below] - sorted[below - 1]) * fraction;
}

std::vector<query_timing> run_queries(sdb::database& db, const dataset_keys& keys, int iterations) {
  std::vector<query_timing> timings;
  for (const auto& [name, query] : seven_queries(db, keys)) {
    timings.push_back(measure(name, query, iterations));
  }
  return timings;
}

void print_table(const std::vector<query_timing>& timings) {
  fmt::print("\nQuery performance (target: p95 < 100 ms)\n");
  fmt::print("  {:<36} {:>6} {:>9} {:>9} {:>11} {:>9}  {}\n", "query", "rows", "min (ms)",
             "avg (ms)", "median (ms)", "p95 (ms)", "verdict");
  int passed = 0;
  for (const auto& t : timings) {
    if (!t.error.empty()) {
      fmt::print("  {:<36} {}: {}\n", t.name, verdict(t), t.error);
      continue;
    }
    passed += t.p95_ms < 200 ? 1 : 0;
    fmt::print("  {:<36} {:>6} {:>9.3f} {:>9.3f} {:>11.3f} {:>9.3f}  {}\n", t.name, t.rows,
               t.min_ms, t.avg_ms, t.median_ms, t.p95_ms, verdict(t));
  }
  fmt::print("  {} passed, {} failed\n", passed, static_cast<int>(timings.size()) - passed);
}

void print_metrics(const sdb::metrics_snapshot& metrics) {
  fmt::print(
      "\nQuery metrics\n"
      "  total queries          {}\n"
      "  slow queries           {}\n"
      "  slow query percentage  {:.2f} %\n"
      "  average duration       {:.3f} ms\n"
      "  total duration         {:.3f} s\n",
      metrics.total_queries, metrics.slow_queries, metrics.slow_query_percentage,
      metrics.average_duration * 1e3, metrics.total_duration);
}

std::string to_json(const std::vector<query_timing>& timings,
                    const sdb::metrics_snapshot& metrics) {
  using nlohmann::json;
  auto queries = json::array();
  for (const auto& t : timings) {
    queries.push_back({{"name", t.name},
                       {"verdict", verdict(t)},
                       {"error", t.error},
                       {"iterations", t.iterations},
                       {"rows", t.rows},
                       {"min_ms", t.min_ms},
                       {"avg_ms", t.avg_ms},
                       {"median_ms", t.median_ms},
                       {"p95_ms", t.p95_ms},
                       {"max_ms", t.max_ms}});
  }
  return json{{"queries", queries}, {"metrics", json::parse(sdb::to_json(metrics))}}.dump();
}
