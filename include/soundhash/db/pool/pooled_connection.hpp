#pragma once

#include <memory>

#include <soundhash/db/export.hpp>

namespace soundhash::db {

/// A connection on loan from the pool, for native libpqxx code (see native.hpp); repositories and
/// transactions borrow their own. Goes back when destroyed; a transaction left open is rolled back.
/// Thread safety: one thread at a time. Move-only. May outlive the database.
class SOUNDHASH_DB_EXPORT pooled_connection {
 public:
  ~pooled_connection();
  pooled_connection(pooled_connection&&) noexcept;
  pooled_connection& operator=(pooled_connection&&) noexcept;

  /// Process id of the server's backend, as pg_stat_activity shows it.
  [[nodiscard]] int backend_pid() const noexcept;
  /// The connection is closed instead of going back: call it after changing session state (SET,
  /// LISTEN, temporary tables, advisory locks).
  void discard() noexcept;

  /// The libpqxx object behind native(); use that.
  [[nodiscard]] void* native_handle() noexcept;

  struct impl;                                              ///< internal
  explicit pooled_connection(std::unique_ptr<impl> state);  ///< internal: use database::acquire

 private:
  std::unique_ptr<impl> state_;
};

}  // namespace soundhash::db
