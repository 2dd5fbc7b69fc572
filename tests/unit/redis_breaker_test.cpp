#include <atomic>
#include <chrono>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "cache/breaker.hpp"
#include "fake_clock.hpp"

namespace soundhash::db::redis {
namespace {

using namespace std::chrono_literals;
using test::fake_clock;

class redis_breaker_test : public ::testing::Test {
 protected:
  static fake_clock::time_point now() { return fake_clock::now(); }
  /// The longest of many delays after `failures` failed probes.
  static std::chrono::nanoseconds longest_delay(int failures) {
    std::chrono::nanoseconds longest{0};
    for (std::uint64_t seed = 0; seed < 200; ++seed) {
      breaker<fake_clock> gate{seed};
      for (int i = 0; i < failures; ++i) gate.probe_failed("down", now());
      longest = std::max(longest, gate.next_probe() - now());
    }
    return longest;
  }

  breaker<fake_clock> gate_{7};
};

TEST_F(redis_breaker_test, begins_open_with_a_probe_due) {
  EXPECT_FALSE(gate_.closed());
  EXPECT_LE(gate_.next_probe(), now());
  EXPECT_EQ(gate_.opens(), 0U);
  EXPECT_EQ(gate_.why(), "");
}

TEST_F(redis_breaker_test, the_first_failure_opens_it_and_says_why) {
  gate_.close(now());
  EXPECT_TRUE(gate_.closed());
  EXPECT_TRUE(gate_.open(gate_.generation(), "silent", now()));
  EXPECT_FALSE(gate_.closed());
  EXPECT_EQ(gate_.why(), "silent");
  EXPECT_EQ(gate_.opens(), 1U);
}

TEST_F(redis_breaker_test, later_failures_of_the_same_outage_change_nothing) {
  gate_.close(now());
  const auto generation = gate_.generation();
  EXPECT_TRUE(gate_.open(generation, "first", now()));
  const auto due = gate_.next_probe();
  EXPECT_FALSE(gate_.open(generation, "second", now() + 1s));
  EXPECT_EQ(gate_.why(), "first");
  EXPECT_EQ(gate_.next_probe(), due);
  EXPECT_EQ(gate_.opens(), 1U);
}

TEST_F(redis_breaker_test, a_call_from_before_the_outage_cannot_open_it_again) {
  gate_.close(now());
  const auto old = gate_.generation();
  gate_.open(old, "silent", now());
  gate_.close(now());
  EXPECT_FALSE(gate_.open(old, "late", now()));
  EXPECT_TRUE(gate_.closed());
  EXPECT_EQ(gate_.why(), "");
}

TEST_F(redis_breaker_test, probes_back_off_with_jitter_from_100_ms_to_5_s) {
  EXPECT_LE(longest_delay(1), 100ms);
  EXPECT_GT(longest_delay(1), 90ms);
  EXPECT_LE(longest_delay(2), 200ms);
  EXPECT_GT(longest_delay(2), 180ms);
  EXPECT_LE(longest_delay(20), 5s);
  EXPECT_GT(longest_delay(20), 4500ms);
}

TEST_F(redis_breaker_test, a_server_that_fails_after_each_probe_is_asked_ever_less) {
  std::chrono::nanoseconds waited{0};
  for (int i = 0; i < 40; ++i) {
    gate_.close(now());
    gate_.open(gate_.generation(), "READONLY", now());
    waited += gate_.next_probe() - now();
  }
  EXPECT_GT(waited, 20s) << "else the back-off has begun anew each time";
}

TEST_F(redis_breaker_test, the_back_off_begins_anew_after_five_good_seconds) {
  for (int i = 0; i < 20; ++i) gate_.probe_failed("down", now());
  gate_.close(now());
  fake_clock::advance(5s);
  gate_.open(gate_.generation(), "again", now());
  EXPECT_LE(gate_.next_probe() - now(), 100ms);
}

TEST_F(redis_breaker_test, hurry_makes_a_probe_due_100_ms_after_the_last) {
  for (int i = 0; i < 20; ++i) gate_.probe_failed("down", now());
  gate_.hurry();
  EXPECT_LE(gate_.next_probe() - now(), 100ms);
}

TEST_F(redis_breaker_test, of_many_threads_that_fail_at_once_one_opens_it) {
  gate_.close(now());
  const auto generation = gate_.generation();
  std::atomic<int> opened = 0;
  std::vector<std::thread> all;
  for (int i = 0; i < 8; ++i) {
    all.emplace_back([&] { opened += gate_.open(generation, "silent", now()) ? 1 : 0; });
  }
  for (auto& each : all) each.join();
  EXPECT_EQ(opened, 1);
  EXPECT_EQ(gate_.opens(), 1U);
}

}  // namespace
}  // namespace soundhash::db::redis
