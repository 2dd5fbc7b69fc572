#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>

namespace soundhash::db {

/// What a pool looked like. Counters never go back. A connection that is acquired or returned while
/// the figures are read may count as idle or as used.
struct pool_stats {
  std::size_t idle = 0;
  std::size_t used = 0;
  std::size_t connecting = 0;
  std::size_t closing = 0;  ///< being rolled back or closed; still counts against the limit
  std::size_t waiting = 0;  ///< callers in the queue
  std::size_t limit = 0;    ///< size + overflow; 0: unlimited

  std::uint64_t acquired_at_once = 0;
  std::uint64_t acquired_after_wait = 0;
  std::uint64_t timeouts = 0;
  std::uint64_t cancellations = 0;  ///< waits ended by a stop
  std::uint64_t overloads = 0;
  std::uint64_t connects = 0;
  std::uint64_t connect_failures = 0;
  std::uint64_t pings = 0;
  std::uint64_t rollbacks_on_return = 0;
  std::uint64_t closed_recycled = 0;     ///< reached `recycle`
  std::uint64_t closed_broken = 0;       ///< dead, or in an unclear state on return
  std::uint64_t closed_overflow = 0;     ///< beyond `size` and not needed any more
  std::uint64_t closed_idle = 0;         ///< reached `idle_timeout`
  std::uint64_t closed_invalidated = 0;  ///< from before an outage
  std::uint64_t closed_resized = 0;      ///< the pool was made smaller
  std::uint64_t leaks = 0;               ///< leases longer than `leak_after`

  std::chrono::nanoseconds wait_time{};     ///< sum over all waits that queued
  std::chrono::nanoseconds connect_time{};  ///< sum over successful connects
  std::chrono::nanoseconds hold_time{};     ///< sum over ended leases, by the kernel's ticks
};

}  // namespace soundhash::db
