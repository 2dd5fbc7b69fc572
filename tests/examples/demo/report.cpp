#include "report.hpp"

#include <algorithm>
#include <cmath>
#include <map>
#include <string_view>

#include <fmt/format.h>

namespace {

constexpr double tolerance = 0.5;  // seconds

double offset_error(const verdict& v) {
  return std::abs(v.found->offset_seconds - v.of->expected_offset);
}

double median(std::vector<double> values) {
  if (values.empty()) return 0;
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

/// A figure of the cache: the sum over its labels, or one of them.
double figure_of(const soundhash::db::metrics_snapshot& metrics, std::string_view name,
                 std::string_view labels = {}) {
  double sum = 0;
  for (const auto& one : metrics.figures) {
    if (one.name == name && (labels.empty() || one.labels == labels)) sum += one.value;
  }
  return sum;
}

struct group {
  int clips = 0;
  int right = 0;
  std::vector<double> votes;
  std::vector<double> errors;
  std::vector<double> times;
};

void add(group& to, const verdict& v) {
  ++to.clips;
  to.right += v.right() ? 1 : 0;
  to.times.push_back(v.milliseconds);
  if (!v.found || !v.of->expected_video_id) return;
  to.votes.push_back(static_cast<double>(v.found->votes));
  to.errors.push_back(offset_error(v));
}

void print_group(const std::string& name, const group& g) {
  const auto worst = g.errors.empty() ? 0 : *std::max_element(g.errors.begin(), g.errors.end());
  const auto least = g.votes.empty() ? 0 : *std::min_element(g.votes.begin(), g.votes.end());
  fmt::print("  {:<24} {:>5} {:>6} {:>12.0f} {:>11.0f} {:>15.3f} {:>10.1f}\n", name, g.clips,
             g.right, median(g.votes), least, worst, median(g.times));
}

void print_wrong(const verdict& v) {
  fmt::print("  wrong: {} ({}): expected {}, found {}\n", v.of->clip_id, v.of->encoding,
             v.of->expected_video_id
                 ? fmt::format("{} at {:.2f} s", *v.of->expected_video_id, v.of->expected_offset)
                 : "nothing",
             v.found ? fmt::format("{} at {:.2f} s with {} votes", v.found->video_id,
                                   v.found->offset_seconds, v.found->votes)
                     : "nothing");
}

}  // namespace

bool verdict::right() const {
  if (!of->expected_video_id) return !found;
  return found && found->video_id == *of->expected_video_id && offset_error(*this) <= tolerance;
}

void print_verdicts(const std::vector<verdict>& verdicts) {
  std::map<std::string, group> known;
  group strangers;
  for (const auto& v : verdicts)
    add(v.of->expected_video_id ? known[v.of->encoding] : strangers, v);

  fmt::print("\nMatches\n  {:<24} {:>5} {:>6} {:>12} {:>11} {:>15} {:>10}\n", "encoding", "clips",
             "right", "votes (med.)", "votes (min)", "worst error (s)", "time (ms)");
  int clips = 0;
  int right = 0;
  for (const auto& [encoding, g] : known) {
    print_group(encoding, g);
    clips += g.clips;
    right += g.right;
  }
  print_group("not among the tracks", strangers);
  for (const auto& v : verdicts) {
    if (!v.right()) print_wrong(v);
  }
  fmt::print("\n  matched:  {} of {} clips, first and within {} s of their offset\n", right, clips,
             tolerance);
  fmt::print("  rejected: {} of {} clips of other pieces\n", strangers.right, strangers.clips);
}

void print_metrics(const soundhash::db::metrics_snapshot& metrics,
                   const soundhash::db::pool_stats& pool) {
  fmt::print(
      "\nMetrics\n"
      "  total queries     {}\n"
      "  slow queries      {} ({:.2f} %)\n"
      "  total duration    {:.2f} s\n"
      "  average duration  {:.3f} ms\n"
      "  errors            {}\n"
      "  connections       {} idle, {} used, {} opened\n",
      metrics.total_queries, metrics.slow_queries, metrics.slow_query_percentage,
      metrics.total_duration, metrics.average_duration * 1e3, metrics.errors, pool.idle, pool.used,
      pool.connects);
  fmt::print("\n  {:<36} {:>8} {:>7} {:>9} {:>9} {:>9}\n", "query", "count", "errors", "p50 (ms)",
             "p95 (ms)", "max (ms)");
  for (const auto& q : metrics.queries) {
    fmt::print("  {:<36} {:>8} {:>7} {:>9.2f} {:>9.2f} {:>9.2f}\n", q.name, q.count, q.errors,
               q.p50 * 1e3, q.p95 * 1e3, q.max * 1e3);
  }
}

void print_cache(const soundhash::db::metrics_snapshot& metrics) {
  constexpr std::string_view requests = "soundhash_cache_requests_total";
  const auto all = figure_of(metrics, requests);
  if (all == 0) {
    fmt::print("\nCache\n  off: REDIS_ENABLED is false\n");
    return;
  }
  const auto hits = figure_of(metrics, requests, "result=\"hit\"") +
                    figure_of(metrics, requests, "result=\"negative_hit\"") +
                    figure_of(metrics, requests, "result=\"near_hit\"");
  fmt::print(
      "\nCache\n"
      "  reads             {:.0f}\n"
      "  hit rate          {:.1f} %\n"
      "  saved             {:.1f} ms of database time\n"
      "  invalidations     {:.0f}, undelivered {:.0f}\n"
      "  breaker           {}, opened {:.0f} times\n",
      all, hits / all * 100, figure_of(metrics, "soundhash_cache_saved_seconds_total") * 1e3,
      figure_of(metrics, "soundhash_cache_invalidations_total"),
      figure_of(metrics, "soundhash_cache_undelivered_tags"),
      figure_of(metrics, "soundhash_cache_breaker_open") == 0 ? "closed" : "open",
      figure_of(metrics, "soundhash_cache_breaker_opens_total"));
}
