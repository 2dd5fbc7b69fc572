#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <mutex>
#include <string>
#include <utility>

#include "core/backoff.hpp"

namespace soundhash::db::redis {

/// Lets calls through while it is closed. The first failure opens it; whoever probes closes it.
/// Probes back off with jitter from 100 ms to 5 s, and start at 100 ms again once it was closed for
/// 5 s: a server that fails right after each probe is not asked ten times a second.
/// Begins open, with a probe due. Every function takes the time.
/// https://martinfowler.com/bliki/CircuitBreaker.html Thread safety: safe for concurrent use.
template <class Clock>
class breaker {
 public:
  using time_point = typename Clock::time_point;
  static constexpr std::chrono::milliseconds shortest{100};
  static constexpr std::chrono::seconds longest{5};

  explicit breaker(std::uint64_t seed) : backoff_{seed, shortest, longest} {}

  /// One load.
  [[nodiscard]] bool closed() const noexcept {
    return (state_.load(std::memory_order_acquire) & 1U) != 0;
  }

  /// Of the latest closing; a call takes it ahead of its work, so that its failure cannot open a
  /// breaker that was closed again since. Even: open.
  [[nodiscard]] std::uint64_t generation() const noexcept {
    return state_.load(std::memory_order_acquire);
  }

  /// A call of this generation failed. True when that opened the breaker.
  bool open(std::uint64_t generation, std::string why, time_point now) {
    const std::lock_guard lock{mutex_};
    if (!closed() || state_.load(std::memory_order_relaxed) != generation) return false;
    if (now - closed_at_ >= longest) backoff_.reset();
    why_ = std::move(why);
    ++opens_;
    schedule(now);
    state_.fetch_add(1, std::memory_order_release);
    return true;
  }

  void probe_failed(std::string why, time_point now) {
    const std::lock_guard lock{mutex_};
    why_ = std::move(why);
    schedule(now);
  }

  /// A probe succeeded.
  void close(time_point now) {
    const std::lock_guard lock{mutex_};
    if (closed()) return;
    why_.clear();
    closed_at_ = now;
    state_.fetch_add(1, std::memory_order_release);
  }

  /// Makes the next probe due, but no sooner after the last failure than the shortest back-off.
  void hurry() {
    const std::lock_guard lock{mutex_};
    next_probe_ = std::min(next_probe_, scheduled_at_ + shortest);
  }

  [[nodiscard]] time_point next_probe() const {
    const std::lock_guard lock{mutex_};
    return next_probe_;
  }
  /// Why it is open; empty while it is not, and before the first probe.
  [[nodiscard]] std::string why() const {
    const std::lock_guard lock{mutex_};
    return why_;
  }
  [[nodiscard]] std::uint64_t opens() const {
    const std::lock_guard lock{mutex_};
    return opens_;
  }

 private:
  void schedule(time_point now) {
    scheduled_at_ = now;
    next_probe_ = now + std::chrono::duration_cast<typename Clock::duration>(backoff_.next());
  }

  std::atomic<std::uint64_t> state_ = 0;  // counts changes; odd: closed
  mutable std::mutex mutex_;              // guards the rest, and the writing of state_
  backoff backoff_;
  std::string why_;
  std::uint64_t opens_ = 0;
  time_point scheduled_at_{};
  time_point next_probe_{};
  time_point closed_at_{};
};

}  // namespace soundhash::db::redis
