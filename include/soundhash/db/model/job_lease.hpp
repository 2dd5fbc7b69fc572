#pragma once

#include <chrono>
#include <concepts>
#include <cstdint>
#include <tuple>

#include <soundhash/db/core/row_traits.hpp>
#include <soundhash/db/core/timestamp.hpp>
#include <soundhash/db/model/job.hpp>

namespace soundhash::db {

/// The right to work on one run of a job. Whoever claimed the job holds it until it ends the run,
/// or until the lease has expired and somebody rescued the job: from then on nothing that is done
/// with this lease changes the job.
struct job_lease {
  std::int32_t job_id = 0;
  /// A fencing token: no two leases have the same, and a later lease of a job has a greater one.
  std::int64_t token = 0;

  friend bool operator==(const job_lease&, const job_lease&) = default;
};

template <std::same_as<job_lease> T>
struct row_traits<T> {
  static constexpr auto columns =
      std::tuple{column{"job_id", &T::job_id}, column{"token", &T::token}};
};

/// A job that was claimed.
struct leased_job {
  db::job job;
  job_lease lease;
  timestamp expires_at;  ///< by the server's clock, unless a heartbeat comes first
};

template <std::same_as<leased_job> T>
struct row_traits<T> {
  static constexpr auto columns = std::tuple{column{"", &T::job}, column{"lease.", &T::lease},
                                             column{"expires_at", &T::expires_at}};
};

/// How long a failed job waits until it may be claimed again: before the n-th retry half to all of
/// min(`most`, `first` · 2ⁿ⁻¹), at random.
struct job_backoff {
  std::chrono::milliseconds first{10'000};    ///< range 0 to `most`
  std::chrono::milliseconds most{3'600'000};  ///< range 0 to 365 days
};

}  // namespace soundhash::db
