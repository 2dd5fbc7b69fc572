#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <source_location>
#include <span>
#include <utility>

#include <soundhash/db/cache/cache.hpp>
#include <soundhash/db/database_options.hpp>
#include <soundhash/db/exec/transaction.hpp>
#include <soundhash/db/export.hpp>
#include <soundhash/db/observe/metrics.hpp>
#include <soundhash/db/pool/pool_stats.hpp>
#include <soundhash/db/pool/pooled_connection.hpp>
#include <soundhash/db/repository/channel_repository.hpp>
#include <soundhash/db/repository/fingerprint_repository.hpp>
#include <soundhash/db/repository/job_repository.hpp>
#include <soundhash/db/repository/match_result_repository.hpp>
#include <soundhash/db/repository/video_repository.hpp>

namespace soundhash::db {

/// A database: the pool, the interceptors, the metrics and the repositories over them. It is also
/// an executor: each statement runs on a pooled connection of its own, outside a transaction.
/// Thread safety: safe for concurrent use. A handle: copies share one pool, which closes with the
/// last of them; one that was moved from may only be assigned to or destroyed.
class SOUNDHASH_DB_EXPORT database final : public executor {
 public:
  /// Checks the options; connects to nothing yet.
  /// Throws: config_error.
  [[nodiscard]] static database open(const database_options& options);
  ~database() override;

  database(const database&);
  database& operator=(const database&);
  database(database&&) noexcept;
  database& operator=(database&&) noexcept;

  /// Connects once and checks server version (14 or later) and TimeZone, so that a service fails
  /// when it starts and not at its first request.
  /// Throws: connection_error, pool_error, timeout_error, config_error.
  void warm_up(deadline until = {});

  /// Repositories on this database: each call its own statement or transaction.
  [[nodiscard]] channel_repository channels() { return channel_repository{*this}; }
  [[nodiscard]] video_repository videos() { return video_repository{*this}; }
  [[nodiscard]] fingerprint_repository fingerprints() { return fingerprint_repository{*this}; }
  [[nodiscard]] match_result_repository match_results() { return match_result_repository{*this}; }
  [[nodiscard]] job_repository jobs() { return job_repository{*this}; }

  /// The same inside a transaction, or on any other executor.
  [[nodiscard]] static channel_repository channels(executor& on) { return channel_repository{on}; }
  [[nodiscard]] static video_repository videos(executor& on) { return video_repository{on}; }
  [[nodiscard]] static fingerprint_repository fingerprints(executor& on) {
    return fingerprint_repository{on};
  }
  [[nodiscard]] static match_result_repository match_results(executor& on) {
    return match_result_repository{on};
  }
  [[nodiscard]] static job_repository jobs(executor& on) { return job_repository{on}; }

  /// Begins a transaction that the caller commits.
  /// Throws: as executor; invalid_argument for options that exclude each other.
  /// `where` is shown by reports of leaks, here and below.
  [[nodiscard]] transaction begin(const transaction_options& options = {},
                                  std::source_location where = std::source_location::current());

  /// Runs `body(transaction&)` and commits. After 40001 or 40P01, also when COMMIT said so, the
  /// whole body runs again with a fresh transaction, after a jittered pause without a connection:
  /// ```
  /// for (attempt = 1;; ++attempt) {
  ///   try { transaction tx = begin(options); body(tx); tx.commit(); return; }
  ///   catch (serialization or deadlock) { if (attempt == options.attempts) throw; }
  ///   sleep(random(0 … 5 ms · 2^attempt, at most 1 s));
  /// }
  /// ```
  /// So the body must have no effect outside the transaction. Also tried again: a link lost before
  /// anything was sent; once, a read_only transaction whose link was lost and one that met a
  /// demoted primary; what the options allow besides. All retries of a database together are at
  /// most a tenth of its calls (three a second at least, 100 at once): beyond, the first error is
  /// thrown. The calls of a database inside the body, on its thread, are not tried again for what
  /// the body runs again for: let such an error leave the body.
  /// Returns what the body returns.
  /// Throws: what the body throws; as transaction::commit.
  template <class F>
  auto with_transaction(const transaction_options& options, F&& body,
                        std::source_location where = std::source_location::current()) {
    using returned = std::invoke_result_t<F&, transaction&>;
    if constexpr (std::is_void_v<returned>) {
      run_with_transaction(
          options, [&](transaction& tx) { body(tx); }, where);
    } else {
      std::optional<returned> value;
      run_with_transaction(
          options, [&](transaction& tx) { value.emplace(body(tx)); }, where);
      return std::move(*value);
    }
  }
  template <class F>
  auto with_transaction(F&& body, std::source_location where = std::source_location::current()) {
    return with_transaction(transaction_options{}, std::forward<F>(body), where);
  }

  /// A connection of the pool for native libpqxx code. With a deadline, the session is cut at that
  /// time, since libpqxx itself would wait for a silent server for ever.
  /// Throws: connection_error, pool_error, timeout_error, cancelled.
  [[nodiscard]] pooled_connection acquire(
      const call_options& options = {},
      std::source_location where = std::source_location::current());

  /// Changes how many connections the pool may have, as `pool_options::size` and `max_overflow`.
  /// Those too many close: idle ones now, others when they come back.
  /// Throws: config_error naming the member, its value and the range.
  void resize_pool(std::optional<std::size_t> size, std::optional<std::size_t> max_overflow);

  /// The cache for values of your own, and for telling of writes that were made elsewhere. Without
  /// REDIS_ENABLED it keeps nothing.
  [[nodiscard]] db::cache cache() const;

  [[nodiscard]] db::metrics& metrics() noexcept;
  [[nodiscard]] db::pool_stats pool_stats() const;
  /// As they were at open(): resize_pool() does not change them; `pool_stats().limit` tells of it.
  [[nodiscard]] const database_options& options() const noexcept;

  /// Waiters fail, holders are waited for until the deadline; those left are logged with the place
  /// where they acquired, and their sessions are cut. Later calls throw pool_error{pool_closed}.
  void close(deadline until = {});

 private:
  struct impl;
  explicit database(std::shared_ptr<impl> state);

  void run(const query& statement, const params& values, const call_options& options,
           function_ref<void(const result&)> consume) override;
  void run_atomically(const call_options& options, function_ref<void(executor&)> body) override;
  std::unique_ptr<row_source> open_stream(const query& statement, const params& values,
                                          const call_options& options) override;
  void run_pipeline(std::span<const std::shared_ptr<pipeline_step>> steps,
                    const call_options& options) override;
  void run_cached(const query& statement, const params& values, const call_options& options,
                  const cached& how, read_sink& into) override;
  void run_changing(std::string_view table, const call_options& options,
                    function_ref<void(executor&, tag_set&)> body) override;
  void run_with_transaction(const transaction_options& options,
                            function_ref<void(transaction&)> body,
                            const std::source_location& where);

  std::shared_ptr<impl> state_;
};

}  // namespace soundhash::db
