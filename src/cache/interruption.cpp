#include "cache/interruption.hpp"

#include <cerrno>
#include <cstdint>
#include <system_error>

#include <sys/eventfd.h>
#include <unistd.h>

namespace soundhash::db::redis {

interruption::interruption() : fd_{::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)} {
  if (fd_ < 0) throw std::system_error{errno, std::generic_category(), "eventfd"};
}

interruption::~interruption() {
  ::close(fd_);
}

void interruption::ring() noexcept {
  const std::uint64_t one = 1;
  // An eventfd's write of 1 can fail only when it is signalled already.
  [[maybe_unused]] const auto written = ::write(fd_, &one, sizeof one);
}

}  // namespace soundhash::db::redis
