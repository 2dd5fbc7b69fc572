#include "driver/wait.hpp"

#include <array>
#include <cerrno>
#include <cstdint>
#include <utility>

#include <sys/eventfd.h>
#include <unistd.h>

namespace soundhash::db::driver {

void stop_signal::ring::operator()() const noexcept {
  const std::uint64_t one = 1;
  // An eventfd's write of 1 can fail only when it is signalled already.
  [[maybe_unused]] const auto written = ::write(fd, &one, sizeof one);
}

stop_signal::stop_signal(std::stop_token token) {
  if (!token.stop_possible()) return;
  fd_ = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (fd_ < 0) return;  // out of descriptors: the wait still ends by its deadline
  callback_.emplace(std::move(token), ring{fd_});
}

stop_signal::~stop_signal() {
  callback_.reset();  // waits for a running callback, which uses the descriptor
  if (fd_ >= 0) ::close(fd_);
}

wake wait_for(int fd, short events, deadline until, const stop_signal& stop) noexcept {
  std::array<pollfd, 2> watched{{{fd, events, 0}, {stop.fd(), POLLIN, 0}}};
  const nfds_t count = stop.fd() < 0 ? 1 : 2;
  for (;;) {
    using std::chrono::nanoseconds;
    using std::chrono::seconds;
    timespec limit{};
    if (!until.is_never()) {
      const auto left = std::chrono::duration_cast<nanoseconds>(until.remaining());
      limit.tv_sec = static_cast<time_t>(std::chrono::duration_cast<seconds>(left).count());
      limit.tv_nsec = static_cast<long>((left % seconds{1}).count());
    }
    const int ready = ::ppoll(watched.data(), count, until.is_never() ? nullptr : &limit, nullptr);
    if (ready == 0) return wake::timed_out;
    if (ready < 0 && errno == EINTR) continue;
    if (count == 2 && watched[1].revents != 0) return wake::stopped;
    // A failing poll cannot happen on a valid descriptor; libpq then reports what is wrong.
    return wake::ready;
  }
}

}  // namespace soundhash::db::driver
