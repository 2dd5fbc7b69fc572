#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <source_location>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <soundhash/db/exec/executor.hpp>
#include <soundhash/db/exec/transaction.hpp>
#include <soundhash/db/pool/pool_options.hpp>

#include "core/tag_listener.hpp"
#include "driver/connection.hpp"
#include "exec/call_counters.hpp"
#include "exec/retry_budget.hpp"
#include "exec/transaction_tracker.hpp"
#include "observe/interceptor_chain.hpp"
#include "pool/connection_pool.hpp"

namespace soundhash::db {

/// Rows that their reader keeps, and whether a cache may keep them too: a standby may lag behind.
struct fetched {
  result rows;
  bool from_primary = true;
};

/// What the executors of one database share: the pool, the interceptors and the default times.
/// Thread safety: safe for concurrent use.
class engine : public std::enable_shared_from_this<engine> {
 public:
  engine(const pool_options& limits, std::chrono::milliseconds statement_timeout,
         std::string endpoint, connection_pool::connector connect,
         pool_hooks<driver::connection> hooks, std::shared_ptr<metrics> registry,
         interceptor_chain watchers, std::shared_ptr<tag_listener> listener = nullptr);

  /// The call's deadline, or the default: acquire timeout + statement timeout + 1 s; none at all
  /// when statements have no timeout.
  [[nodiscard]] deadline effective(deadline wanted) const;

  /// How long any wait for the server may take where there is no deadline; zero: for ever.
  [[nodiscard]] std::chrono::milliseconds patience() const;

  /// Waits as long as the pool lets a caller wait, or until the deadline if that is earlier.
  [[nodiscard]] connection_pool::lease acquire(
      deadline until, std::stop_token stop = {},
      const std::source_location& where = std::source_location::current());
  /// The same for one statement, which reports of leaks name.
  [[nodiscard]] connection_pool::lease acquire_for(const query& statement, deadline until,
                                                   std::stop_token stop);

  /// Runs one statement outside a transaction; once more when retry_policy.hpp says so.
  void run(const query& statement, const params& values, const call_options& options,
           function_ref<void(const result&)> consume);
  /// The same, with the rows for the caller to keep.
  [[nodiscard]] fetched fetch(const query& statement, const params& values,
                              const call_options& options);

  /// Begins to read rows outside a transaction; once more as run() while there was none.
  [[nodiscard]] std::unique_ptr<row_source> open_stream(const query& statement,
                                                        const params& values,
                                                        const call_options& options);
  /// Runs statements outside a transaction that travel together; each once more as run().
  void run_pipeline(std::span<const std::shared_ptr<pipeline_step>> steps,
                    const call_options& options);

  [[nodiscard]] transaction begin(const transaction_options& options,
                                  const std::source_location& where);
  void with_transaction(const transaction_options& options, function_ref<void(transaction&)> body,
                        const std::source_location& where);

  /// Runs one statement on a session between on_start and on_finish of the interceptors.
  result observe(statement_event& event, driver::connection& on, const driver::statement& what);
  /// Gives the rows to `consume` and then reports the end of the statement.
  void deliver(statement_event& event, const result& rows,
               function_ref<void(const result&)> consume);
  /// Runs a command of a transaction ("COMMIT") as an event of its own; returns its tag.
  std::string observe_command(std::string_view name, driver::connection& on, std::string_view sql,
                              deadline until);
  /// Reports something that cost no time of its own.
  void report(statement_event& event);

  [[nodiscard]] connection_pool& pool() noexcept { return pool_; }
  [[nodiscard]] const interceptor_chain& watchers() const noexcept { return watchers_; }
  [[nodiscard]] metrics& registry() noexcept { return *registry_; }
  [[nodiscard]] call_counters& counters() noexcept { return counters_; }
  [[nodiscard]] transaction_tracker& tracker() noexcept { return tracker_; }
  /// Who must know what was changed; nullptr: nobody.
  [[nodiscard]] const std::shared_ptr<tag_listener>& listener() const noexcept { return listener_; }
  /// Retries and the ends of transactions.
  void add_figures(std::vector<figure>& out) const;

 private:
  void run(const query& statement, const params& values, const call_options& options,
           function_ref<void(const result&)> consume, fetched* keep);
  void run_once(const query& statement, const params& values, const call_options& options,
                function_ref<void(const result&)> consume, fetched* keep);
  [[nodiscard]] std::unique_ptr<row_source> open_stream_once(const query& statement,
                                                             const params& values,
                                                             const call_options& options);
  [[nodiscard]] bool may_run_once_more(const error& failure, access kind, deadline until);
  [[nodiscard]] bool may_run_once_more(const pipeline_step& step, deadline until);

  std::chrono::milliseconds acquire_timeout_;
  std::chrono::milliseconds statement_timeout_;
  std::shared_ptr<metrics> registry_;  // the chain refers to it
  interceptor_chain watchers_;
  std::shared_ptr<tag_listener> listener_;
  retry_budget budget_;
  call_counters counters_;
  transaction_tracker tracker_;
  connection_pool pool_;
};

}  // namespace soundhash::db
