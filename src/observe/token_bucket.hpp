#pragma once

#include <algorithm>
#include <chrono>

namespace soundhash::db {

/// Limits a rate: `burst` at once, then `per_second` on average.
/// Source: the token bucket of RFC 2697.
/// Thread safety: one thread at a time.
class token_bucket {
 public:
  using time_point = std::chrono::steady_clock::time_point;

  token_bucket(double per_second, double burst, time_point now) noexcept
      : per_second_{per_second}, burst_{burst}, tokens_{burst}, filled_{now} {}

  /// Takes one token if there is one at that time.
  [[nodiscard]] bool take(time_point now) noexcept {
    const std::chrono::duration<double> passed = std::max(now, filled_) - filled_;
    tokens_ = std::min(burst_, tokens_ + passed.count() * per_second_);
    filled_ = std::max(now, filled_);
    if (tokens_ < 1) return false;
    tokens_ -= 1;
    return true;
  }

  /// Adds tokens besides those that time brings, up to the burst.
  void add(double tokens) noexcept { tokens_ = std::min(burst_, tokens_ + tokens); }

 private:
  double per_second_;
  double burst_;
  double tokens_;
  time_point filled_;
};

}  // namespace soundhash::db
