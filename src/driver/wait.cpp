#include "driver/wait.hpp"

#include <array>
#include <cstddef>
#include <cstdint>
#include <utility>

#include <sys/eventfd.h>
#include <unistd.h>

#include "core/poll_until.hpp"

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
  const std::size_t count = stop.fd() < 0 ? 1 : 2;
  if (!poll_until({watched.data(), count}, until)) return wake::timed_out;
  return watched[1].revents != 0 ? wake::stopped : wake::ready;
}

}  // namespace soundhash::db::driver
