#pragma once

#include <chrono>

namespace soundhash::db {

/// A `timestamp without time zone` column, which in this schema holds UTC. Microseconds, years 1
/// to 9999 (what Python's datetime can hold).
using timestamp = std::chrono::sys_time<std::chrono::microseconds>;

}  // namespace soundhash::db
