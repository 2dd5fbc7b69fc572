#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <iterator>
#include <memory>
#include <source_location>

namespace soundhash::db {

/// Where a connection of the pool is. Each transition is made under the pool's mutex. `ready` means
/// idle or lent, which the idle set tells apart, without the mutex.
enum class slot_state : std::uint8_t { free, connecting, ready, resetting, checking, closing };

/// What must be done before a connection is handed out.
enum class health_check : std::uint8_t { none, look, ping };

/// Room for one connection. `connection` belongs to the holder of the lease, to the worker that the
/// state names, or to nobody (idle). What the holder writes without the mutex is atomic.
template <class Connection, class Clock, class Threads>
struct alignas(64) slot {
  using time_point = typename Clock::time_point;

  std::unique_ptr<Connection> connection;
  std::atomic<std::uint8_t> idle{0};  ///< of the idle set
  std::size_t index = 0;
  std::uint64_t generation = 0;
  time_point expires{};
  health_check check = health_check::none;
  bool guarded = false;  ///< written by the holder: the lease must be returned under the mutex
  std::atomic<time_point> last_used{};
  std::atomic<time_point> acquired{};
  std::atomic<std::source_location> where{};  ///< of the acquire
  std::atomic<const char*> query{nullptr};    ///< that it was acquired for, if for one
  /// Who used it last; a lease may move to another thread.
  std::atomic<typename Threads::id> holder{};
  std::atomic<std::uint64_t> lent_at_once{0};
  std::atomic<std::uint64_t> lent_after_wait{0};
  std::atomic<std::chrono::nanoseconds::rep> held{0};  ///< sum over all leases

  // Under the mutex
  slot* previous = nullptr;
  slot* next = nullptr;
  slot_state state = slot_state::free;
  bool cut = false;                         ///< its lease passed its guard, or the pool closed
  time_point guard = time_point::max();     ///< when the lease is cut
  time_point last_check{};                  ///< when it last answered a ping of the pool's own
  time_point leak_reported = time_point{};  ///< `acquired` of the lease that was reported
};

/// All slots of a pool and their count by state, which therefore never disagree. Slots are never
/// freed before the table.
/// Thread safety: one thread at a time.
template <class Slot>
class slot_table {
 public:
  /// The lowest free slot, now connecting.
  /// Throws: std::bad_alloc.
  Slot& obtain() {
    const auto is_free = [](const Slot& each) { return each.state == slot_state::free; };
    auto found = std::find_if(slots_.begin(), slots_.end(), is_free);
    if (found == slots_.end()) {
      slots_.emplace_back();
      ++counts_[index(slot_state::free)];
      found = std::prev(slots_.end());
      found->index = slots_.size() - 1;
    }
    move(*found, slot_state::connecting);
    return *found;
  }

  void move(Slot& which, slot_state to) noexcept {
    --counts_[index(which.state)];
    ++counts_[index(to)];
    which.state = to;
  }

  [[nodiscard]] std::size_t count(slot_state state) const noexcept { return counts_[index(state)]; }

  /// Connections that serve or will serve callers.
  [[nodiscard]] std::size_t live() const noexcept {
    return count(slot_state::ready) + count(slot_state::resetting) + count(slot_state::checking);
  }
  /// Sockets, those opening and closing included.
  [[nodiscard]] std::size_t total() const noexcept {
    return live() + count(slot_state::connecting) + count(slot_state::closing);
  }

  [[nodiscard]] auto begin() noexcept { return slots_.begin(); }
  [[nodiscard]] auto end() noexcept { return slots_.end(); }
  [[nodiscard]] auto begin() const noexcept { return slots_.begin(); }
  [[nodiscard]] auto end() const noexcept { return slots_.end(); }
  [[nodiscard]] auto rbegin() noexcept { return slots_.rbegin(); }
  [[nodiscard]] auto rend() noexcept { return slots_.rend(); }

 private:
  static constexpr std::size_t index(slot_state state) noexcept {
    return static_cast<std::size_t>(state);
  }
  std::deque<Slot> slots_;
  std::array<std::size_t, 6> counts_{};
};

}  // namespace soundhash::db
