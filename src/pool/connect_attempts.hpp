#pragma once

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>

namespace soundhash::db {

/// The connects under way: few, so that nothing is stormed, and one that takes longer than
/// `patience` does not hold back the next, so that a packet lost in an outage does not prolong it.
/// Thread safety: one thread at a time.
template <class Clock>
class connect_attempts {
 public:
  using time_point = typename Clock::time_point;

  static constexpr std::size_t most = 4;
  static constexpr std::chrono::seconds patience{1};

  [[nodiscard]] bool room() const noexcept { return size_ < most; }

  /// There is room.
  void began(time_point now) noexcept { began_[size_++] = now; }

  /// The attempt that began at `when`.
  void ended(time_point when) noexcept {
    auto* const found = std::find(began_.data(), end(), when);
    std::move(found + 1, end(), found);
    --size_;
  }

  /// Those that may still be waited for.
  [[nodiscard]] std::size_t fresh(time_point now) const noexcept {
    return static_cast<std::size_t>(
        std::count_if(began_.data(), end(), [&](auto at) { return now < at + patience; }));
  }

  /// When the next one has taken too long; `time_point::max()`: never.
  [[nodiscard]] time_point next_stall(time_point now) const noexcept {
    auto next = time_point::max();
    std::for_each(began_.data(), end(), [&](auto at) {
      if (now < at + patience) next = std::min(next, at + patience);
    });
    return next;
  }

 private:
  time_point* end() noexcept { return began_.data() + size_; }
  const time_point* end() const noexcept { return began_.data() + size_; }

  std::array<time_point, most> began_{};
  std::size_t size_ = 0;
};

}  // namespace soundhash::db
