#include "repository/job_locks.hpp"

#include <tuple>

#include <soundhash/db/core/error.hpp>

namespace soundhash::db {
namespace {

constexpr query lock_target{
    "job.lock_target",
    "SELECT pg_advisory_xact_lock_shared("
    "         hashtextextended(concat_ws(chr(31), 'soundhash.job_type', $1::text), 0)), "
    "       pg_advisory_xact_lock("
    "         hashtextextended(concat_ws(chr(31), 'soundhash.job', $1::text, $2::text), 0)), "
    "       current_setting('transaction_isolation') AS isolation"};

constexpr query lock_types{
    "job.lock_types",
    "SELECT pg_advisory_xact_lock(key), current_setting('transaction_isolation') AS isolation "
    "FROM (SELECT DISTINCT hashtextextended(concat_ws(chr(31), 'soundhash.job_type', job_type), 0) "
    "               AS key "
    "      FROM unnest($1::text[]) AS given(job_type) ORDER BY key) AS keys"};

struct lock_taken {
  std::string isolation;
};

void require_read_committed(const std::vector<lock_taken>& locks) {
  const auto& isolation = locks.at(0).isolation;
  if (isolation == "read committed" || isolation == "read uncommitted") return;
  throw invalid_argument{"transaction isolation",
                         "jobs are created unless absent in READ COMMITTED only: the snapshot of a "
                         "stricter transaction may be older than another caller's job"};
}

}  // namespace

template <>
struct row_traits<lock_taken> {
  static constexpr auto columns = std::tuple{column{"isolation", &lock_taken::isolation}};
};

void lock_job_target(executor& inside, std::string_view job_type, std::string_view target_id,
                     const call_options& options) {
  require_read_committed(inside.all<lock_taken>(lock_target, {job_type, target_id}, options));
}

void lock_job_types(executor& inside, const std::vector<std::string>& job_types,
                    const call_options& options) {
  require_read_committed(inside.all<lock_taken>(lock_types, {job_types}, options));
}

}  // namespace soundhash::db
