#include "observe/histogram.hpp"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <vector>

#include <gtest/gtest.h>

namespace soundhash::db {
namespace {

constexpr std::uint64_t microsecond = 1'000;
constexpr std::uint64_t millisecond = 1'000'000;
constexpr std::uint64_t second = 1'000'000'000;

histogram_counts counts_of(const std::vector<std::uint64_t>& values) {
  histogram one;
  for (const auto value : values) one.record(value);
  return one.counts();
}

std::uint64_t ranked(const std::vector<std::uint64_t>& sorted, double share) {
  const auto rank = std::ceil(share * static_cast<double>(sorted.size()));
  return sorted[static_cast<std::size_t>(std::max(rank, 1.0)) - 1];
}

std::vector<std::uint64_t> spread_values(std::size_t count) {
  std::mt19937_64 random{42};
  std::uniform_real_distribution<double> exponent{std::log(2e3), std::log(1.3e11)};
  std::vector<std::uint64_t> values(count);
  for (auto& value : values) value = static_cast<std::uint64_t>(std::exp(exponent(random)));
  return values;
}

TEST(histogram, is_empty_at_first) {
  const histogram_counts none;
  EXPECT_EQ(none.count(), 0U);
  EXPECT_EQ(none.percentile(.5), 0U);
  EXPECT_EQ(none.greatest(), 0U);
}

TEST(histogram, every_edge_begins_the_next_bucket) {
  for (std::size_t bucket = 0; bucket + 1 < log_linear::bucket_count; ++bucket) {
    const auto edge = log_linear::upper_edge(bucket);
    EXPECT_EQ(log_linear::bucket_of(edge - 1), bucket);
    EXPECT_EQ(log_linear::bucket_of(edge), bucket + 1);
  }
}

TEST(histogram, buckets_are_an_eighth_wide_at_most) {
  for (std::size_t bucket = 1; bucket + 1 < log_linear::bucket_count; ++bucket) {
    const auto lower = log_linear::upper_edge(bucket - 1);
    EXPECT_LE((log_linear::upper_edge(bucket) - lower) * 8, lower);
  }
}

TEST(histogram, clamps_what_is_too_short_or_too_long) {
  EXPECT_EQ(log_linear::bucket_of(0), 0U);
  EXPECT_EQ(log_linear::bucket_of(1023), 0U);
  EXPECT_EQ(log_linear::bucket_of(std::numeric_limits<std::uint64_t>::max()),
            log_linear::bucket_count - 1);
  EXPECT_EQ(counts_of({0, 1}).percentile(1), 1024U);
  EXPECT_GE(log_linear::upper_edge(log_linear::bucket_count - 2), 134 * second);
}

TEST(histogram, percentiles_are_at_most_an_eighth_too_high) {
  auto values = spread_values(20'000);
  const auto counts = counts_of(values);
  std::sort(values.begin(), values.end());
  for (const auto share : {0.0, .001, .25, .5, .9, .95, .99, .999, 1.0}) {
    const auto exact = ranked(values, share);
    EXPECT_GT(counts.percentile(share), exact);
    EXPECT_LE(counts.percentile(share), exact + exact / 8 + 1);
  }
}

TEST(histogram, a_rank_is_never_one_too_low) {
  // 2 of 3 values are short: the median is short, everything above two thirds is long.
  const auto counts = counts_of({10 * microsecond, 10 * microsecond, second});
  EXPECT_LT(counts.percentile(.5), 12 * microsecond);
  EXPECT_GT(counts.percentile(.67), second);
}

TEST(histogram, merging_counts_like_recording_together) {
  const auto values = spread_values(1'000);
  const auto middle = values.begin() + 300;
  auto merged = counts_of({values.begin(), middle});
  merged += counts_of({middle, values.end()});
  const auto together = counts_of(values);
  EXPECT_EQ(merged.count(), 1'000U);
  EXPECT_EQ(merged.percentile(.95), together.percentile(.95));
  EXPECT_EQ(merged.cumulative(), together.cumulative());
}

TEST(histogram, subtracting_leaves_what_came_later) {
  histogram one;
  one.record(second);
  const auto before = one.counts();
  one.record(2 * millisecond);
  auto since = one.counts();
  since -= before;
  EXPECT_EQ(since.count(), 1U);
  EXPECT_LT(since.greatest(), 3 * millisecond);
}

TEST(histogram, one_count_serves_buckets_and_bounds) {
  auto values = spread_values(1'000);
  for (std::size_t bucket = 0; bucket + 1 < log_linear::bucket_count; ++bucket) {
    values.push_back(log_linear::upper_edge(bucket) - 1);
    values.push_back(log_linear::upper_edge(bucket));
  }
  std::vector<std::uint64_t> bounds;
  for (const auto seconds : metrics::bucket_bounds) {
    bounds.push_back(static_cast<std::uint64_t>(std::llround(seconds * 1e9)));
    for (const auto beside : {-1, 0, 1}) {
      values.push_back(bounds.back() + static_cast<std::uint64_t>(beside));
    }
  }
  for (const auto value : values) {
    EXPECT_EQ(counts_of({value}).percentile(1),
              log_linear::upper_edge(log_linear::bucket_of(value)));
  }
  const auto sums = counts_of(values).cumulative();
  ASSERT_EQ(sums.size(), bounds.size() + 1);
  for (std::size_t i = 0; i < bounds.size(); ++i) {
    EXPECT_EQ(sums[i], std::count_if(values.begin(), values.end(),
                                     [&](auto value) { return value <= bounds[i]; }));
  }
  EXPECT_EQ(sums.back(), values.size());
}

TEST(histogram, decimal_bounds_include_their_value) {
  const auto counts = counts_of({millisecond, millisecond + 1, 10 * second, 10 * second + 1});
  EXPECT_EQ(counts.cumulative(), (std::vector<std::uint64_t>{1, 2, 2, 2, 2, 2, 2, 2, 3, 4}));
}

}  // namespace
}  // namespace soundhash::db
