#include <chrono>

#include <gtest/gtest.h>

#include <soundhash/db/core/deadline.hpp>

namespace soundhash::db {
namespace {

using namespace std::chrono_literals;
using clock = deadline::clock;

TEST(deadline, by_default_never_comes) {
  const deadline none;
  EXPECT_TRUE(none.is_never());
  EXPECT_FALSE(none.passed());
  EXPECT_EQ(none.remaining(), clock::duration::max());
  EXPECT_EQ(none, deadline::never());
}

TEST(deadline, lies_ahead_by_its_span) {
  const auto before = clock::now();
  const auto until = deadline::in(10s);
  const auto after = clock::now();
  EXPECT_GE(until.at(), before + 10s);
  EXPECT_LE(until.at(), after + 10s);
  EXPECT_FALSE(until.passed());
  EXPECT_GT(until.remaining(), 0s);
  EXPECT_LE(until.remaining(), 10s);
}

TEST(deadline, has_nothing_left_once_passed) {
  for (const auto span : {clock::duration{0}, clock::duration{-1}, clock::duration{-1h}}) {
    const auto until = deadline::in(span);
    EXPECT_TRUE(until.passed());
    EXPECT_EQ(until.remaining(), clock::duration::zero());
  }
}

TEST(deadline, a_span_too_long_for_the_clock_means_no_limit) {
  EXPECT_TRUE(deadline::in(clock::duration::max()).is_never());
  EXPECT_TRUE(deadline::in(clock::duration::max() - 1ns).is_never());
  EXPECT_FALSE(deadline::in(24h * 365 * 100).is_never());
}

TEST(deadline, the_earliest_times_do_not_overflow) {
  for (const auto until :
       {deadline::in(clock::duration::min()), deadline{clock::time_point::min()}}) {
    EXPECT_TRUE(until.passed());
    EXPECT_EQ(until.remaining(), clock::duration::zero());
  }
}

TEST(deadline, orders_by_time_with_never_last) {
  EXPECT_LT(deadline::in(1s), deadline::in(1h));
  EXPECT_LT(deadline::in(1h), deadline::never());
}

}  // namespace
}  // namespace soundhash::db
