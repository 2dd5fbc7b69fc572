#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <mutex>

#include "observe/token_bucket.hpp"

namespace soundhash::db {

/// Bounds how much load retries add when much fails at once: a tenth of the calls, but three a
/// second at least. What was not used is saved up to `most_saved` retries, so that one restart of
/// the server, which fails many calls in one moment, can be got over.
/// Source: the retry budgets of Finagle ("ratio" and "minRetriesPerSec") on a token bucket.
/// Thread safety: safe for concurrent use; called() is one relaxed increment.
class retry_budget {
 public:
  using time_point = token_bucket::time_point;

  static constexpr double share_of_calls = 0.1;
  static constexpr double least_per_second = 3;
  static constexpr double most_saved = 100;

  /// Starts with all that can be saved.
  explicit retry_budget(time_point now) noexcept
      : tokens_{least_per_second, most_saved, now}, asked_{now} {}

  /// Counts a call, to be done once for each, however often it then runs.
  void called() noexcept { calls_.fetch_add(1, std::memory_order_relaxed); }

  /// May something run again now? Pays for it if so.
  [[nodiscard]] bool take(time_point now) noexcept {
    const std::lock_guard lock{mutex_};
    const auto calls = calls_.load(std::memory_order_relaxed);
    const auto by_calls = share_of_calls * static_cast<double>(calls - seen_);
    const std::chrono::duration<double> passed = std::max(now, asked_) - asked_;
    // The bucket adds what time alone allows.
    tokens_.add(std::max(0.0, by_calls - least_per_second * passed.count()));
    seen_ = calls;
    asked_ = std::max(now, asked_);
    return tokens_.take(now);
  }

 private:
  std::atomic<std::uint64_t> calls_{0};
  std::mutex mutex_;  // guards all below
  token_bucket tokens_;
  time_point asked_;
  std::uint64_t seen_ = 0;
};

}  // namespace soundhash::db
