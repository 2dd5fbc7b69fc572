#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string_view>

#include <soundhash/db/exec/executor.hpp>
#include <soundhash/db/export.hpp>

namespace soundhash::db {

enum class isolation : std::uint8_t { read_committed, repeatable_read, serializable };

/// How a transaction runs.
struct transaction_options {
  db::isolation isolation = db::isolation::read_committed;
  bool read_only = false;
  bool deferrable = false;  ///< only with serializable and read_only
  /// Bounds everything from the wait for the connection to COMMIT, retries included; not given:
  /// acquire timeout + statement timeout + 1 s apply to each statement.
  deadline until{};
  std::stop_token stop{};
  /// Fetch the transaction's id before COMMIT (one more round trip, two at the first one of a
  /// database), so that `commit_in_doubt` can be resolved. The role must be allowed to call
  /// pg_current_wal_lsn() and pg_walfile_name(), as every role is unless somebody revoked it.
  bool track_outcome = false;
  /// The body may safely happen twice: `with_transaction` then also retries after a lost link or a
  /// commit in doubt. What is read_only runs once more without being declared.
  bool idempotent = false;
  /// `with_transaction` also retries after 55P03: lock_timeout passed, or NOWAIT met a lock.
  bool retry_lock_timeouts = false;
  /// Runs of the body at most, by `with_transaction`. Range 1 to 100.
  int attempts = 5;
};

/// A transaction on one pooled connection, rolled back unless committed. BEGIN travels with the
/// first statement. A statement that failed makes commit() throw, also when its exception was
/// swallowed.
/// Thread safety: one thread at a time. One that was moved from may only be assigned to or
/// destroyed.
class SOUNDHASH_DB_EXPORT transaction final : public executor {
 public:
  ~transaction() override;
  transaction(transaction&&) noexcept;
  transaction& operator=(transaction&&) noexcept;

  /// Ends in exactly one of: returned (committed); commit_in_doubt; anything else, rolled back for
  /// certain: constraint_violation, connection_error{lost} when the link broke before COMMIT was
  /// sent, else transaction_error. Without any statement nothing is sent.
  /// Throws: also invalid_argument when it was committed, or came to be in doubt, before.
  void commit();
  /// True once commit() has returned.
  [[nodiscard]] bool committed() const noexcept;

  /// Undoes everything. Never throws: a session that cannot roll back is closed, which the server
  /// takes as a rollback.
  void rollback() noexcept;

  /// For SQL of your own that changes what somebody reads through the cache: once the transaction
  /// is committed, and before commit() returns, the values with this tag are dropped. Repositories
  /// do this by themselves. A rollback drops nothing, a rolled back savepoint too much. Throws:
  /// transaction_error, invalid_argument when the transaction has failed or ended.
  void invalidate(const cache_tag& tag);

  /// Runs `body(tx)`; when it throws, only what it did is undone and the exception goes on.
  /// Throws: what the body throws; as executor.
  template <class F>
  auto savepoint(F&& body) {
    const auto mark = open_savepoint();
    try {
      if constexpr (std::is_void_v<std::invoke_result_t<F&, transaction&>>) {
        body(*this);
        release_savepoint(mark);
      } else {
        auto value = body(*this);
        release_savepoint(mark);
        return value;
      }
    } catch (...) {
      rollback_to_savepoint(mark);
      throw;
    }
  }

  struct impl;                                        ///< internal
  explicit transaction(std::unique_ptr<impl> state);  ///< internal: use database::begin

 private:
  void run(const query& statement, const params& values, const call_options& options,
           function_ref<void(const result&)> consume) override;
  std::unique_ptr<row_source> open_stream(const query& statement, const params& values,
                                          const call_options& options) override;
  void run_atomically(const call_options& options, function_ref<void(executor&)> body) override;
  void run_changing(std::string_view table, const call_options& options,
                    function_ref<void(executor&, tag_set&)> body) override;
  int open_savepoint();
  void release_savepoint(int mark);
  void rollback_to_savepoint(int mark) noexcept;

  std::unique_ptr<impl> state_;
};

}  // namespace soundhash::db
