#pragma once

#include <soundhash/db/database.hpp>
#include <soundhash/db/database_options.hpp>
#include <soundhash/db/testing/private_postgres.hpp>

#include "support/private_pgbouncer.hpp"

namespace soundhash::db::test {

/// The server of this test process: started at the first call, stopped at exit.
/// Thread safety: safe for concurrent use (this and all below).
testing::private_postgres& server();

/// A PgBouncer in front of `server()`, started at the first call, stopped at exit.
private_pgbouncer& pooler();

/// A new empty database on `server()`.
database_options empty_database_options();

/// A new database on `server()` with the schema of all migrations. Reached through
/// `pooler()` when SOUNDHASH_TEST_POOLER=1 is in the environment: ctest runs the tests of the
/// repositories a second time so.
database_options fresh_database_options();

/// The same, opened.
database fresh_database();

}  // namespace soundhash::db::test
