#pragma once

namespace soundhash::db::redis {

/// Ends the waits for a socket in other threads, for good: once rung, all connections made with it
/// refuse to wait. Outlives them.
/// Thread safety: safe for concurrent use.
class interruption {
 public:
  /// Throws: std::system_error when descriptors ran out.
  interruption();
  ~interruption();
  interruption(const interruption&) = delete;
  interruption& operator=(const interruption&) = delete;

  void ring() noexcept;
  /// Readable once rung.
  [[nodiscard]] int fd() const noexcept { return fd_; }

 private:
  int fd_;
};

}  // namespace soundhash::db::redis
