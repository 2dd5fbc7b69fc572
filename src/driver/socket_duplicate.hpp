#pragma once

namespace soundhash::db::driver {

/// A descriptor of our own for a socket that libpq owns: libpq may close its descriptor at any
/// moment on the thread that uses the session, and the number may then belong to another file.
/// Thread safety: shut_down() is safe on any thread while this object lives.
class socket_duplicate {
 public:
  /// Throws: connection_error when no descriptor is left.
  explicit socket_duplicate(int socket);
  ~socket_duplicate();
  socket_duplicate(const socket_duplicate&) = delete;
  socket_duplicate& operator=(const socket_duplicate&) = delete;

  /// Ends the connection in both directions; whoever waits on the socket wakes.
  void shut_down() const noexcept;

 private:
  int fd_;
};

}  // namespace soundhash::db::driver
