#include "driver/socket_duplicate.hpp"

#include <cerrno>
#include <cstring>
#include <string>

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <soundhash/db/core/error.hpp>

namespace soundhash::db::driver {

socket_duplicate::socket_duplicate(int socket) : fd_{::fcntl(socket, F_DUPFD_CLOEXEC, 0)} {
  if (fd_ >= 0) return;
  throw connection_error{std::string{"cannot keep the new connection: "} + std::strerror(errno) +
                             "; raise the limit of open files (each connection takes two)",
                         {.code = errc::refused, .retryable = true, .connection_usable = false}};
}

socket_duplicate::~socket_duplicate() {
  ::close(fd_);
}

void socket_duplicate::shut_down() const noexcept {
  ::shutdown(fd_, SHUT_RDWR);
}

}  // namespace soundhash::db::driver
