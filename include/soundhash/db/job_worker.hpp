#pragma once

#include <chrono>
#include <cstddef>
#include <functional>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include <soundhash/db/database.hpp>
#include <soundhash/db/export.hpp>
#include <soundhash/db/job_run.hpp>
#include <soundhash/db/model/job_lease.hpp>

namespace soundhash::db {

/// How a job_worker works.
struct job_worker_options {
  std::vector<std::string> job_types{};  ///< at least one
  /// Jobs at once, each on a thread of its own. Range 1 to 1000. The pool should have a connection
  /// for each, and one more. Of jobs that have ended but cannot be settled as many again do not
  /// count.
  std::size_t concurrency = 1;
  /// How long a job of a worker that died stays with it. A live worker prolongs its leases three
  /// times in this time. Range 100 ms to 1 day.
  std::chrono::milliseconds lease{60'000};
  /// How long a job can wait that nobody notified of: half to all of this time. Range 1 ms to 1
  /// day.
  std::chrono::milliseconds poll_interval{1'000};
  /// Wait for notifications of new jobs (migration 0101) on a connection of its own beside the
  /// pool. Not behind a pooler.
  bool listen = true;
  /// When a job whose handler threw is tried again, while it has retries left; nullopt: never.
  std::optional<job_backoff> retry = job_backoff{};
  /// How long handlers may go on once the worker shall stop, until job_run::stop() asks them to
  /// stop as well. Range 0 to 1 day.
  std::chrono::milliseconds grace{30'000};
};

/// Claims jobs and hands each to a function, on as many threads as there may be jobs at once.
///
/// A handler that returns has done its job, which is then completed; one that throws has failed,
/// and the job is tried again later with the text of the exception as its error_message (see
/// job_unrecoverable for "never again"). One that throws after job_run::stop() asked to stop has
/// given up: the job is pending again at once, which counts as no retry. A job is completed once,
/// by whoever holds its lease; a handler that has lost it may run on until it looks at its stop(),
/// and one whose process died has run in part: what handlers write should be safe to repeat, or
/// part of the transaction that completes the job (job_run::complete).
///
/// A job whose end cannot be written, since somebody's transaction has locked its row or the server
/// refuses the change, is tried again and again while the worker goes on with the others; the log
/// names it and the cause. A text of a failure that the server refuses is replaced by its SQLSTATE.
///
/// Leases that have expired are rescued, whoever held them. While the database cannot be reached,
/// the worker tries again, and says so once in the log.
/// Thread safety: safe for concurrent use; each run() is a worker of its own.
class SOUNDHASH_DB_EXPORT job_worker {
 public:
  /// Called from several threads at once when there may be several jobs.
  using handler = std::function<void(job_run&)>;

  /// Throws: config_error for an option out of its range; invalid_argument for a job type that is
  /// too long, not UTF-8 or has a NUL byte, and for an empty handler.
  job_worker(database on, job_worker_options options, handler work);

  /// Works until a stop is requested and the handlers have returned: they are not interrupted.
  /// What cannot be settled then is left to whoever rescues it as soon as its lease has expired.
  /// Throws: what no further try would mend: migration_error{migration_pending} below schema 0100,
  /// query_error when a privilege is missing or the schema is another one (SQLSTATE class 42),
  /// pool_error when the database was closed, connection_error for a wrong password; first the
  /// handlers are asked to stop and waited for.
  void run(const std::stop_token& stop) const;

 private:
  database on_;
  job_worker_options options_;
  handler work_;
};

}  // namespace soundhash::db
