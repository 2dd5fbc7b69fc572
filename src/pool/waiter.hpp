#pragma once

#include <cstdint>
#include <memory>
#include <source_location>

#include "pool/acquire_error.hpp"

namespace soundhash::db {

/// How a wait ended.
enum class outcome : std::uint8_t { waiting, granted, failed, closed, cancelled, timed_out };

/// A caller in the pool's queue; lives on the caller's stack. The outcome is decided once, under
/// the pool's mutex.
template <class Slot, class Threads>
struct waiter {
  waiter* previous = nullptr;
  waiter* next = nullptr;
  typename Threads::condition decided;
  outcome result = outcome::waiting;
  bool served_before = false;
  Slot* place = nullptr;
  std::shared_ptr<const connect_failure> why;
  std::source_location where;
  typename Threads::id thread = Threads::self();
};

}  // namespace soundhash::db
