#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <soundhash/db/export.hpp>
#include <soundhash/db/observe/interceptor.hpp>

namespace soundhash::db {

/// What one query did since the start, or since the last reset(). Durations in seconds, of the
/// execute phase; percentiles come from log-linear buckets and are at most 12.5 % too high (between
/// 1 us and 137 s; outside, the bound or `max` stands for them).
struct query_metrics {
  std::string name;
  statement_kind kind = statement_kind::user;
  std::uint64_t count = 0;  ///< failed and timed-out ones included
  std::uint64_t errors = 0;
  std::uint64_t slow = 0;
  std::uint64_t rows = 0;
  double total_duration = 0;
  double p50 = 0;
  double p95 = 0;
  double p99 = 0;
  double max = 0;  ///< exact since the start; since a reset at most 12.5 % too high, as percentiles
  double wait_duration = 0;  ///< sum of the waits for a connection
  /// "" for errors without one; codes after the 64th count under "other".
  std::map<std::string, std::uint64_t> errors_by_sqlstate;
  /// Cumulative counts at `metrics::bucket_bounds`, then all: for Prometheus.
  std::vector<std::uint64_t> buckets;
};

/// One value that a collector contributed: pool and cache figures.
struct figure {
  std::string name;  ///< Prometheus style, unit included: "db_client_connection_wait_seconds_total"
  std::string labels;  ///< "state=\"idle\"", values escaped, or empty
  double value = 0;
  bool counter = false;  ///< else a gauge
  std::string help;
};

/// All figures at one moment. The five of the Python services keep their names and units; they are
/// over statements of kind `user`, and 0 when there were none.
struct metrics_snapshot {
  std::uint64_t total_queries = 0;
  std::uint64_t slow_queries = 0;
  double total_duration = 0;         ///< seconds
  double average_duration = 0;       ///< seconds
  double slow_query_percentage = 0;  ///< 0 to 100
  std::uint64_t errors = 0;          ///< of kind `user`
  std::uint64_t interceptor_failures = 0;
  /// Sorted by name, then kind: one for each pair that ran at all.
  std::vector<query_metrics> queries;
  std::vector<figure> figures;

  /// The figures of one query, or nullptr when it did not run. Of several kinds, the first.
  /// Lifetime: that of the snapshot.
  [[nodiscard]] SOUNDHASH_DB_EXPORT const query_metrics* query(
      std::string_view name) const noexcept;
};

/// The registry: counts and durations per query, kept in memory.
/// Thread safety: safe for concurrent use; recording takes no lock once a query is known.
class SOUNDHASH_DB_EXPORT metrics {
 public:
  /// Bounds in seconds, from OpenTelemetry's db.client.operation.duration.
  static constexpr double bucket_bounds[] = {.001, .005, .01, .05, .1, .5, 1, 5, 10};
  /// Queries beyond this many share the series "(other)", one for each kind.
  static constexpr std::size_t max_series = 2000;

  explicit metrics(std::chrono::nanoseconds slow_threshold);
  ~metrics();
  metrics(const metrics&) = delete;
  metrics& operator=(const metrics&) = delete;

  /// Counts one finished statement; slow is one whose execute phase took longer than the threshold.
  void record(const statement_event& event) noexcept;
  /// Counts an interceptor that threw.
  void interceptor_failed() noexcept;

  /// Everything since the start, or since the last reset(). Percentiles are computed here.
  /// Throws: what a collector throws.
  [[nodiscard]] metrics_snapshot snapshot() const;
  /// Everything since the start: counters that never go back, for Prometheus.
  /// Throws: what a collector throws.
  [[nodiscard]] metrics_snapshot totals() const;
  /// Makes later snapshots count from now. The counters of totals() and the collectors' figures go
  /// on.
  void reset();

  /// Adds a source of figures, asked by each snapshot on the calling thread, maybe several threads
  /// at once. It must be callable as long as snapshots are taken.
  void add_collector(std::function<void(std::vector<figure>&)> collect);

 private:
  struct impl;
  std::unique_ptr<impl> state_;
};

/// The snapshot in Prometheus' text format 0.0.4, names as OpenTelemetry's database conventions.
/// Give it `totals()`.
[[nodiscard]] SOUNDHASH_DB_EXPORT std::string prometheus_text(const metrics_snapshot& snapshot);

/// The snapshot as one JSON object.
[[nodiscard]] SOUNDHASH_DB_EXPORT std::string to_json(const metrics_snapshot& snapshot);

}  // namespace soundhash::db
