#include "core/fork_epoch.hpp"

#include <pthread.h>

namespace soundhash::db {

std::atomic<unsigned> fork_epoch::forks_{0};

fork_epoch::fork_epoch() {
  [[maybe_unused]] static const int registered =
      pthread_atfork(nullptr, nullptr, [] { forks_.fetch_add(1, std::memory_order_relaxed); });
  made_in_ = forks_.load(std::memory_order_relaxed);
}

}  // namespace soundhash::db
