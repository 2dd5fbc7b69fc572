#include "core/poll_until.hpp"

#include <cerrno>
#include <chrono>

namespace soundhash::db {
namespace {

timespec time_left(deadline until) noexcept {
  using std::chrono::nanoseconds;
  using std::chrono::seconds;
  const auto left = std::chrono::duration_cast<nanoseconds>(until.remaining());
  timespec limit{};
  limit.tv_sec = static_cast<time_t>(std::chrono::duration_cast<seconds>(left).count());
  limit.tv_nsec = static_cast<long>((left % seconds{1}).count());
  return limit;
}

}  // namespace

bool poll_until(std::span<pollfd> watched, deadline until) noexcept {
  for (;;) {
    const auto limit = until.is_never() ? timespec{} : time_left(until);
    const int ready =
        ::ppoll(watched.data(), watched.size(), until.is_never() ? nullptr : &limit, nullptr);
    if (ready >= 0) return ready > 0;
    // Any other failure cannot happen on valid descriptors; whoever uses them sees what is wrong.
    if (errno != EINTR) return true;
  }
}

}  // namespace soundhash::db
