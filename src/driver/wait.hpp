#pragma once

#include <optional>
#include <stop_token>

#include <poll.h>

#include <soundhash/db/core/deadline.hpp>

namespace soundhash::db::driver {

/// How a wait for the socket ended.
enum class wake : unsigned char { ready, timed_out, stopped };

/// Wakes a poll() from another thread when a stop is requested; costs nothing without a token.
/// Thread safety: one waiting thread.
class stop_signal {
 public:
  explicit stop_signal(std::stop_token token);
  ~stop_signal();
  stop_signal(const stop_signal&) = delete;
  stop_signal& operator=(const stop_signal&) = delete;

  /// Readable once a stop was requested; -1 without a token, or when descriptors ran out.
  [[nodiscard]] int fd() const noexcept { return fd_; }

 private:
  struct ring {
    int fd;
    void operator()() const noexcept;
  };
  int fd_ = -1;
  std::optional<std::stop_callback<ring>> callback_;
};

/// Waits until one of `events` happens on `fd`, `until` passes or `stop` fires.
wake wait_for(int fd, short events, deadline until, const stop_signal& stop) noexcept;

}  // namespace soundhash::db::driver
