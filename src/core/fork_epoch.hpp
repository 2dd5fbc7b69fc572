#pragma once

#include <atomic>

namespace soundhash::db {

/// Notices that this process is the child of a fork() made after this object: the sockets and the
/// threads of that time belong to the parent. Costs one load; getpid() would be a system call.
/// Thread safety: safe for concurrent use.
class fork_epoch {
 public:
  fork_epoch();
  [[nodiscard]] bool crossed() const noexcept {
    return forks_.load(std::memory_order_relaxed) != made_in_;
  }

 private:
  static std::atomic<unsigned> forks_;  // since the first object; in a parent it never moves
  unsigned made_in_;
};

}  // namespace soundhash::db
