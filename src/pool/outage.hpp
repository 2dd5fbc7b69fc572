#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <utility>

#include "core/backoff.hpp"
#include "pool/acquire_error.hpp"

namespace soundhash::db {

/// What failing connects mean: when to try again, and when to stop making callers wait. Pure logic;
/// every function takes the time.
/// Thread safety: one thread at a time.
template <class Clock>
class outage {
 public:
  using time_point = typename Clock::time_point;
  using cause = std::shared_ptr<const connect_failure>;

  outage(std::chrono::milliseconds fail_fast_after, std::uint64_t seed)
      : fail_fast_after_{fail_fast_after}, backoff_{seed} {}

  /// A connect that began at `began` failed. `live`: some connection still serves callers.
  void failed(time_point now, time_point began, bool live, cause why) {
    last_ = std::move(why);
    next_attempt_ = now + std::chrono::duration_cast<typename Clock::duration>(backoff_.next());
    if (!live && !since_) since_ = lost_at_ ? std::max(began, *lost_at_) : began;
    if (!last_->transient) declared_ = true;
    declare_if_due(now);
  }

  /// The last live connection is gone.
  void nothing_live(time_point now) noexcept {
    lost_at_ = now;
    if (failing() && !since_) since_ = now;
  }

  /// A connect succeeded: over, whatever it was.
  void succeeded() noexcept {
    backoff_.reset();
    last_.reset();
    since_.reset();
    lost_at_.reset();
    declared_ = false;
  }

  /// True when callers must now be told: nothing to serve for `fail_fast_after`. Reported once.
  bool declare_if_due(time_point now) noexcept {
    if (now < declaration_due()) return false;
    declared_ = true;
    return true;
  }

  [[nodiscard]] bool failing() const noexcept { return last_ != nullptr; }
  [[nodiscard]] bool declared() const noexcept { return declared_; }
  [[nodiscard]] bool may_connect(time_point now) const noexcept {
    return !failing() || now >= next_attempt_;
  }
  /// Of the latest attempt; nullptr when it succeeded.
  [[nodiscard]] const cause& last() const noexcept { return last_; }

  /// When the next connect may be tried.
  [[nodiscard]] time_point next_attempt() const noexcept { return next_attempt_; }
  /// When waiting callers must be told; `time_point::max()`: nothing is to be told.
  [[nodiscard]] time_point declaration_due() const noexcept {
    return declared_ || !since_ ? time_point::max() : *since_ + fail_fast_after_;
  }

 private:
  std::chrono::milliseconds fail_fast_after_;
  backoff backoff_;
  cause last_;
  time_point next_attempt_{};
  std::optional<time_point> since_;    // failing, and nothing to serve
  std::optional<time_point> lost_at_;  // the last live connection went
  bool declared_ = false;
};

}  // namespace soundhash::db
