#pragma once

#include <chrono>
#include <source_location>
#include <string>

namespace soundhash::db {

/// A lease that has not ended.
struct held_lease {
  std::source_location where;   ///< of the acquire
  const char* query = nullptr;  ///< that it was acquired for, if for one
  std::chrono::nanoseconds held{};

  /// "a connection acquired in main.cpp:12 is held for 30 ms already".
  [[nodiscard]] std::string text() const;
};

}  // namespace soundhash::db
