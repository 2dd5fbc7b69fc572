#include <algorithm>
#include <atomic>
#include <mutex>
#include <tuple>
#include <unordered_map>
#include <utility>

#include <soundhash/db/observe/metrics.hpp>

#include "observe/series_table.hpp"

namespace soundhash::db {
namespace {

/// The moment that snapshots count from.
struct baseline {
  std::unordered_map<const series*, series_totals> totals;
  std::uint64_t interceptor_failures = 0;
};

constexpr double seconds(std::uint64_t nanoseconds) {
  return static_cast<double>(nanoseconds) / 1e9;
}

query_metrics describe(const series& of, const series_totals& totals) {
  const auto percentile = [&](double share) {
    return seconds(std::min(totals.durations.percentile(share), totals.max));
  };
  query_metrics one;
  one.name = of.name();
  one.kind = of.kind();
  one.count = totals.durations.count();
  one.slow = totals.slow;
  one.rows = totals.rows;
  one.total_duration = seconds(totals.sum);
  one.p50 = percentile(.50);
  one.p95 = percentile(.95);
  one.p99 = percentile(.99);
  one.max = seconds(totals.max);
  one.wait_duration = seconds(totals.wait);
  one.errors_by_sqlstate = totals.errors_by_sqlstate;
  for (const auto& [state, count] : one.errors_by_sqlstate) one.errors += count;
  one.buckets = totals.durations.cumulative();
  return one;
}

void sum_up(metrics_snapshot& all) {
  for (const auto& one : all.queries) {
    if (one.kind != statement_kind::user) continue;
    all.total_queries += one.count;
    all.slow_queries += one.slow;
    all.total_duration += one.total_duration;
    all.errors += one.errors;
  }
  if (all.total_queries == 0) return;
  const auto count = static_cast<double>(all.total_queries);
  all.average_duration = all.total_duration / count;
  // A statement recorded during reset() may count as slow after it and as a query before it.
  const auto share = std::min(static_cast<double>(all.slow_queries) / count, 1.0);
  all.slow_query_percentage = share * 100;
}

bool by_name_then_kind(const query_metrics& a, const query_metrics& b) {
  return std::tie(a.name, a.kind) < std::tie(b.name, b.kind);
}

}  // namespace

struct metrics::impl {
  explicit impl(std::chrono::nanoseconds threshold) : slow_threshold{threshold} {}

  [[nodiscard]] std::vector<query_metrics> queries(const baseline& since) const;
  [[nodiscard]] std::vector<figure> figures() const;
  [[nodiscard]] metrics_snapshot snapshot(const baseline& since) const;
  [[nodiscard]] std::shared_ptr<const baseline> current_start() const;

  const std::chrono::nanoseconds slow_threshold;
  series_table table{max_series};
  std::atomic<std::uint64_t> interceptor_failures{0};
  mutable std::mutex mutex;  // guards all below
  std::shared_ptr<const baseline> start = std::make_shared<const baseline>();
  std::vector<std::function<void(std::vector<figure>&)>> collectors;
};

std::vector<query_metrics> metrics::impl::queries(const baseline& since) const {
  std::vector<query_metrics> all;
  for (const auto* one : table.all()) {
    auto totals = one->totals();
    if (const auto earlier = since.totals.find(one); earlier != since.totals.end()) {
      totals -= earlier->second;
    }
    if (totals.durations.count() > 0) all.push_back(describe(*one, totals));
  }
  std::sort(all.begin(), all.end(), by_name_then_kind);
  return all;
}

std::vector<figure> metrics::impl::figures() const {
  std::unique_lock hold{mutex};
  const auto asked = collectors;
  hold.unlock();  // a collector may take locks of its own, or use the metrics
  std::vector<figure> all;
  for (const auto& collect : asked) collect(all);
  return all;
}

metrics_snapshot metrics::impl::snapshot(const baseline& since) const {
  metrics_snapshot all;
  all.interceptor_failures =
      interceptor_failures.load(std::memory_order_relaxed) - since.interceptor_failures;
  all.queries = queries(since);
  sum_up(all);
  all.figures = figures();
  return all;
}

std::shared_ptr<const baseline> metrics::impl::current_start() const {
  const std::lock_guard hold{mutex};
  return start;
}

const query_metrics* metrics_snapshot::query(std::string_view name) const noexcept {
  const auto at = std::lower_bound(
      queries.begin(), queries.end(), name,
      [](const query_metrics& one, std::string_view wanted) { return one.name < wanted; });
  return at != queries.end() && at->name == name ? &*at : nullptr;
}

metrics::metrics(std::chrono::nanoseconds slow_threshold)
    : state_{std::make_unique<impl>(slow_threshold)} {}

metrics::~metrics() = default;

void metrics::record(const statement_event& event) noexcept {
  state_->table.find(event.kind, event.name).record(event, state_->slow_threshold);
}

void metrics::interceptor_failed() noexcept {
  state_->interceptor_failures.fetch_add(1, std::memory_order_relaxed);
}

metrics_snapshot metrics::snapshot() const {
  return state_->snapshot(*state_->current_start());
}

metrics_snapshot metrics::totals() const {
  return state_->snapshot(baseline{});
}

void metrics::reset() {
  // Held throughout: of two resets, the later moment must win.
  const std::lock_guard hold{state_->mutex};
  auto now = std::make_shared<baseline>();
  now->interceptor_failures = state_->interceptor_failures.load(std::memory_order_relaxed);
  for (const auto* one : state_->table.all()) now->totals.emplace(one, one->totals());
  state_->start = std::move(now);
}

void metrics::add_collector(std::function<void(std::vector<figure>&)> collect) {
  const std::lock_guard hold{state_->mutex};
  state_->collectors.push_back(std::move(collect));
}

}  // namespace soundhash::db
