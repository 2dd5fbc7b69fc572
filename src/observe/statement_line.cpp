#include "observe/statement_line.hpp"

#include <fmt/format.h>

#include <soundhash/db/core/error.hpp>

namespace soundhash::db {

std::string in_milliseconds(std::chrono::nanoseconds span) {
  return fmt::format("{:.3f}", std::chrono::duration<double, std::milli>{span}.count());
}

std::string outcome(const statement_event& event) {
  if (event.failure == nullptr) {
    return fmt::format("{} {}", event.rows, event.rows == 1 ? "row" : "rows");
  }
  if (event.sqlstate.empty()) return "failed";
  return "failed with SQLSTATE " + sanitize(event.sqlstate);
}

}  // namespace soundhash::db
