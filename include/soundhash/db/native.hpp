#pragma once

/// The one place where libpqxx shows: link soundhash::db-native as well.
///
/// ```
/// auto lease = db.acquire();
/// pqxx::work tx{soundhash::db::native(lease)};
/// ```
#include <pqxx/version>

#if PQXX_VERSION_MAJOR < 7
#include <pqxx/connection_base>
#else
#include <pqxx/connection>
#endif

#include <soundhash/db/pool/pooled_connection.hpp>

namespace soundhash::db {

#if PQXX_VERSION_MAJOR < 7
/// In libpqxx 6 an adopted session has no other type in common with pqxx::connection.
using native_connection_type = pqxx::connection_base;
#else
using native_connection_type = pqxx::connection;
#endif

/// The libpqxx connection of a lease: configured, counted, and the pool's. Calls made on it are not
/// timed, not counted as queries and have no deadline but the server's statement_timeout; behind a
/// pooler (SOUNDHASH_DB_POOLER) that is the role's own, and nothing may outlive a transaction.
/// Lifetime: that of the lease; do not close it.
/// Thread safety: one thread at a time.
inline native_connection_type& native(pooled_connection& lease) {
  return *static_cast<native_connection_type*>(lease.native_handle());
}

}  // namespace soundhash::db
