#pragma once

#include "repository/column_limits.hpp"
#include "repository/columns.hpp"

// What the statements about jobs and those about their leases share.

/// The columns of a job, with `created_at` in its place; `j` is "j." or "".
#define SOUNDHASH_DB_JOB_COLUMNS_WITH(j, created_at)                                           \
  j "id, " j "job_type, " j "status, " j "target_id, " j "parameters, " j "progress, " j       \
    "current_step, " created_at ", " j "started_at, " j "completed_at, " j "error_message, " j \
    "retry_count, " j "max_retries"
#define SOUNDHASH_DB_JOB_COLUMNS(j) SOUNDHASH_DB_JOB_COLUMNS_WITH(j, j "created_at")

/// What an UPDATE sets when a job is to be run from its beginning.
#define SOUNDHASH_DB_JOB_PENDING_AGAIN                                         \
  "status = 'pending', progress = 0, current_step = NULL, started_at = NULL, " \
  "completed_at = NULL"

namespace soundhash::db {

inline constexpr limits::text_column job_type_column{"job_type", 50};
inline constexpr limits::text_column current_step_column{"current_step", 200};
inline constexpr limits::text_column error_message_column{"error_message"};

inline void check_progress(double progress, limits::row_number row = {}) {
  limits::check_range("progress", progress, 0.0, 1.0, row);
}

}  // namespace soundhash::db
