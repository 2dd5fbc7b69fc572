#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <string>

#include <soundhash/db/database_options.hpp>

namespace soundhash::db::test {

/// A PgBouncer of one's own, in transaction mode, in front of a server: two server sessions for
/// each database, reachable by a Unix socket in a private directory. Started by root, it runs as
/// the server's user, since PgBouncer refuses to run as root; it ends with this object and also
/// when this process dies. Thread safety: safe for concurrent use.
class private_pgbouncer {
 public:
  /// `upstream` reaches the server by its socket. `settings` are further lines of pgbouncer.ini and
  /// win over ours. Returns when it accepts connections.
  /// Throws: config_error when PgBouncer is not installed; connection_error with its log when it
  /// does not come up.
  explicit private_pgbouncer(const database_options& upstream,
                             const std::map<std::string, std::string>& settings = {});
  ~private_pgbouncer();
  private_pgbouncer(const private_pgbouncer&) = delete;
  private_pgbouncer& operator=(const private_pgbouncer&) = delete;

  /// A database of the server by way of this pooler, with the mode set for it.
  [[nodiscard]] database_options options(const std::string& database_name) const;

 private:
  struct impl;
  std::unique_ptr<impl> state_;
};

}  // namespace soundhash::db::test
