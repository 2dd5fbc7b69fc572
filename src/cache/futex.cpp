#include "cache/futex.hpp"

#include <cerrno>
#include <chrono>
#include <limits>

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace soundhash::db {

bool futex_wait(const std::atomic<std::uint32_t>& word, std::uint32_t expected,
                std::uint32_t signals, deadline until) noexcept {
  static_assert(sizeof word == sizeof expected && std::atomic<std::uint32_t>::is_always_lock_free);
  using std::chrono::nanoseconds;
  using std::chrono::seconds;
  // FUTEX_WAIT_BITSET takes a point of CLOCK_MONOTONIC, which is what steady_clock reads.
  const auto at = std::chrono::duration_cast<nanoseconds>(until.at().time_since_epoch());
  timespec limit{};
  limit.tv_sec = static_cast<time_t>(std::chrono::duration_cast<seconds>(at).count());
  limit.tv_nsec = static_cast<long>((at % seconds{1}).count());
  const auto status = ::syscall(SYS_futex, &word, FUTEX_WAIT_BITSET_PRIVATE, expected,
                                until.is_never() ? nullptr : &limit, nullptr, signals);
  return status == 0 || errno != ETIMEDOUT;
}

void futex_wake(const std::atomic<std::uint32_t>& word, std::uint32_t signals) noexcept {
  constexpr int all = std::numeric_limits<int>::max();
  ::syscall(SYS_futex, &word, FUTEX_WAKE_BITSET_PRIVATE, all, nullptr, nullptr, signals);
}

}  // namespace soundhash::db
