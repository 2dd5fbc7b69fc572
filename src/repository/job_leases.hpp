#pragma once

#include <cstdint>
#include <vector>

#include <soundhash/db/exec/executor.hpp>
#include <soundhash/db/model/job_lease.hpp>

namespace soundhash::db {

/// Locks what ending these jobs would lock, until the transaction ends, but waits for nobody.
/// Returns the ids, ascending, of the jobs that another transaction has locked; to end the others
/// waits for no lock of theirs.
std::vector<std::int32_t> lock_or_pass_over(executor& inside, const std::vector<job_lease>& leases,
                                            const call_options& options);

}  // namespace soundhash::db
