#pragma once

#include <string>
#include <string_view>
#include <vector>

#include <soundhash/db/exec/executor.hpp>

namespace soundhash::db {

// The advisory locks behind "create unless there is one", held until the transaction ends. Taken in
// a statement of their own: the INSERT that follows must have a younger snapshot than the locks.
// Throws, both: invalid_argument when the transaction is not READ COMMITTED and so has no younger
// snapshot to offer.

/// Shares the job type's lock and takes the target's alone.
void lock_job_target(executor& inside, std::string_view job_type, std::string_view target_id,
                     const call_options& options);

/// Takes the locks of all these job types alone, in an order that is the same for all callers.
void lock_job_types(executor& inside, const std::vector<std::string>& job_types,
                    const call_options& options);

}  // namespace soundhash::db
