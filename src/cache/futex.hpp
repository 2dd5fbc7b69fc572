#pragma once

#include <atomic>
#include <cstdint>

#include <soundhash/db/core/deadline.hpp>

namespace soundhash::db {

/// Sleeps while `word` holds `expected`; std::atomic::wait knows no deadline. May return early.
/// False when `until` has passed.
bool futex_wait(const std::atomic<std::uint32_t>& word, std::uint32_t expected,
                deadline until) noexcept;

/// Wakes one sleeper. The word may be gone already.
void futex_wake_one(const std::atomic<std::uint32_t>* word) noexcept;

}  // namespace soundhash::db
