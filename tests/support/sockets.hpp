#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include <soundhash/db/database_options.hpp>

namespace soundhash::db::test {

/// A file descriptor, closed at the end.
class descriptor {
 public:
  /// Throws: system_error when `fd` is the -1 of a call that failed.
  explicit descriptor(int fd);
  descriptor(descriptor&& other) noexcept;
  descriptor& operator=(descriptor&&) = delete;
  ~descriptor();
  [[nodiscard]] int get() const noexcept { return fd_; }

 private:
  int fd_;
};

/// A listening socket on 127.0.0.1 and a free port.
/// Throws: system_error, as all below.
descriptor listen_on_loopback(std::uint16_t& port);

/// A connection to a server's socket directory, or to an IPv4 address and port.
descriptor connect_to(const database_options& server);

/// Segments leave at once, however small.
void send_at_once(const descriptor& socket);

/// What close() will then do to a TCP socket: the peer gets a reset and loses what it has not read.
void reset_when_closed(const descriptor& socket);

/// Sends everything; false when the peer is gone.
bool send_all(const descriptor& to, std::string_view data);

}  // namespace soundhash::db::test
