#include "observe/histogram.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <functional>
#include <limits>
#include <numeric>

namespace soundhash::db {
namespace {

constexpr auto bounds_in_nanoseconds = [] {
  std::array<std::uint64_t, std::size(metrics::bucket_bounds)> bounds{};
  std::transform(std::begin(metrics::bucket_bounds), std::end(metrics::bucket_bounds),
                 bounds.begin(),
                 // NOLINTNEXTLINE(bugprone-incorrect-roundings): std::llround is not constexpr
                 [](double seconds) { return static_cast<std::uint64_t>(seconds * 1e9 + 0.5); });
  return bounds;
}();

// Counting the bounds below the value has no branch to mispredict.
std::size_t bound_of(std::uint64_t nanoseconds) noexcept {
  std::size_t below = 0;
  for (const auto bound : bounds_in_nanoseconds) below += nanoseconds > bound ? 1 : 0;
  return below;
}

template <class Counts>
std::uint64_t sum(const Counts& counts) noexcept {
  return std::accumulate(counts.begin(), counts.end(), std::uint64_t{0});
}

template <class To, class From, class Combine>
void combine(To& to, const From& from, Combine how) noexcept {
  std::transform(to.begin(), to.end(), from.begin(), to.begin(), how);
}

template <class To, class From>
void load(To& to, const From& from) noexcept {
  std::transform(from.begin(), from.end(), to.begin(),
                 [](const auto& counter) { return counter.load(std::memory_order_relaxed); });
}

}  // namespace

namespace log_linear {

std::size_t bucket_of(std::uint64_t nanoseconds) noexcept {
  const auto power = static_cast<unsigned>(std::bit_width(nanoseconds | 1U)) - 1;
  if (power < lowest_power) return 0;
  if (power >= highest_power) return bucket_count - 1;
  const auto part = (nanoseconds >> (power - 3)) & (parts - 1);
  return 1 + (power - lowest_power) * parts + part;
}

std::uint64_t upper_edge(std::size_t bucket) noexcept {
  if (bucket == 0) return std::uint64_t{1} << lowest_power;
  if (bucket == bucket_count - 1) return std::numeric_limits<std::uint64_t>::max();
  const auto power = lowest_power + (bucket - 1) / parts;
  return (parts + 1 + (bucket - 1) % parts) << (power - 3);
}

}  // namespace log_linear

std::uint64_t histogram_counts::count() const noexcept {
  return sum(bounded_);
}

std::uint64_t histogram_counts::percentile(double share) const noexcept {
  const auto total = sum(fine_);
  if (total == 0) return 0;
  const auto wanted = std::ceil(share * static_cast<double>(total));
  const auto rank = std::clamp(static_cast<std::uint64_t>(wanted), std::uint64_t{1}, total);
  std::uint64_t seen = 0;
  std::size_t bucket = 0;
  while ((seen += fine_[bucket]) < rank) ++bucket;
  return log_linear::upper_edge(bucket);
}

std::uint64_t histogram_counts::greatest() const noexcept {
  return percentile(1);
}

std::vector<std::uint64_t> histogram_counts::cumulative() const {
  std::vector<std::uint64_t> sums(bounded_.size());
  std::partial_sum(bounded_.begin(), bounded_.end(), sums.begin());
  return sums;
}

histogram_counts& histogram_counts::operator+=(const histogram_counts& other) noexcept {
  combine(fine_, other.fine_, std::plus<>{});
  combine(bounded_, other.bounded_, std::plus<>{});
  return *this;
}

histogram_counts& histogram_counts::operator-=(const histogram_counts& other) noexcept {
  combine(fine_, other.fine_, std::minus<>{});
  combine(bounded_, other.bounded_, std::minus<>{});
  return *this;
}

void histogram::record(std::uint64_t nanoseconds) noexcept {
  fine_[log_linear::bucket_of(nanoseconds)].fetch_add(1, std::memory_order_relaxed);
  bounded_[bound_of(nanoseconds)].fetch_add(1, std::memory_order_relaxed);
}

histogram_counts histogram::counts() const noexcept {
  histogram_counts counts;
  load(counts.fine_, fine_);
  load(counts.bounded_, bounded_);
  return counts;
}

}  // namespace soundhash::db
