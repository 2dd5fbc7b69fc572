#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <soundhash/db/exec/executor.hpp>
#include <soundhash/db/export.hpp>
#include <soundhash/db/model/job.hpp>

namespace soundhash::db {

/// Reads and writes `processing_jobs`.
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
/// too long, not UTF-8 or has a NUL byte, a progress is not 0 to 1, or a limit is not 1 to 10000;
/// in a batch it carries the row.
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
  /// The newest first.
  [[nodiscard]] std::vector<job> by_target(std::string_view job_type, std::string_view target_id,
                                           const statuses& in = {},
                                           const call_options& options = {});

  /// Pending jobs, the oldest first; of one type when given. Claims nothing.
  [[nodiscard]] std::vector<job> pending(std::optional<std::string_view> job_type = {},
                                         int limit = 10, const call_options& options = {});
  /// Failed jobs of a type, the newest first.
  [[nodiscard]] std::vector<job> failed(std::string_view job_type, int limit = 100,
                                        const call_options& options = {});

  /// Takes up to `n` pending jobs of these types for the caller alone, the oldest first, and sets
  /// them running with started_at now and progress 0. Jobs that another caller is just claiming are
  /// passed over.
  std::vector<job> claim(const std::vector<std::string>& job_types, int n,
                         const call_options& options = {});

  /// Sets the status whatever it was, as the Python services do: started_at when it becomes running
  /// for the first time, completed_at when completed or failed. False when there is no such job.
  bool update_status(std::int32_t id, std::string_view status, const job_update& update = {},
                     const call_options& options = {});

  /// Sets progress, and current_step unless `step` is empty, of a running job. False when the job
  /// is not running any more (cancelled, say), and then nothing is changed.
  bool set_progress(std::int32_t id, double progress, std::string_view step = {},
                    const call_options& options = {});

  /// Completes those of these jobs that are running and returns their ids, ascending.
  std::vector<std::int32_t> complete(const std::vector<std::int32_t>& ids,
                                     const call_options& options = {});
  /// Fails those of these jobs that are running and returns their ids, ascending.
  std::vector<std::int32_t> fail(const std::vector<std::int32_t>& ids, std::string_view error,
                                 const call_options& options = {});

  /// Makes a failed or completed job pending again, with retry_count one higher and what it had
  /// reached cleared. False when it is neither.
  bool retry(std::int32_t id, const call_options& options = {});
  /// Cancels a pending or running job; `reason` becomes its error_message. False when it is
  /// neither.
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
