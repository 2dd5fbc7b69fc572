#pragma once

#include <atomic>
#include <chrono>

namespace soundhash::db::test {

/// Stands still until a test moves it.
struct fake_clock {
  using duration = std::chrono::nanoseconds;
  using rep = duration::rep;
  using period = duration::period;
  using time_point = std::chrono::time_point<fake_clock>;
  static constexpr bool is_steady = true;

  static time_point now() noexcept { return time_point{duration{ticks.load()}}; }
  /// Behind by up to a tick, as the kernel's is.
  static time_point coarse_now() noexcept {
    constexpr duration tick = std::chrono::milliseconds{4};
    return now() - now().time_since_epoch() % tick;
  }
  static void advance(duration by) noexcept { ticks += by.count(); }

  static inline std::atomic<rep> ticks{duration{std::chrono::hours{1}}.count()};
};

}  // namespace soundhash::db::test
