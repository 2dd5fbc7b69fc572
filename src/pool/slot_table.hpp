#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <source_location>
#include <thread>

#include "pool/intrusive_list.hpp"

namespace soundhash::db {

/// Where a connection of the pool is. Each transition is made under the pool's mutex.
enum class slot_state : std::uint8_t { free, connecting, idle, used, resetting, closing };

/// What must be done before a connection is handed out.
enum class health_check : std::uint8_t { none, look, ping };

/// Room for one connection. `connection` belongs to whoever the state names: the holder (used), a
/// worker (connecting, resetting, closing), or the pool (idle).
template <class Connection, class Clock>
struct slot {
  slot* previous = nullptr;
  slot* next = nullptr;
  std::unique_ptr<Connection> connection;
  slot_state state = slot_state::free;
  health_check check = health_check::none;
  std::uint64_t generation = 0;
  typename Clock::time_point expires{};
  typename Clock::time_point last_used{};
  typename Clock::time_point acquired{};
  std::source_location where;  ///< of the acquire
  /// Who used it last; a lease may move to another thread.
  std::atomic<std::thread::id> holder;
};

/// All slots of a pool and their count by state, which therefore never disagree. Slots are never
/// freed before the table.
/// Thread safety: one thread at a time.
template <class Connection, class Clock>
class slot_table {
 public:
  using slot_type = slot<Connection, Clock>;

  /// A free slot, now connecting.
  /// Throws: std::bad_alloc.
  slot_type& obtain() {
    slot_type* found = free_.pop_front();
    if (!found) {
      found = &slots_.emplace_back();
      ++counts_[index(slot_state::free)];
    }
    count(*found, slot_state::connecting);
    return *found;
  }

  /// Changes the state; `free` makes the slot available again.
  void move(slot_type& which, slot_state to) noexcept {
    count(which, to);
    if (to == slot_state::free) free_.push_back(which);
  }

  [[nodiscard]] std::size_t count(slot_state state) const noexcept { return counts_[index(state)]; }

  /// Connections that serve or will serve callers.
  [[nodiscard]] std::size_t live() const noexcept {
    return count(slot_state::idle) + count(slot_state::used) + count(slot_state::resetting);
  }
  /// Sockets, those opening and closing included.
  [[nodiscard]] std::size_t total() const noexcept {
    return live() + count(slot_state::connecting) + count(slot_state::closing);
  }

  [[nodiscard]] auto begin() const noexcept { return slots_.begin(); }
  [[nodiscard]] auto end() const noexcept { return slots_.end(); }

 private:
  static constexpr std::size_t index(slot_state state) noexcept {
    return static_cast<std::size_t>(state);
  }
  void count(slot_type& which, slot_state to) noexcept {
    --counts_[index(which.state)];
    ++counts_[index(to)];
    which.state = to;
  }

  std::deque<slot_type> slots_;
  intrusive_list<slot_type> free_;
  std::array<std::size_t, 6> counts_{};
};

}  // namespace soundhash::db
