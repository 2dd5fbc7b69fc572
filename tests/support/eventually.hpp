#pragma once

#include <chrono>
#include <thread>

#include <soundhash/db/core/deadline.hpp>

namespace soundhash::db::test {

/// Asks until `holds()`, for states that send no event (those of another process). False when it
/// did not come to hold in time.
template <class F>
bool eventually(F holds, std::chrono::milliseconds limit = std::chrono::seconds{20}) {
  const auto until = deadline::in(limit);
  while (!holds()) {
    if (until.passed()) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds{2});
  }
  return true;
}

}  // namespace soundhash::db::test
