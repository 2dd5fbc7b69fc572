#pragma once

#include <stdexcept>
#include <stop_token>
#include <string_view>

#include <soundhash/db/core/deadline.hpp>
#include <soundhash/db/exec/executor.hpp>
#include <soundhash/db/export.hpp>
#include <soundhash/db/model/job_lease.hpp>

namespace soundhash::db {

/// Thrown by a handler of jobs: trying again is of no use, the job fails for good.
class SOUNDHASH_DB_EXPORT job_unrecoverable : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
  ~job_unrecoverable() override;
};

/// What the handler of a job_worker is given: the job, and what it may do with it.
/// Thread safety: safe for concurrent use, except complete().
class SOUNDHASH_DB_EXPORT job_run {
 public:
  /// The worker makes it. A test of a handler may do so too: `on` must outlive it.
  job_run(leased_job claimed, executor& on, std::stop_source stop = {});
  job_run(const job_run&) = delete;
  job_run& operator=(const job_run&) = delete;

  [[nodiscard]] const db::job& job() const noexcept { return claimed_.job; }
  [[nodiscard]] const job_lease& lease() const noexcept { return claimed_.lease; }

  /// Asks to stop when the job is not held any more (its lease was lost, or it was cancelled), when
  /// the lease may have run out because the database could not be reached, and when the worker
  /// stops. Hand it on: `{.stop = run.stop()}` in the options of calls.
  [[nodiscard]] std::stop_token stop() const noexcept { return stop_.get_token(); }

  /// Sets progress (0 to 1), and current_step unless `step` is empty. False when the job is not
  /// held any more, and then stop() asks to stop. Takes a connection of its own, so not inside a
  /// transaction of the handler's.
  /// Throws: as job_repository::set_progress.
  bool set_progress(double progress, std::string_view step = {}, const call_options& options = {});

  /// Completes the job as part of a transaction, so that what the transaction writes happens
  /// exactly once: as its last statement, before the commit. Without this, the worker completes the
  /// job after the handler has returned, and what the handler wrote may happen once more if the
  /// process dies in between.
  /// Throws: cancelled when the job is not held any more; as job_repository::complete.
  void complete(executor& inside, const call_options& options = {});
  /// Has complete() been called with success? Whether its transaction was committed is not known
  /// here: a handler whose transaction was not must throw.
  [[nodiscard]] bool completed() const noexcept { return completed_; }

 private:
  leased_job claimed_;
  executor* on_;
  std::stop_source stop_;
  bool completed_ = false;
};

}  // namespace soundhash::db
