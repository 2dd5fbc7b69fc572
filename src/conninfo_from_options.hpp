#pragma once

#include <soundhash/db/database_options.hpp>

#include "driver/conninfo.hpp"

namespace soundhash::db {

/// The connection keywords and session settings that the options ask for.
driver::conninfo session_conninfo(const database_options& options);

}  // namespace soundhash::db
