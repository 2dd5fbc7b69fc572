#include "cache/early_refresh.hpp"

#include <chrono>
#include <random>

#include <gtest/gtest.h>

#include "unit/fake_clock.hpp"

namespace soundhash::db {
namespace {

using namespace std::chrono_literals;
using test::fake_clock;

/// Of many reads at this time before the end, the share that refreshes.
double share(std::chrono::nanoseconds before_end, std::chrono::microseconds load) {
  std::mt19937_64 random{11};
  const auto now = fake_clock::now();
  int early = 0;
  constexpr int reads = 100'000;
  for (int i = 0; i < reads; ++i) {
    const auto uniform = 1.0 - std::generate_canonical<double, 53>(random);
    early += refresh_early(now, now + before_end, load, uniform) ? 1 : 0;
  }
  return static_cast<double>(early) / reads;
}

TEST(early_refresh, is_as_likely_as_the_formula_says) {
  // P(−ln u ≥ x) = e^−x
  EXPECT_NEAR(share(100ms, 100ms), 0.3679, 0.01);
  EXPECT_NEAR(share(200ms, 100ms), 0.1353, 0.01);
  EXPECT_NEAR(share(10ms, 100ms), 0.9048, 0.01);
  EXPECT_LT(share(2s, 100ms), 0.001);
}

TEST(early_refresh, is_certain_at_the_end) {
  EXPECT_EQ(share(0ms, 100ms), 1.0);
  EXPECT_EQ(share(-1ms, 100ms), 1.0);
}

TEST(early_refresh, is_not_for_fast_loads) {
  EXPECT_EQ(share(0ms, 4999us), 0.0);
  EXPECT_GT(share(1ms, 5ms), 0.5);
}

TEST(early_refresh, takes_the_smallest_random_number) {
  const auto now = fake_clock::now();
  EXPECT_TRUE(refresh_early(now, now + 1s, 100ms, 1e-300));
  EXPECT_FALSE(refresh_early(now, now + 1ms, 100ms, 1.0));
}

}  // namespace
}  // namespace soundhash::db
