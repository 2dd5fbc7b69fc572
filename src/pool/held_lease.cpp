#include "pool/held_lease.hpp"

#include <fmt/format.h>

namespace soundhash::db {

std::string held_lease::text() const {
  const auto by = query == nullptr ? fmt::format("in {}:{}", where.file_name(), where.line())
                                   : fmt::format("by query \"{}\"", query);
  return fmt::format("a connection acquired {} is held for {} ms already", by,
                     std::chrono::duration_cast<std::chrono::milliseconds>(held).count());
}

}  // namespace soundhash::db
