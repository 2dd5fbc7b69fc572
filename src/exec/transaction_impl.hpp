#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <source_location>
#include <string>
#include <string_view>

#include <soundhash/db/exec/transaction.hpp>

#include "exec/change_log.hpp"
#include "exec/engine.hpp"

namespace soundhash::db {

class open_stream;

/// States: fresh (nothing sent) → open → committed, in doubt or finished (rolled back); `failed`
/// marks an open transaction in which a statement failed outside a savepoint.
struct transaction::impl {
  impl(std::shared_ptr<engine> shared, const transaction_options& wanted,
       const std::source_location& where);
  ~impl();
  impl(const impl&) = delete;
  impl& operator=(const impl&) = delete;

  void run(const query& statement, const params& values, const call_options& call,
           function_ref<void(const result&)> consume);
  [[nodiscard]] std::unique_ptr<row_source> open_stream(const query& statement,
                                                        const params& values,
                                                        const call_options& call);
  void stream_ended(const error* failure) noexcept;
  void run_changing(std::string_view table, executor& self,
                    function_ref<void(executor&, tag_set&)> body);
  void invalidate(const cache_tag& tag);
  void commit();
  void rollback() noexcept;
  int open_savepoint();
  void release_savepoint(int mark);
  void rollback_to_savepoint(int mark) noexcept;

  enum class state : unsigned char { fresh, open, committed, in_doubt, finished };

  [[nodiscard]] bool committed() const noexcept { return at == state::committed; }
  [[nodiscard]] bool ended() const noexcept { return at != state::fresh && at != state::open; }

  [[nodiscard]] deadline limit(deadline call) const;
  void require_open() const;
  void require_not_reading() const;
  void stop_reading() noexcept;
  [[nodiscard]] driver::statement to_send(const query& statement, const params& values,
                                          const call_options& call) const;
  void command(std::string_view name, const std::string& sql);
  void begun();
  void finish(state how);
  [[nodiscard]] transaction_identity identify();
  void commit_open();
  void announce_changes();
  void send_commit();
  [[noreturn]] void throw_not_committed(const error& cause);
  [[noreturn]] void throw_ended_by(const query& statement);
  [[noreturn]] void throw_in_doubt(const error& cause, const transaction_identity& about,
                                   int backend_pid);

  std::shared_ptr<engine> owner;
  transaction_options options;
  std::string begin_sql;
  connection_pool::lease lease;
  state at = state::fresh;
  bool failed = false;
  std::size_t answered = 0;  ///< statements that did not fail
  change_log changes;
  int savepoints = 0;
  db::open_stream* reading = nullptr;  ///< the stream that has the session now
};

}  // namespace soundhash::db
