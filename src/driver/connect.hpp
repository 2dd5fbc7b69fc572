#pragma once

#include <memory>

#include <libpq-fe.h>

#include <soundhash/db/core/deadline.hpp>

#include "driver/conninfo.hpp"

namespace soundhash::db::driver {

struct finish {
  void operator()(PGconn* handle) const noexcept { PQfinish(handle); }
};
using handle = std::unique_ptr<PGconn, finish>;

/// Opens a session without ever blocking past the deadline: names are resolved apart, hosts and
/// addresses are tried one after another, each with its share of the time.
/// Throws: connection_error; never with the password in its message.
handle connect(const conninfo& where, deadline until);

}  // namespace soundhash::db::driver
