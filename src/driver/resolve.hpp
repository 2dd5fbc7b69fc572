#pragma once

#include <string>
#include <vector>

#include <soundhash/db/core/deadline.hpp>

namespace soundhash::db::driver {

/// The numeric addresses of a host name, in getaddrinfo's order; numeric addresses come back as
/// they are. getaddrinfo has no time limit, so it runs on a thread of its own that is abandoned
/// when the deadline passes.
/// Throws: connection_error{name_resolution}.
std::vector<std::string> resolve(const std::string& host, deadline until);

}  // namespace soundhash::db::driver
