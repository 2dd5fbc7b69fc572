#include <algorithm>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "bench/query_benchmark.hpp"

namespace {

/// Sorted: i² mod 1009, in eighths of a millisecond, for i of 1 to n.
std::vector<double> samples(int n) {
  std::vector<double> values;
  for (int i = 1; i <= n; ++i) values.push_back(i * i % 1009 / 8.0);
  std::sort(values.begin(), values.end());
  return values;
}

// The expected values are those of Python 3.11: statistics.quantiles(samples, n=20)[18].
TEST(bench_p95_test, interpolates_from_20_samples_as_python_does) {
  EXPECT_DOUBLE_EQ(p95(samples(20)), 49.75625);
  EXPECT_DOUBLE_EQ(p95(samples(21)), 54.6125);
  EXPECT_DOUBLE_EQ(p95(samples(39)), 112.5);
  EXPECT_DOUBLE_EQ(p95(samples(100)), 119.05625);
}

TEST(bench_p95_test, is_the_90th_percentile_of_10_to_19_samples_and_the_maximum_of_fewer) {
  EXPECT_EQ(p95({1, 2, 3}), 3);
  EXPECT_EQ(p95(samples(9)), samples(9).back());
  EXPECT_EQ(p95(samples(10)), samples(10)[9]);
  EXPECT_EQ(p95(samples(19)), samples(19)[17]);
}

TEST(bench_p95_test, verdict_follows_the_targets_of_the_application) {
  const auto at = [](double p95_ms, const std::string& error = {}) {
    query_timing timing;
    timing.p95_ms = p95_ms;
    timing.error = error;
    return verdict(timing);
  };
  EXPECT_EQ(at(99.9), "PASS");
  EXPECT_EQ(at(100), "WARN");
  EXPECT_EQ(at(199.9), "WARN");
  EXPECT_EQ(at(200), "FAIL");
  EXPECT_EQ(at(1, "refused"), "ERROR");
}

}  // namespace
