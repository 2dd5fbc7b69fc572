#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <random>

namespace soundhash::db {

/// Delays between attempts: exponential with full jitter, uniform in [0, min(`most`, `first` *
/// 2^n)] (M. Brooker, "Exponential Backoff And Jitter", AWS 2015). Thread safety: one thread at a
/// time.
class backoff {
 public:
  using duration = std::chrono::nanoseconds;
  static constexpr duration first = std::chrono::milliseconds{50};
  static constexpr duration most = std::chrono::seconds{1};

  explicit backoff(std::uint64_t seed, duration shortest = first, duration longest = most)
      : random_{seed}, shortest_{shortest}, longest_{longest}, ceiling_{shortest} {}

  /// The next delay; its upper bound doubles with each call.
  [[nodiscard]] duration next() {
    const duration drawn{
        std::uniform_int_distribution<duration::rep>{0, ceiling_.count()}(random_)};
    ceiling_ = std::min(ceiling_ * 2, longest_);
    return drawn;
  }

  void reset() noexcept { ceiling_ = shortest_; }

  [[nodiscard]] duration ceiling() const noexcept { return ceiling_; }

 private:
  std::mt19937_64 random_;
  duration shortest_;
  duration longest_;
  duration ceiling_;
};

}  // namespace soundhash::db
