#pragma once

#include <condition_variable>
#include <mutex>
#include <thread>

namespace soundhash::db {

/// What the pool takes from the operating system. The model test puts a seeded scheduler in its
/// place, which decides at every lock, wait and point() which thread goes on.
struct os_threads {
  using mutex = std::mutex;
  using condition = std::condition_variable;
  using thread = std::thread;
  using id = std::thread::id;

  static id self() noexcept { return std::this_thread::get_id(); }
  /// Ahead of an atomic step that others can see.
  static void point() noexcept {}
};

}  // namespace soundhash::db
