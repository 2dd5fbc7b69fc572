#pragma once

#include <array>
#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>

#include "pool/intrusive_list.hpp"

namespace soundhash::db {

/// Which slots are idle: one word, a bit for each of the first 63 slots, and a gate. While the gate
/// is shut nobody takes or puts without the owner's mutex. Gate and bits are one word, so that a
/// connection cannot become idle unseen by somebody who begins to wait. Slots beyond the 63 are
/// kept in a list, under the mutex.
///
/// The lowest slot is taken first: load gathers on few connections, and the others grow old enough
/// to be closed.
/// Thread safety: try_take, try_put and size are safe for concurrent use; all else needs the
/// owner's mutex as well.
template <class Slot, class Threads>
class idle_set {
 public:
  static constexpr std::size_t most_quick = 63;

  /// Makes the slot known, before it is put the first time.
  void add(Slot& place) noexcept {
    if (is_quick(place)) quick_[place.index] = &place;
  }

  /// Without a lock; nullptr when no quick slot is idle or the gate is shut.
  Slot* try_take() noexcept {
    Threads::point();
    auto seen = word_.load(std::memory_order_relaxed);
    while (seen != 0 && (seen & shut) == 0) {
      const auto lowest = seen & (~seen + 1);
      if (replace(seen, seen & ~lowest, std::memory_order_acquire)) return quick(lowest);
    }
    return nullptr;
  }

  /// Without a lock; false when the mutex is needed.
  bool try_put(Slot& place) noexcept {
    if (!is_quick(place)) return false;
    Threads::point();
    auto seen = word_.load(std::memory_order_relaxed);
    while ((seen & shut) == 0) {
      if (replace(seen, seen | bit(place), std::memory_order_release)) return true;
    }
    return false;
  }

  void set_gate(bool open) noexcept {
    if (open == open_) return;
    open_ = open;
    Threads::point();
    if (open) {
      word_.fetch_and(~shut, std::memory_order_acq_rel);
    } else {
      word_.fetch_or(shut, std::memory_order_acq_rel);
    }
  }

  /// Whatever the gate; nullptr when nothing is idle.
  Slot* take() noexcept {
    Threads::point();
    auto seen = word_.load(std::memory_order_relaxed);
    while ((seen & ~shut) != 0) {
      const auto lowest = (seen & ~shut) & (~(seen & ~shut) + 1);
      if (replace(seen, seen & ~lowest, std::memory_order_acquire)) return quick(lowest);
    }
    Slot* const slow = slow_.back();
    if (slow) erase_slow(*slow);
    return slow;
  }

  void put(Slot& place) noexcept {
    if (is_quick(place)) {
      Threads::point();
      word_.fetch_or(bit(place), std::memory_order_release);
      return;
    }
    slow_.push_back(place);
    place.in_idle_list = true;
    slow_size_.store(slow_.size(), std::memory_order_relaxed);
  }

  /// Takes this one; false when somebody else has it.
  bool remove(Slot& place) noexcept {
    if (is_quick(place)) {
      Threads::point();
      return (word_.fetch_and(~bit(place), std::memory_order_acquire) & bit(place)) != 0;
    }
    if (!place.in_idle_list) return false;
    erase_slow(place);
    return true;
  }

  [[nodiscard]] bool contains(const Slot& place) const noexcept {
    if (!is_quick(place)) return place.in_idle_list;
    Threads::point();
    return (word_.load(std::memory_order_relaxed) & bit(place)) != 0;
  }

  [[nodiscard]] std::size_t size() const noexcept {
    const auto bits = word_.load(std::memory_order_relaxed) & ~shut;
    return static_cast<std::size_t>(std::popcount(bits)) +
           slow_size_.load(std::memory_order_relaxed);
  }

 private:
  static constexpr std::uint64_t shut = std::uint64_t{1} << most_quick;

  static bool is_quick(const Slot& place) noexcept { return place.index < most_quick; }
  static std::uint64_t bit(const Slot& place) noexcept { return std::uint64_t{1} << place.index; }
  Slot* quick(std::uint64_t only) const noexcept {
    return quick_[static_cast<std::size_t>(std::countr_zero(only))];
  }

  bool replace(std::uint64_t& seen, std::uint64_t wanted, std::memory_order order) noexcept {
    Threads::point();
    const bool done = word_.compare_exchange_weak(seen, wanted, order, std::memory_order_relaxed);
    Threads::point();
    return done;
  }

  void erase_slow(Slot& place) noexcept {
    slow_.erase(place);
    place.in_idle_list = false;
    slow_size_.store(slow_.size(), std::memory_order_relaxed);
  }

  alignas(64) std::atomic<std::uint64_t> word_{0};
  alignas(64) std::array<Slot*, most_quick> quick_{};
  intrusive_list<Slot> slow_;  // by last use, the latest at the back
  std::atomic<std::size_t> slow_size_{0};
  bool open_ = true;
};

}  // namespace soundhash::db
