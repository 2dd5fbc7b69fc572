#pragma once

#include <soundhash/db/pool/pooled_connection.hpp>

#include "driver/connection.hpp"
#include "pool/basic_pool.hpp"

namespace soundhash::db {

using connection_pool = basic_pool<driver::connection>;

struct pooled_connection::impl {
  connection_pool::lease lease;
};

}  // namespace soundhash::db
