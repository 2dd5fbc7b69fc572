#include "exec/retry_budget.hpp"

#include <chrono>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

namespace soundhash::db {
namespace {

using namespace std::chrono_literals;
using time_point = retry_budget::time_point;

constexpr time_point start{1h};
constexpr int saved = static_cast<int>(retry_budget::most_saved);

/// Retries that the budget still allows at that time.
int left(retry_budget& budget, time_point now) {
  int taken = 0;
  while (budget.take(now)) ++taken;
  return taken;
}

void call(retry_budget& budget, int times) {
  for (int i = 0; i < times; ++i) budget.called();
}

TEST(retry_budget, starts_with_what_can_be_saved) {
  retry_budget budget{start};
  EXPECT_EQ(left(budget, start), saved);
}

TEST(retry_budget, allows_a_tenth_of_the_calls) {
  retry_budget budget{start};
  left(budget, start);
  call(budget, 9);
  EXPECT_FALSE(budget.take(start));
  call(budget, 1);
  EXPECT_TRUE(budget.take(start));
  EXPECT_FALSE(budget.take(start));
  call(budget, 250);
  EXPECT_EQ(left(budget, start), 25);
}

TEST(retry_budget, allows_three_a_second_without_calls) {
  retry_budget budget{start};
  left(budget, start);
  EXPECT_FALSE(budget.take(start + 333ms));
  EXPECT_TRUE(budget.take(start + 334ms));
  EXPECT_EQ(left(budget, start + 2001ms), 5);
}

TEST(retry_budget, the_larger_of_both_counts_and_not_their_sum) {
  retry_budget budget{start};
  left(budget, start);
  call(budget, 500);  // 50 by calls, 30 by time
  EXPECT_EQ(left(budget, start + 10s), 50);
  call(budget, 100);  // 10 by calls, 30 by time
  EXPECT_EQ(left(budget, start + 20s), 30);
}

TEST(retry_budget, saves_no_more_than_its_most) {
  retry_budget budget{start};
  call(budget, 1'000'000);
  EXPECT_EQ(left(budget, start + 24h), saved);
}

TEST(retry_budget, a_time_that_goes_back_brings_nothing) {
  retry_budget budget{start};
  left(budget, start + 10s);
  EXPECT_FALSE(budget.take(start));
  EXPECT_FALSE(budget.take(start + 10s));
}

TEST(retry_budget, counts_the_calls_of_all_threads) {
  retry_budget budget{start};
  left(budget, start);
  {
    std::vector<std::jthread> callers;
    for (int t = 0; t < 4; ++t) callers.emplace_back([&] { call(budget, 200); });
  }
  EXPECT_EQ(left(budget, start), 80);
}

}  // namespace
}  // namespace soundhash::db
