#pragma once

#include <chrono>
#include <stop_token>

namespace soundhash::db {

/// A point of the steady clock by which a call must end. Made once, passed down, never extended.
/// Thread safety: a value.
class deadline {
 public:
  using clock = std::chrono::steady_clock;

  /// No limit.
  constexpr deadline() noexcept = default;
  constexpr explicit deadline(clock::time_point at) noexcept : at_{at} {}

  /// `span` from now; a span too long for the clock means no limit.
  [[nodiscard]] static deadline in(clock::duration span) noexcept {
    const auto now = clock::now();
    return span >= clock::time_point::max() - now ? deadline{} : deadline{now + span};
  }
  [[nodiscard]] static constexpr deadline never() noexcept { return {}; }

  [[nodiscard]] constexpr bool is_never() const noexcept { return at_ == clock::time_point::max(); }
  [[nodiscard]] constexpr clock::time_point at() const noexcept { return at_; }
  [[nodiscard]] bool passed() const noexcept { return !is_never() && clock::now() >= at_; }
  /// Time left, zero when passed, `duration::max()` when there is no limit.
  [[nodiscard]] clock::duration remaining() const noexcept {
    if (is_never()) return clock::duration::max();
    const auto now = clock::now();
    return at_ <= now ? clock::duration::zero() : at_ - now;
  }

  friend constexpr auto operator<=>(deadline, deadline) noexcept = default;

 private:
  clock::time_point at_ = clock::time_point::max();
};

/// May a read be answered from the cache?
enum class cache_use : unsigned char {
  standard,  ///< where the read can be
  refresh,   ///< no, but what the database says is stored there
  bypass,    ///< the cache is neither asked nor filled
};

/// The one trailing argument of every call.
struct call_options {
  /// Bounds the wait for a connection, the statement and the network together. No limit given:
  /// acquire timeout + statement timeout + 1 s of the options apply. A deadline shorter than the
  /// statement timeout makes the statement part of an implicit transaction: VACUUM, CREATE INDEX
  /// CONCURRENTLY and the like, which refuse that, need a longer one.
  deadline until{};
  /// Ends the wait early with `cancelled`; a statement already sent costs its connection.
  std::stop_token stop{};
  cache_use cache = cache_use::standard;
};

}  // namespace soundhash::db
