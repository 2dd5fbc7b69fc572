#pragma once

#include <chrono>
#include <string>

#include <soundhash/db/observe/interceptor.hpp>

namespace soundhash::db {

/// Milliseconds with three decimals: "12.345".
std::string in_milliseconds(std::chrono::nanoseconds span);

/// How a statement ended, for a log: "12 rows", "failed with SQLSTATE 23505", or "failed". The
/// text of the failure stays out: the server may repeat values in it.
std::string outcome(const statement_event& event);

}  // namespace soundhash::db
