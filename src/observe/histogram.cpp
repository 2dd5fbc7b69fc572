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

// Both parts grow with the value, and one of them does where a bucket or a bound ends, so that a
// cell lies inside one bucket and between two bounds.
std::size_t cell_of(std::uint64_t nanoseconds) noexcept {
  auto cell = log_linear::bucket_of(nanoseconds);
  // Counting the bounds below the value has no branch to mispredict.
  for (const auto bound : bounds_in_nanoseconds) cell += nanoseconds > bound ? 1 : 0;
  return cell;
}

std::size_t bucket_around(std::size_t cell) noexcept {
  const auto below = [cell](std::uint64_t bound) { return cell_of(bound) < cell; };
  return cell - static_cast<std::size_t>(std::count_if(bounds_in_nanoseconds.begin(),
                                                       bounds_in_nanoseconds.end(), below));
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
  return std::accumulate(cells_.begin(), cells_.end(), std::uint64_t{0});
}

std::uint64_t histogram_counts::percentile(double share) const noexcept {
  const auto total = count();
  if (total == 0) return 0;
  const auto wanted = std::ceil(share * static_cast<double>(total));
  const auto rank = std::clamp(static_cast<std::uint64_t>(wanted), std::uint64_t{1}, total);
  std::uint64_t seen = 0;
  std::size_t cell = 0;
  while ((seen += cells_[cell]) < rank) ++cell;
  return log_linear::upper_edge(bucket_around(cell));
}

std::uint64_t histogram_counts::greatest() const noexcept {
  return percentile(1);
}

std::vector<std::uint64_t> histogram_counts::cumulative() const {
  std::vector<std::uint64_t> sums;
  for (const auto bound : bounds_in_nanoseconds) {
    const auto after = cells_.begin() + static_cast<std::ptrdiff_t>(cell_of(bound) + 1);
    sums.push_back(std::accumulate(cells_.begin(), after, std::uint64_t{0}));
  }
  sums.push_back(count());
  return sums;
}

histogram_counts& histogram_counts::operator+=(const histogram_counts& other) noexcept {
  std::transform(cells_.begin(), cells_.end(), other.cells_.begin(), cells_.begin(), std::plus<>{});
  return *this;
}

histogram_counts& histogram_counts::operator-=(const histogram_counts& other) noexcept {
  std::transform(cells_.begin(), cells_.end(), other.cells_.begin(), cells_.begin(),
                 std::minus<>{});
  return *this;
}

void histogram::record(std::uint64_t nanoseconds) noexcept {
  cells_[cell_of(nanoseconds)].fetch_add(1, std::memory_order_relaxed);
}

histogram_counts histogram::counts() const noexcept {
  histogram_counts counts;
  std::transform(cells_.begin(), cells_.end(), counts.cells_.begin(),
                 [](const auto& cell) { return cell.load(std::memory_order_relaxed); });
  return counts;
}

}  // namespace soundhash::db
