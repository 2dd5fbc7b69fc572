#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <vector>

#include <soundhash/db/observe/metrics.hpp>

namespace soundhash::db {

/// Buckets of a log-linear histogram of nanoseconds: each power of two from 2^10 (1.02 us) to
/// 2^37 (137 s) is cut into 8 equal parts, so a bucket's upper edge is at most 12.5 % above its
/// lower one; one bucket lies below and one above.
/// Source: HdrHistogram's bucket scheme, with 3 significant bits.
namespace log_linear {

inline constexpr unsigned lowest_power = 10;
inline constexpr unsigned highest_power = 37;
inline constexpr unsigned parts = 8;
inline constexpr std::size_t bucket_count = (highest_power - lowest_power) * parts + 2;

[[nodiscard]] std::size_t bucket_of(std::uint64_t nanoseconds) noexcept;
/// First value above the bucket; the greatest integer for the last one.
[[nodiscard]] std::uint64_t upper_edge(std::size_t bucket) noexcept;

}  // namespace log_linear

/// Each of `metrics::bucket_bounds` cuts one bucket in two, so that one count serves both.
inline constexpr std::size_t histogram_cells =
    log_linear::bucket_count + std::size(metrics::bucket_bounds);

/// The sums of histograms at one moment.
/// Thread safety: a value.
class histogram_counts {
 public:
  /// Values in all.
  [[nodiscard]] std::uint64_t count() const noexcept;
  /// Upper bound in nanoseconds of the value at rank `ceil(share * count)`, at most 12.5 % above
  /// it between 1 us and 137 s; 0 when empty. `share` from 0 to 1.
  [[nodiscard]] std::uint64_t percentile(double share) const noexcept;
  /// Upper bound of the greatest value; 0 when empty.
  [[nodiscard]] std::uint64_t greatest() const noexcept;
  /// Values at most each of `metrics::bucket_bounds`, then all.
  [[nodiscard]] std::vector<std::uint64_t> cumulative() const;

  histogram_counts& operator+=(const histogram_counts& other) noexcept;
  /// Precondition: `other` is an earlier moment of the same histograms.
  histogram_counts& operator-=(const histogram_counts& other) noexcept;

 private:
  friend class histogram;

  std::array<std::uint64_t, histogram_cells> cells_{};
};

/// Durations in log-linear buckets, for percentiles, and in OpenTelemetry's decimal ones: one
/// increment counts for both.
/// Thread safety: safe for concurrent use.
class histogram {
 public:
  void record(std::uint64_t nanoseconds) noexcept;
  [[nodiscard]] histogram_counts counts() const noexcept;

 private:
  std::array<std::atomic<std::uint64_t>, histogram_cells> cells_{};
};

}  // namespace soundhash::db
