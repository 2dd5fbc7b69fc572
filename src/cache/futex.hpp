#pragma once

#include <atomic>
#include <cstdint>

#include <soundhash/db/core/deadline.hpp>

namespace soundhash::db {

/// Sleeps while `word` holds `expected`; std::atomic::wait knows no deadline. May return early.
/// False when `until` has passed. `signals`: the bits by which it can be woken; not 0.
bool futex_wait(const std::atomic<std::uint32_t>& word, std::uint32_t expected,
                std::uint32_t signals, deadline until) noexcept;

/// Wakes all who wait for one of these signals, in one system call.
void futex_wake(const std::atomic<std::uint32_t>& word, std::uint32_t signals) noexcept;

}  // namespace soundhash::db
