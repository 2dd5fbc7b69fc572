#pragma once

#include <chrono>

#include <time.h>

namespace soundhash::db {

/// std::chrono::steady_clock and its cheap reading, which is what stamps need.
struct pool_clock {
  using duration = std::chrono::steady_clock::duration;
  using rep = duration::rep;
  using period = duration::period;
  using time_point = std::chrono::steady_clock::time_point;
  static constexpr bool is_steady = true;

  static time_point now() noexcept { return std::chrono::steady_clock::now(); }

  /// The time of the kernel's last tick, at most some milliseconds old: a sixth of the price of
  /// now(). steady_clock reads CLOCK_MONOTONIC, so both are on one scale.
  static time_point coarse_now() noexcept {
    timespec tick{};
    ::clock_gettime(CLOCK_MONOTONIC_COARSE, &tick);
    return time_point{std::chrono::seconds{tick.tv_sec} + std::chrono::nanoseconds{tick.tv_nsec}};
  }
};

}  // namespace soundhash::db
