#include "repository/job_leases.hpp"

#include <algorithm>
#include <tuple>
#include <utility>

#include <soundhash/db/core/error.hpp>
#include <soundhash/db/core/sqlstate.hpp>
#include <soundhash/db/repository/job_repository.hpp>

#include "repository/column_array.hpp"
#include "repository/job_columns.hpp"
#include "repository/row_tags.hpp"

#define COLUMNS SOUNDHASH_DB_JOB_COLUMNS
#define NOW SOUNDHASH_DB_UTC_NOW

// The fence. An UPDATE that has waited for a job's row looks at that row once more, but not at
// other tables: so the leases' rows are locked first, and what is locked is not lost any more. In
// the order of their jobs, so that overlapping batches cannot deadlock.

// The leases among ($1, $2) that nobody has taken over; `lock` may add SKIP LOCKED.
#define GIVEN                                                    \
  "FROM unnest($1::int4[], $2::int8[]) AS given(job_id, token) " \
  "JOIN soundhash_job_leases AS l ON l.job_id = given.job_id AND l.token = given.token "
#define MINE_BY(lock)                                               \
  "WITH mine AS MATERIALIZED (SELECT l.job_id, l.started_at " GIVEN \
  "ORDER BY l.job_id FOR UPDATE OF l" lock ")"
#define MINE MINE_BY("")

// A lease is of one run: a job that was taken out of running by its id, and then run again by
// somebody without a lease, is not held by the old one.
#define HELD "j.id = mine.job_id AND j.status = 'running' AND j.started_at = mine.started_at"

#define END_LEASES "DELETE FROM soundhash_job_leases AS l USING mine WHERE l.job_id = mine.job_id"

#define HAS_RETRIES "COALESCE(j.retry_count, 0) < COALESCE(j.max_retries, 3)"

#define MILLISECONDS " * interval '1 millisecond'"

namespace soundhash::db {
namespace {

using std::chrono::milliseconds;

// A claim that does not read such a job would come upon it again and again.
#define READABLE_CREATED_AT                                                                \
  "CASE WHEN taken.created_at BETWEEN '0001-01-01' AND '9999-12-31 23:59:59.999999' THEN " \
  "taken.created_at END AS created_at"

// MATERIALIZED: folded into the UPDATE, the LIMIT may be evaluated more than once and claim more.
// statement_timestamp(), which stands still: with a clock that moves there is no anti join, and a
// plan that sorts would look for the lease of every pending job.
// The leases come first, and ask once more whether the old one has expired: a job that was claimed
// and failed after this claim had begun is pending again, and waits.
constexpr query claim_pending{
    "job.claim",
    "WITH due AS MATERIALIZED (SELECT p.id FROM processing_jobs AS p WHERE p.status = 'pending' "
    "AND p.job_type = ANY($1::text[]) AND NOT EXISTS (SELECT FROM soundhash_job_leases AS l "
    "WHERE l.job_id = p.id AND l.expires_at > timezone('utc', statement_timestamp())) "
    "ORDER BY p.created_at, p.id LIMIT $2 FOR UPDATE OF p SKIP LOCKED), "
    "leased AS (INSERT INTO soundhash_job_leases AS l (job_id, started_at, expires_at) "
    "SELECT id, " NOW ", " NOW " + $3::int8" MILLISECONDS " FROM due ORDER BY id "
    "ON CONFLICT (job_id) DO UPDATE SET token = DEFAULT, started_at = EXCLUDED.started_at, "
    "expires_at = EXCLUDED.expires_at "
    "WHERE l.expires_at <= timezone('utc', statement_timestamp()) "
    "RETURNING l.job_id, l.token, l.started_at, l.expires_at), "
    "taken AS (UPDATE processing_jobs AS j SET status = 'running', "
    "started_at = leased.started_at, completed_at = NULL, progress = 0 "
    "FROM leased WHERE j.id = leased.job_id RETURNING " COLUMNS("j.")
    ") SELECT " SOUNDHASH_DB_JOB_COLUMNS_WITH("taken.", READABLE_CREATED_AT)
    ", leased.job_id AS \"lease.job_id\", leased.token AS \"lease.token\", leased.expires_at "
    "FROM taken JOIN leased ON leased.job_id = taken.id"};

// What an UPDATE of the job and the end of its lease lock, and no more.
constexpr query lock_to_end{
    "job.lock_to_end",
    "WITH free AS MATERIALIZED (SELECT l.job_id " GIVEN
    "JOIN processing_jobs AS j ON j.id = l.job_id ORDER BY l.job_id "
    "FOR UPDATE OF l SKIP LOCKED FOR NO KEY UPDATE OF j SKIP LOCKED) SELECT l.job_id " GIVEN
    "JOIN processing_jobs AS j ON j.id = l.job_id "
    "WHERE NOT EXISTS (SELECT FROM free WHERE free.job_id = l.job_id)"};

// Never waits, since the other leases would expire meanwhile. A lease that is locked is being used
// or rescued: it counts as held, and the next heartbeat knows what came of it.
constexpr query prolong_leases{
    "job.heartbeat",
    MINE_BY(" SKIP LOCKED") ", prolonged AS (UPDATE soundhash_job_leases AS l SET expires_at = " NOW
                            " + $3::int8" MILLISECONDS
                            " FROM mine JOIN processing_jobs AS j ON " HELD
                            " WHERE l.job_id = mine.job_id RETURNING l.job_id) "
                            "SELECT job_id FROM prolonged UNION SELECT l.job_id " GIVEN
                            "WHERE NOT EXISTS (SELECT FROM mine WHERE mine.job_id = l.job_id)"};

constexpr query set_held_progress{
    "job.set_progress", MINE
    " UPDATE processing_jobs AS j SET progress = $3, "
    "current_step = COALESCE(NULLIF($4, ''), j.current_step) FROM mine WHERE " HELD};

constexpr query complete_held{
    "job.complete", MINE
    ", done AS (UPDATE processing_jobs AS j SET status = 'completed', progress = 1, "
    "error_message = NULL, completed_at = " NOW " FROM mine WHERE " HELD
    " RETURNING j.id), "
    "ended AS (" END_LEASES ") SELECT id FROM done"};

// The lease of a job that waits for its retry stays: as nobody's, until the job may be claimed.
constexpr query fail_held{
    "job.fail",
    MINE ", again AS (UPDATE processing_jobs AS j SET " SOUNDHASH_DB_JOB_PENDING_AGAIN
         ", error_message = COALESCE(NULLIF($3, ''), j.error_message), "
         "retry_count = COALESCE(j.retry_count, 0) + 1 "
         "FROM mine WHERE " HELD " AND $4::bool AND " HAS_RETRIES
         " RETURNING j.id, j.retry_count), "
         "given_up AS (UPDATE processing_jobs AS j SET status = 'failed', "
         "error_message = COALESCE(NULLIF($3, ''), j.error_message), completed_at = " NOW
         " FROM mine WHERE " HELD " AND NOT ($4::bool AND " HAS_RETRIES
         ") RETURNING j.id), "
         "waiting AS (UPDATE soundhash_job_leases AS l SET token = DEFAULT, expires_at = " NOW
         " + LEAST($6::float8, $5::float8 * power(2, LEAST(again.retry_count - 1, 100))) "
         "* (0.5 + random() / 2)" MILLISECONDS
         " FROM again WHERE l.job_id = again.id), "
         "ended AS (" END_LEASES
         " AND NOT EXISTS (SELECT FROM again WHERE again.id = l.job_id)) "
         "SELECT id FROM again UNION ALL SELECT id FROM given_up"};

constexpr query release_held{
    "job.release", MINE ", back AS (UPDATE processing_jobs AS j SET " SOUNDHASH_DB_JOB_PENDING_AGAIN
                        " FROM mine WHERE " HELD
                        " RETURNING j.id), "
                        "ended AS (" END_LEASES ") SELECT id FROM back"};

// Waits neither for a lease nor for a job: whoever has locked a job of a dead worker holds up this
// job alone, whose lease stays for the next rescue.
constexpr query rescue{
    "job.rescue_expired",
    "WITH mine AS MATERIALIZED (SELECT l.job_id, l.started_at FROM soundhash_job_leases AS l "
    "WHERE l.expires_at <= " NOW
    " ORDER BY l.job_id LIMIT $1 FOR UPDATE SKIP LOCKED), "
    "free AS MATERIALIZED (SELECT j.id FROM mine JOIN processing_jobs AS j ON " HELD
    " FOR NO KEY UPDATE OF j SKIP LOCKED), "
    "back AS (UPDATE processing_jobs AS j SET " SOUNDHASH_DB_JOB_PENDING_AGAIN
    " FROM free WHERE j.id = free.id RETURNING j.id), "
    "ended AS (" END_LEASES
    " AND (EXISTS (SELECT FROM free WHERE free.id = l.job_id) "
    "OR NOT EXISTS (SELECT FROM processing_jobs AS j WHERE " HELD
    ")))"
    " SELECT id FROM back"};

void check_duration(std::string_view name, milliseconds value, milliseconds low,
                    milliseconds high) {
  const auto count = [](milliseconds of) { return static_cast<double>(of.count()); };
  limits::check_range(name, count(value), count(low), count(high));
}

void check_lease(milliseconds lease) {
  check_duration("lease", lease, milliseconds{1}, std::chrono::hours{24});
}

/// Runs `body(executor&)` in a transaction, since only that is tried again after a deadlock: with
/// somebody else's writes, or with a lease that somebody's UPDATE by id left behind.
template <class F>
auto on_leases(executor& on, F&& body, const call_options& options) {
  try {
    return on.atomically(std::forward<F>(body), options);
  } catch (const query_error& failure) {
    if (failure.sqlstate() != sqlstate::undefined_table) throw;
    throw migration_error{errc::migration_pending,
                          "the schema has no table soundhash_job_leases, without which no job can "
                          "be claimed: run soundhash-db migrate up (version 0100)",
                          failure.sqlstate()};
  }
}

/// Runs a statement that returns the ids of the jobs that it changed.
std::vector<std::int32_t> change_jobs(executor& on, const query& statement, const params& values,
                                      const call_options& options) {
  return on_leases(
      on,
      [&](executor& inside) {
        return inside.changing(
            table::processing_jobs,
            [&](executor& writing, tag_set& changed) {
              auto ids = writing.all<std::int32_t>(statement, values, options);
              for (const auto id : ids) add_job(changed, id);
              std::sort(ids.begin(), ids.end());
              return ids;
            },
            options);
      },
      options);
}

column_array<job_lease, std::int32_t> jobs_of(const std::vector<job_lease>& leases) {
  return {leases, &job_lease::job_id};
}
column_array<job_lease, std::int64_t> tokens_of(const std::vector<job_lease>& leases) {
  return {leases, &job_lease::token};
}

/// ORDER BY created_at, id: NULLs last. RETURNING promises no order.
void sort_by_age(std::vector<leased_job>& claimed) {
  const auto age = [](const leased_job& one) {
    return std::tuple{!one.job.created_at, one.job.created_at, one.job.id};
  };
  std::sort(claimed.begin(), claimed.end(),
            [&](const leased_job& a, const leased_job& b) { return age(a) < age(b); });
}

}  // namespace

std::vector<std::int32_t> lock_or_pass_over(executor& inside, const std::vector<job_lease>& leases,
                                            const call_options& options) {
  auto passed_over =
      inside.all<std::int32_t>(lock_to_end, {jobs_of(leases), tokens_of(leases)}, options);
  std::sort(passed_over.begin(), passed_over.end());
  return passed_over;
}

std::vector<leased_job> job_repository::claim(const std::vector<std::string>& job_types, int n,
                                              milliseconds lease, const call_options& options) {
  for (std::size_t i = 0; i < job_types.size(); ++i) {
    limits::check(job_type_column, job_types[i], i);
  }
  limits::check_limit(n);
  check_lease(lease);
  if (job_types.empty()) return {};
  return on_leases(
      *on_,
      [&](executor& inside) {
        return inside.changing(
            table::processing_jobs,
            [&](executor& on, tag_set& changed) {
              auto claimed =
                  on.all<leased_job>(claim_pending, {job_types, n, lease.count()}, options);
              for (const auto& one : claimed) add_job(changed, one.job.id);
              sort_by_age(claimed);
              return claimed;
            },
            options);
      },
      options);
}

std::vector<std::int32_t> job_repository::heartbeat(const std::vector<job_lease>& leases,
                                                    milliseconds lease,
                                                    const call_options& options) {
  check_lease(lease);
  if (leases.empty()) return {};
  return on_leases(
      *on_,
      [&](executor& on) {
        auto held = on.all<std::int32_t>(
            prolong_leases, {jobs_of(leases), tokens_of(leases), lease.count()}, options);
        std::sort(held.begin(), held.end());
        return held;
      },
      options);
}

bool job_repository::set_progress(const job_lease& lease, double progress, std::string_view step,
                                  const call_options& options) {
  check_progress(progress);
  limits::check(current_step_column, step);
  const std::vector<job_lease> leases{lease};
  return on_leases(
      *on_,
      [&](executor& inside) {
        return inside.changing(
            table::processing_jobs,
            [&](executor& on, tag_set& changed) {
              const bool held =
                  on.execute(set_held_progress,
                             {jobs_of(leases), tokens_of(leases), progress, step}, options) > 0;
              if (held) add_job(changed, lease.job_id);
              return held;
            },
            options);
      },
      options);
}

std::vector<std::int32_t> job_repository::complete(const std::vector<job_lease>& leases,
                                                   const call_options& options) {
  if (leases.empty()) return {};
  return change_jobs(*on_, complete_held, {jobs_of(leases), tokens_of(leases)}, options);
}

std::vector<std::int32_t> job_repository::fail(const std::vector<job_lease>& leases,
                                               std::string_view error,
                                               const std::optional<job_backoff>& again,
                                               const call_options& options) {
  limits::check(error_message_column, error);
  const auto wait = again.value_or(job_backoff{});
  check_duration("job_backoff::most", wait.most, milliseconds{0}, std::chrono::hours{24 * 365});
  check_duration("job_backoff::first", wait.first, milliseconds{0}, wait.most);
  if (leases.empty()) return {};
  return change_jobs(*on_, fail_held,
                     {jobs_of(leases), tokens_of(leases), error, again.has_value(),
                      wait.first.count(), wait.most.count()},
                     options);
}

std::vector<std::int32_t> job_repository::release(const std::vector<job_lease>& leases,
                                                  const call_options& options) {
  if (leases.empty()) return {};
  return change_jobs(*on_, release_held, {jobs_of(leases), tokens_of(leases)}, options);
}

std::vector<std::int32_t> job_repository::rescue_expired(int limit, const call_options& options) {
  limits::check_limit(limit);
  return change_jobs(*on_, rescue, {limit}, options);
}

}  // namespace soundhash::db
