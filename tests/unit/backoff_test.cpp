#include "core/backoff.hpp"

#include <chrono>
#include <memory>

#include <gtest/gtest.h>

#include "pool/outage.hpp"

namespace soundhash::db {
namespace {

using namespace std::chrono_literals;
using clock = std::chrono::steady_clock;
using outage_type = outage<clock>;

constexpr clock::time_point start{1h};

outage_type::cause transient(errc code = errc::refused) {
  return std::make_shared<const connect_failure>(connect_failure{code, true, "refused", "", {}});
}
outage_type::cause fatal() {
  return std::make_shared<const connect_failure>(
      connect_failure{errc::authentication, false, "wrong password", "28P01", {}});
}

TEST(backoff, ceiling_doubles_from_50_ms_to_1_s_and_bounds_each_delay) {
  backoff delays{7};
  for (const auto ceiling : {50ms, 100ms, 200ms, 400ms, 800ms, 1000ms, 1000ms}) {
    EXPECT_EQ(delays.ceiling(), ceiling);
    const auto drawn = delays.next();
    EXPECT_GE(drawn, 0ns);
    EXPECT_LE(drawn, ceiling);
  }
}

TEST(backoff, reset_starts_over) {
  backoff delays{7};
  for (int i = 0; i < 5; ++i) (void)delays.next();
  delays.reset();
  EXPECT_EQ(delays.ceiling(), backoff::first);
}

TEST(backoff, jitter_is_full) {
  backoff delays{7};
  int low = 0;
  int high = 0;
  for (int i = 0; i < 200; ++i) {
    delays.reset();
    (delays.next() < backoff::first / 2 ? low : high)++;
  }
  EXPECT_GT(low, 50);
  EXPECT_GT(high, 50);
}

TEST(outage, is_declared_once_nothing_was_served_for_the_given_time) {
  outage_type state{1000ms, 1};
  state.failed(start + 1ms, start, false, transient());
  EXPECT_FALSE(state.declare_if_due(start + 999ms));
  EXPECT_TRUE(state.declare_if_due(start + 1000ms));
  EXPECT_FALSE(state.declare_if_due(start + 1001ms));  // reported once
  EXPECT_TRUE(state.declared());
}

TEST(outage, is_not_declared_while_something_is_live) {
  outage_type state{1000ms, 1};
  state.failed(start, start, true, transient(errc::too_many_connections));
  EXPECT_FALSE(state.declare_if_due(start + 1h));
  state.nothing_live(start + 1h);
  EXPECT_FALSE(state.declare_if_due(start + 1h + 999ms));
  EXPECT_TRUE(state.declare_if_due(start + 1h + 1000ms));
}

TEST(outage, counts_from_the_loss_of_the_last_connection_not_from_an_older_attempt) {
  outage_type state{1000ms, 1};
  state.nothing_live(start + 500ms);
  state.failed(start + 600ms, start, false, transient());
  EXPECT_FALSE(state.declare_if_due(start + 1499ms));
  EXPECT_TRUE(state.declare_if_due(start + 1500ms));
}

TEST(outage, a_slow_failure_declares_at_once) {
  outage_type state{1000ms, 1};
  state.failed(start + 5s, start, false, transient(errc::connect_timeout));
  EXPECT_TRUE(state.declared());
}

TEST(outage, a_fatal_cause_declares_at_once) {
  outage_type state{1000ms, 1};
  state.failed(start, start, false, fatal());
  EXPECT_TRUE(state.declared());
}

TEST(outage, the_retry_never_hides_the_moment_of_declaration) {
  for (std::uint64_t seed = 0; seed < 50; ++seed) {
    outage_type state{100ms, seed};
    for (int i = 0; i < 8; ++i) state.failed(start + 1ms, start, false, transient());
    EXPECT_EQ(state.declaration_due(), start + 100ms);
  }
}

TEST(outage, success_ends_it) {
  outage_type state{0ms, 1};
  state.failed(start, start, false, transient());
  ASSERT_TRUE(state.declared());
  state.succeeded();
  EXPECT_FALSE(state.failing());
  EXPECT_FALSE(state.declared());
  EXPECT_TRUE(state.may_connect(start));
  EXPECT_EQ(state.declaration_due(), clock::time_point::max());
}

}  // namespace
}  // namespace soundhash::db
