#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <soundhash/db/core/page.hpp>
#include <soundhash/db/exec/executor.hpp>
#include <soundhash/db/export.hpp>
#include <soundhash/db/model/job.hpp>
#include <soundhash/db/model/job_lease.hpp>

namespace soundhash::db {

/// Reads and writes `processing_jobs`, and the leases of workers in `soundhash_job_leases`.
///
/// What is done with a lease (claim, heartbeat, set_progress, complete, fail, release) holds
/// against every other worker of this library, however late it comes: the statement first locks the
/// lease's row, so that a lease that was lost meanwhile changes nothing. A job that somebody took
/// out of running by its id, also the Python services by cancelling it, has lost its lease as well.
/// But the Python workers claim without a lease, from a list that may be minutes old, and set
/// running whatever was there: let one kind of worker, C++ or Python, work on a job type.
///
/// The table has no unique key for (job_type, target_id). The `…_if_absent` methods therefore take
/// advisory locks of their own, held until the transaction ends, which exclude each other among
/// all users of this library but not the Python services: one job takes its type's lock shared and
/// its target's exclusively, a batch takes each of its types' locks exclusively. They need READ
/// COMMITTED. In a transaction that does both, the batch goes first, otherwise two such
/// transactions can deadlock, and one of them runs again.
///
/// Wherever statuses are given, an empty list means any status.
///
/// Thread safety and lifetime: those of the executor it is made from, which must outlive it.
/// Throws, from every method: as executor; invalid_argument before anything is sent when a text is
/// too long, not UTF-8 or has a NUL byte, a progress is not 0 to 1, a limit is not 1 to 10000, or a
/// cursor is not of the list; in a batch it carries the row.
class SOUNDHASH_DB_EXPORT job_repository {
 public:
  using statuses = std::vector<std::string_view>;

  explicit job_repository(executor& on) noexcept : on_{&on} {}

  /// Creates a job whether or not there is one like it.
  job create(const new_job& values, const call_options& options = {});

  /// Creates the job unless its type and target have one in one of these statuses: then nullopt.
  /// Throws: also invalid_argument in a transaction that is not READ COMMITTED.
  std::optional<job> create_if_absent(const new_job& values,
                                      const statuses& unless = {job_status::pending,
                                                                job_status::running},
                                      const call_options& options = {});
  /// The same for many, all or none: returns the jobs that were created, in the order of `rows`. Of
  /// several rows with one type and target the first counts. Three round trips for up to 5000 rows.
  std::vector<job> create_batch_if_absent(std::span<const new_job> rows,
                                          const statuses& unless = {job_status::pending,
                                                                    job_status::running},
                                          const call_options& options = {});

  [[nodiscard]] std::optional<job> find(std::int32_t id, const call_options& options = {});
  [[nodiscard]] bool exists(std::string_view job_type, std::string_view target_id,
                            const statuses& in = {}, const call_options& options = {});
  /// Those of these targets that have such a job. 1000 targets a query.
  [[nodiscard]] std::set<std::string, std::less<>> exist_batch(
      std::string_view job_type, std::span<const std::string> target_ids, const statuses& in = {},
      const call_options& options = {});
  /// Jobs of a target, the newest first; those without a created_at come before.
  [[nodiscard]] db::page<job> by_target(std::string_view job_type, std::string_view target_id,
                                        const statuses& in = {}, int limit = 100,
                                        const cursor& after = {}, const call_options& options = {});

  /// Pending jobs, the oldest first and those without a created_at last; of one type when given.
  /// Claims nothing. Jobs that are claimed meanwhile shift nothing; one that becomes pending again
  /// returns to its place by age, which may lie before the cursor. So workers begin anew each time.
  [[nodiscard]] db::page<job> pending(std::optional<std::string_view> job_type = {}, int limit = 10,
                                      const cursor& after = {}, const call_options& options = {});
  /// Failed jobs of a type, the newest first; those without a created_at come before.
  [[nodiscard]] db::page<job> failed(std::string_view job_type, int limit = 100,
                                     const cursor& after = {}, const call_options& options = {});

  /// All jobs by id.
  [[nodiscard]] db::page<job> page(const cursor& after = {}, int limit = 100,
                                   const call_options& options = {});

  /// Takes up to `n` pending jobs of these types for the caller alone, the oldest first, and sets
  /// them running with started_at now, progress 0 and no completed_at. Jobs that another caller is
  /// just claiming, and those that wait for their retry, are passed over. The lease lasts for
  /// `lease` (1 ms to 1 day): heartbeat() prolongs it, and once it has expired rescue_expired()
  /// gives the job back. A created_at that no timestamp can hold, as infinity, is returned as
  /// nullopt and stays as it is.
  /// Throws, as all that is about leases: also migration_error{migration_pending} when the schema
  /// has no leases yet, below 0100.
  std::vector<leased_job> claim(const std::vector<std::string>& job_types, int n,
                                std::chrono::milliseconds lease = std::chrono::minutes{1},
                                const call_options& options = {});

  /// Prolongs these leases to `lease` from now. Returns the ids, ascending, of the jobs that are
  /// still held; any other was lost or cancelled: stop working on it.
  std::vector<std::int32_t> heartbeat(const std::vector<job_lease>& leases,
                                      std::chrono::milliseconds lease = std::chrono::minutes{1},
                                      const call_options& options = {});
  /// Sets progress, and current_step unless `step` is empty. False when the job is not held any
  /// more, and then nothing is changed.
  bool set_progress(const job_lease& lease, double progress, std::string_view step = {},
                    const call_options& options = {});

  /// Completes those of these jobs that are still held, and ends their leases. Returns their ids,
  /// ascending. In a transaction this is the fence of all that the transaction writes: commit only
  /// when the job was held.
  std::vector<std::int32_t> complete(const std::vector<job_lease>& leases,
                                     const call_options& options = {});
  /// Ends the run of those that are still held, with `error` as their error_message, and returns
  /// their ids, ascending. With `again`, those that have retries left (retry_count below
  /// max_retries) become pending with retry_count one higher, and may be claimed when they have
  /// waited; the others become failed.
  std::vector<std::int32_t> fail(const std::vector<job_lease>& leases, std::string_view error,
                                 const std::optional<job_backoff>& again = job_backoff{},
                                 const call_options& options = {});
  /// Gives those that are still held back, unfinished: pending at once, which counts as no retry.
  /// Returns their ids, ascending.
  std::vector<std::int32_t> release(const std::vector<job_lease>& leases,
                                    const call_options& options = {});
  /// Makes up to `limit` jobs pending whose lease has expired, of all types: their workers died, or
  /// hang. This counts as no retry. Returns their ids, ascending. Jobs that another transaction has
  /// locked are left to the next rescue, and those without a lease, which the Python services run,
  /// alone.
  std::vector<std::int32_t> rescue_expired(int limit = 1000, const call_options& options = {});

  /// Sets the status whatever it was, as the Python services do: started_at when it becomes running
  /// for the first time, completed_at when completed or failed. False when there is no such job.
  bool update_status(std::int32_t id, std::string_view status, const job_update& update = {},
                     const call_options& options = {});

  /// Makes a failed or completed job pending again, with retry_count one higher and what it had
  /// reached cleared. False when it is neither.
  bool retry(std::int32_t id, const call_options& options = {});
  /// Cancels a pending or running job; `reason` becomes its error_message. False when it is
  /// neither. A worker that holds it learns of it at its next heartbeat and cannot complete it.
  bool cancel(std::int32_t id, std::string_view reason = "Cancelled",
              const call_options& options = {});

  [[nodiscard]] std::int64_t count_by_status(std::string_view status,
                                             const call_options& options = {});
  /// Every status that occurs, in one query.
  [[nodiscard]] std::vector<status_count> counts_by_status(const call_options& options = {});

 private:
  executor* on_;
};

}  // namespace soundhash::db
