#pragma once

#include <array>
#include <cstddef>

#include <soundhash/db/core/deadline.hpp>
#include <soundhash/db/export.hpp>

namespace soundhash::db {

/// A connection on loan from the pool, for native libpqxx code (see native.hpp); repositories and
/// transactions borrow their own. Goes back when destroyed; a transaction left open is rolled back.
/// Thread safety: one thread at a time. Move-only. May outlive the database.
/// Throws: every call except discard() throws pool_error{used_after_fork} in the child of a fork.
class SOUNDHASH_DB_EXPORT pooled_connection {
 public:
  ~pooled_connection();
  pooled_connection(pooled_connection&&) noexcept;
  pooled_connection& operator=(pooled_connection&&) noexcept;

  /// Process id of the server's backend, as pg_stat_activity shows it.
  [[nodiscard]] int backend_pid() const;
  /// The connection is closed instead of going back: call it after changing session state (SET,
  /// LISTEN, temporary tables, advisory locks).
  void discard() noexcept;
  /// From now on the session is cut at this time if the lease has not ended: a call of libpqxx that
  /// waits for a silent server then fails. It replaces the guard of the acquire; never: none. A
  /// guard ends with the database.
  void guard(deadline until);

  /// The libpqxx object behind native(); use that.
  [[nodiscard]] void* native_handle();

  struct impl;                                ///< internal
  explicit pooled_connection(impl&& leased);  ///< internal: use database::acquire

 private:
  [[nodiscard]] impl& leased() noexcept;
  [[nodiscard]] const impl& leased() const noexcept;

  /// The lease itself, so that an acquire allocates nothing.
  alignas(void*) std::array<std::byte, 4 * sizeof(void*)> storage_;
};

}  // namespace soundhash::db
