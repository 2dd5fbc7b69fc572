#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

#include "pool/intrusive_list.hpp"

namespace soundhash::db {

/// Which slots are idle. Each of the first 64 slots has a place here, on a cache line of its own;
/// slots beyond them are kept in a list, under the owner's mutex.
///
/// The gate. While it is shut nobody takes or puts without the mutex. Each place has a part of the
/// gate in the word that says whether its slot is idle, so that all takes, puts and the shutting of
/// a place have one order:
/// - No return goes unseen by a caller who begins to wait. He shuts all places under the mutex, and
///   looks at all of them afterwards. A put ahead of the shutting is seen by that look; one behind
///   it fails, and its thread comes to the mutex, where it finds the caller queued.
/// - Nobody overtakes who waits. Whatever a later caller has read before, his compare-and-swap
///   meets the shut word. Who takes from a place that is still open came before the wait, which
///   begins when the mutex is released.
/// - While the gate is shut take() and size() are exact. While it is open they go from place to
///   place, and may miss a slot whose neighbour was taken when it was put.
/// The gate publishes nothing: its steps are relaxed, and as read-modify-writes they do not break
/// the chain from a put to the take that follows.
///
/// The order. The lowest idle slot is taken, so that load gathers on few connections and the others
/// grow old enough to be closed. But within one round a thread comes back to the slot that it found
/// so, and thus to cache lines and a connection of its own: a slot is used only in a round in which
/// all below it were seen lent at once or in turn.
/// Thread safety: try_take, try_put and size are safe for concurrent use; all else needs the
/// owner's mutex as well.
template <class Slot, class Threads>
class idle_set {
 public:
  static constexpr std::size_t most_quick = 64;

  /// Makes the slot known, before it is put the first time. Indices come without gaps.
  void add(Slot& added) noexcept {
    const auto known = known_.load(std::memory_order_relaxed);
    if (!is_quick(added) || added.index < known) return;
    places_[known].slot = &added;
    places_[known].word.store(open_ ? lent : shut, std::memory_order_relaxed);
    known_.store(known + 1, std::memory_order_release);
  }

  /// From now on every thread begins at the lowest slot again.
  void begin_round() noexcept {
    round_.store(rounds_.fetch_add(1, std::memory_order_relaxed), std::memory_order_relaxed);
  }

  /// Without a lock; nullptr when the mutex is needed.
  Slot* try_take() noexcept {
    Threads::point();
    const auto round = round_.load(std::memory_order_relaxed);
    if (last_.round == round) {
      place& own = places_[last_.index];
      if (own.word.load(std::memory_order_relaxed) == idle && own.replace(idle, lent)) {
        return own.slot;
      }
    }
    return take_lowest(round);
  }

  /// Without a lock; false when the mutex is needed.
  bool try_put(Slot& returned) noexcept {
    return is_quick(returned) && places_[returned.index].replace(lent, idle);
  }

  void set_gate(bool open) noexcept {
    if (open == open_) return;
    open_ = open;
    for (std::size_t i = 0; i < known(); ++i) {
      Threads::point();
      if (open) {
        places_[i].word.fetch_and(~shut, std::memory_order_relaxed);
      } else {
        places_[i].word.fetch_or(shut, std::memory_order_relaxed);
      }
    }
  }

  /// Whatever the gate; nullptr when nothing is idle.
  Slot* take() noexcept {
    for (std::size_t i = 0; i < known(); ++i) {
      if (places_[i].remove()) return places_[i].slot;
    }
    Slot* const slow = slow_.back();
    if (slow) erase_slow(*slow);
    return slow;
  }

  void put(Slot& returned) noexcept {
    if (is_quick(returned)) {
      Threads::point();
      places_[returned.index].word.fetch_or(idle, std::memory_order_release);
      return;
    }
    slow_.push_back(returned);
    returned.in_idle_list = true;
    slow_size_.store(slow_.size(), std::memory_order_relaxed);
  }

  /// Takes this one; false when somebody else has it.
  bool remove(Slot& wanted) noexcept {
    if (is_quick(wanted)) return places_[wanted.index].remove();
    if (!wanted.in_idle_list) return false;
    erase_slow(wanted);
    return true;
  }

  [[nodiscard]] bool contains(const Slot& sought) const noexcept {
    return is_quick(sought) ? places_[sought.index].is_idle() : sought.in_idle_list;
  }

  [[nodiscard]] std::size_t size() const noexcept {
    std::size_t found = slow_size_.load(std::memory_order_relaxed);
    for (std::size_t i = 0; i < known(); ++i) found += places_[i].is_idle();
    return found;
  }

 private:
  using word_type = std::uint32_t;
  static constexpr word_type lent = 0;  // or no connection at all
  static constexpr word_type idle = 1;
  static constexpr word_type shut = 2;

  struct alignas(64) place {
    bool replace(word_type expected, word_type wanted) noexcept {
      Threads::point();
      const bool done = word.compare_exchange_strong(expected, wanted, std::memory_order_acq_rel,
                                                     std::memory_order_relaxed);
      Threads::point();
      return done;
    }
    bool remove() noexcept {
      if (!is_idle()) return false;
      Threads::point();
      return (word.fetch_and(~idle, std::memory_order_acquire) & idle) != 0;
    }
    [[nodiscard]] bool is_idle() const noexcept {
      Threads::point();
      return (word.load(std::memory_order_relaxed) & idle) != 0;
    }

    std::atomic<word_type> word{lent};
    Slot* slot = nullptr;  // does not change once known
  };

  /// Where a thread was served last. One for all pools: no two of their rounds are equal.
  struct hint {
    std::uint64_t round = 0;
    std::size_t index = 0;
  };

  static bool is_quick(const Slot& any) noexcept { return any.index < most_quick; }
  [[nodiscard]] std::size_t known() const noexcept {
    return known_.load(std::memory_order_acquire);
  }

  Slot* take_lowest(std::uint64_t round) noexcept {
    for (std::size_t i = 0; i < known(); ++i) {
      const auto seen = places_[i].word.load(std::memory_order_relaxed);
      if ((seen & shut) != 0) return nullptr;
      if (seen == idle && places_[i].replace(idle, lent)) {
        last_ = {round, i};
        return places_[i].slot;
      }
    }
    return nullptr;
  }

  void erase_slow(Slot& which) noexcept {
    slow_.erase(which);
    which.in_idle_list = false;
    slow_size_.store(slow_.size(), std::memory_order_relaxed);
  }

  static inline std::atomic<std::uint64_t> rounds_{1};
  static inline constinit thread_local hint last_{};

  // What every caller reads and hardly anybody writes
  alignas(64) std::atomic<std::uint64_t> round_{rounds_.fetch_add(1, std::memory_order_relaxed)};
  std::atomic<std::size_t> known_{0};
  std::array<place, most_quick> places_;
  intrusive_list<Slot> slow_;  // by last use, the latest at the back
  std::atomic<std::size_t> slow_size_{0};
  bool open_ = true;
};

}  // namespace soundhash::db
