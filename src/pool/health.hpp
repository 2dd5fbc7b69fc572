#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <optional>

#include <soundhash/db/pool/pool_options.hpp>

#include "pool/slot_table.hpp"

namespace soundhash::db {

/// What the pool believes of connections that it has not used for a while. A single dead one is
/// replaced; the second within a second tells of a restart, and a new generation begins: all older
/// connections are dropped without asking each.
/// Thread safety: generation(), is_current() and check_due() are safe for concurrent use; all else
/// one thread at a time.
template <class Clock>
class health {
 public:
  using time_point = typename Clock::time_point;

  explicit health(const pool_options& options) noexcept
      : recent_use_{options.recent_use}, ping_after_{options.ping_after} {}

  [[nodiscard]] std::uint64_t generation() const noexcept {
    return generation_.load(std::memory_order_relaxed);
  }
  [[nodiscard]] bool is_current(std::uint64_t generation) const noexcept {
    return generation == this->generation();
  }

  /// `proven`: when the connection last worked.
  [[nodiscard]] health_check check_due(time_point proven, time_point now) const noexcept {
    const auto unproven = now - proven;
    if (unproven > ping_after_) return health_check::ping;
    if (unproven > recent_use_) return health_check::look;
    const bool suspect = proven <= last_broken_.load(std::memory_order_relaxed);
    return suspect ? health_check::look : health_check::none;
  }

  /// A connection came back unusable: those used before are looked at.
  void note_broken(time_point now) noexcept { last_broken_.store(now, std::memory_order_relaxed); }

  /// A connection of this generation was found dead. True when a new generation begins.
  bool note_death(std::uint64_t generation, time_point now) noexcept {
    if (!is_current(generation)) return false;
    const bool second = last_death_ && now - *last_death_ <= second_death;
    last_death_ = now;
    if (second) generation_.store(generation + 1, std::memory_order_relaxed);
    return second;
  }

 private:
  static constexpr std::chrono::seconds second_death{1};

  std::chrono::nanoseconds recent_use_;
  std::chrono::nanoseconds ping_after_;
  std::atomic<std::uint64_t> generation_{0};
  std::atomic<time_point> last_broken_{time_point::min()};
  std::optional<time_point> last_death_;
};

}  // namespace soundhash::db
