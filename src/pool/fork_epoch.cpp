#include "pool/fork_epoch.hpp"

#include <atomic>

#include <pthread.h>

namespace soundhash::db {
namespace {

std::atomic<unsigned> forks{0};

void count_fork() {
  forks.fetch_add(1, std::memory_order_relaxed);
}

unsigned current() {
  // Registered with the first pool; in a parent the counter never moves.
  [[maybe_unused]] static const int registered = pthread_atfork(nullptr, nullptr, count_fork);
  return forks.load(std::memory_order_relaxed);
}

}  // namespace

fork_epoch::fork_epoch() : made_in_{current()} {}

bool fork_epoch::crossed() const noexcept {
  return forks.load(std::memory_order_relaxed) != made_in_;
}

}  // namespace soundhash::db
