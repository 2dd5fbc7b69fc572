#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>

#include "pool/intrusive_list.hpp"

namespace soundhash::db {

/// Which slots are idle: a word in each of the first 64 slots, and a gate. While the gate is shut
/// nobody takes or puts without the owner's mutex. Slots beyond the 64 are kept in a list, under
/// the mutex.
///
/// A bit of each word tells that the gate is shut, for two reasons: a connection cannot become idle
/// unseen by somebody who begins to wait, and whoever puts one touches nothing of the pool
/// afterwards, which may end at once. Shutting costs a step per slot, and is rare; taking and
/// putting share nothing with threads that use other slots.
///
/// A thread that comes back at once takes the slot that it had before, which is in its cache; all
/// others take the lowest: load gathers on few connections, and the rest grow old enough to be
/// closed.
/// Thread safety: try_take, try_put and size are safe for concurrent use; all else needs the
/// owner's mutex as well.
template <class Slot, class Threads>
class idle_set {
 public:
  static constexpr std::size_t most_quick = 64;
  using time_point = typename Slot::time_point;

  /// Makes the slot known, before it is put the first time. Slots come in the order of their index.
  void add(Slot& place) noexcept {
    const auto known = known_.load(std::memory_order_relaxed);
    if (place.index != known || known == most_quick) return;
    place.idle.store(open_ ? 0 : shut, std::memory_order_relaxed);
    quick_[known] = &place;
    known_.store(known + 1, std::memory_order_release);
  }

  /// Without a lock; nullptr when no quick slot is idle or the gate is shut.
  Slot* try_take(time_point now) noexcept {
    const auto known = known_.load(std::memory_order_acquire);
    const auto mine = mine_;
    if (mine < known && is_warm(*quick_[mine], now) && replace(*quick_[mine], idle, lent)) {
      return quick_[mine];
    }
    for (std::size_t i = 0; i < known; ++i) {
      if (replace(*quick_[i], idle, lent)) return quick_[i];
    }
    return nullptr;
  }

  /// Without a lock; false when the mutex is needed.
  bool try_put(Slot& place) noexcept {
    if (!is_quick(place)) return false;
    mine_ = place.index;
    return replace(place, lent, idle);
  }

  void set_gate(bool open) noexcept {
    if (open == open_) return;
    open_ = open;
    for (std::size_t i = 0; i < known_.load(std::memory_order_relaxed); ++i) {
      Threads::point();
      auto& word = quick_[i]->idle;
      open ? word.fetch_and(idle, std::memory_order_acq_rel)
           : word.fetch_or(shut, std::memory_order_acq_rel);
    }
  }

  /// Whatever the gate; nullptr when nothing is idle.
  Slot* take() noexcept {
    for (std::size_t i = 0; i < known_.load(std::memory_order_relaxed); ++i) {
      if (contains(*quick_[i]) && remove(*quick_[i])) return quick_[i];
    }
    Slot* const slow = slow_.back();
    if (slow) erase_slow(*slow);
    return slow;
  }

  void put(Slot& place) noexcept {
    Threads::point();
    place.idle.fetch_or(idle, std::memory_order_release);
    if (is_quick(place)) return;
    slow_.push_back(place);
    slow_size_.store(slow_.size(), std::memory_order_relaxed);
  }

  /// Takes this one; false when somebody else has it.
  bool remove(Slot& place) noexcept {
    if (!is_quick(place)) {
      if (!contains(place)) return false;
      erase_slow(place);
      return true;
    }
    Threads::point();
    return (place.idle.fetch_and(shut, std::memory_order_acquire) & idle) != 0;
  }

  [[nodiscard]] bool contains(const Slot& place) const noexcept {
    Threads::point();
    return (place.idle.load(std::memory_order_relaxed) & idle) != 0;
  }

  [[nodiscard]] std::size_t size() const noexcept {
    const auto known = known_.load(std::memory_order_acquire);
    const auto quick = std::count_if(quick_.begin(), quick_.begin() + known, [](const Slot* each) {
      return (each->idle.load(std::memory_order_relaxed) & idle) != 0;
    });
    return static_cast<std::size_t>(quick) + slow_size_.load(std::memory_order_relaxed);
  }

 private:
  static constexpr std::uint8_t lent = 0;  // or not ready
  static constexpr std::uint8_t idle = 1;
  static constexpr std::uint8_t shut = 2;  // beside either

  /// Longer than a tick of the coarse clock, shorter than what lets a connection grow old.
  static constexpr std::chrono::milliseconds warm{20};

  static bool is_quick(const Slot& place) noexcept { return place.index < most_quick; }

  static bool is_warm(const Slot& place, time_point now) noexcept {
    return now - place.last_used.load(std::memory_order_relaxed) <= warm;
  }

  static bool replace(Slot& place, std::uint8_t expected, std::uint8_t wanted) noexcept {
    Threads::point();
    if (place.idle.load(std::memory_order_relaxed) != expected) return false;
    Threads::point();
    const bool done = place.idle.compare_exchange_strong(
        expected, wanted, std::memory_order_acq_rel, std::memory_order_relaxed);
    Threads::point();
    return done;
  }

  void erase_slow(Slot& place) noexcept {
    slow_.erase(place);
    place.idle.store(lent, std::memory_order_relaxed);
    slow_size_.store(slow_.size(), std::memory_order_relaxed);
  }

  static inline thread_local std::size_t mine_ = 0;  // what this thread put last, in any pool

  alignas(64) std::atomic<std::size_t> known_{0};
  std::array<Slot*, most_quick> quick_{};
  intrusive_list<Slot> slow_;  // by last use, the latest at the back
  std::atomic<std::size_t> slow_size_{0};
  bool open_ = true;
};

}  // namespace soundhash::db
