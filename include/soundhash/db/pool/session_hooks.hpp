#pragma once

#include <functional>
#include <string>

#include <soundhash/db/core/deadline.hpp>
#include <soundhash/db/core/param.hpp>
#include <soundhash/db/core/query.hpp>
#include <soundhash/db/export.hpp>

namespace soundhash::db {

namespace driver {
class connection;
}

/// The session that a hook sees; valid during the call of the hook.
/// Thread safety: one thread at a time.
class SOUNDHASH_DB_EXPORT hooked_session {
 public:
  /// Runs one statement outside a transaction and drops its rows.
  /// Throws: query_error, connection_error, timeout_error: the hook as a whole has
  /// `connect_timeout`.
  void execute(const query& statement, const params& values = {});

  /// Process id of the server's backend, as pg_stat_activity shows it.
  [[nodiscard]] int backend_pid() const noexcept;
  /// A setting that the server reports unasked: "TimeZone", "server_version", "in_hot_standby".
  /// Empty when it does not.
  [[nodiscard]] std::string parameter(const std::string& name) const;

  hooked_session(driver::connection& session, deadline until) noexcept  ///< internal
      : session_{session}, until_{until} {}

 private:
  driver::connection& session_;
  deadline until_;
};

/// What a service adds to the life of the pool's sessions. Empty functions are not called; the
/// others are called from several threads at once.
struct session_hooks {
  /// Every new session, before anybody uses it, on a thread of the pool: SET ROLE, work_mem. When
  /// it throws, the connect has failed with that.
  std::function<void(hooked_session&)> on_connect;
  /// Every session handed out, on the caller's thread. When it throws, the session is closed and
  /// the caller gets the exception.
  std::function<void(hooked_session&)> on_acquire;
  /// Every session given back, unless it was discarded, on the caller's thread, which waits for it.
  /// When it throws, the session is closed; the exception goes nowhere. A transaction may still be
  /// open.
  std::function<void(hooked_session&)> on_release;
};

}  // namespace soundhash::db
