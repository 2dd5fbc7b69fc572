#pragma once

#include <cstddef>
#include <limits>
#include <string>
#include <string_view>

namespace soundhash::db {

/// SQL on one line for a log: runs of white space become one space, other control characters are
/// escaped, and what goes beyond `cap` bytes is cut, between characters, and marked with "…".
std::string sql_excerpt(std::string_view sql,
                        std::size_t cap = std::numeric_limits<std::size_t>::max());

}  // namespace soundhash::db
