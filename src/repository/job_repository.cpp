#include <algorithm>
#include <iterator>
#include <tuple>

#include <soundhash/db/repository/job_repository.hpp>

#include "repository/column_array.hpp"
#include "repository/column_limits.hpp"
#include "repository/job_columns.hpp"
#include "repository/job_locks.hpp"
#include "repository/list_cursor.hpp"
#include "repository/newest_first.hpp"
#include "repository/oldest_first.hpp"
#include "repository/row_chunks.hpp"
#include "repository/row_tags.hpp"

#define COLUMNS SOUNDHASH_DB_JOB_COLUMNS
#define INSERT                                                                       \
  "INSERT INTO processing_jobs (job_type, status, target_id, parameters, progress, " \
  "current_step, retry_count, max_retries, created_at) "
#define SELECT_JOB "SELECT " COLUMNS("") " FROM processing_jobs "
#define NOW SOUNDHASH_DB_UTC_NOW

// Is the status of `p` in the list `$N`, where an empty list means any?
#define STATUS_IN(n) "(cardinality(" n "::text[]) = 0 OR p.status = ANY(" n "::text[]))"

namespace soundhash::db {
namespace {

constexpr query insert{
    "job.create", INSERT "VALUES ($1, $2, $3, $4, $5, $6, $7, $8, " NOW ") RETURNING " COLUMNS("")};

constexpr query insert_if_absent{
    "job.create_if_absent", INSERT
    "SELECT $1::text, $2::text, $3::text, $4::text, $5::float8, $6::text, $7::int4, $8::int4, " NOW
    " WHERE NOT EXISTS (SELECT FROM processing_jobs AS p WHERE p.target_id = $3::text "
    "AND p.job_type = $1::text AND " STATUS_IN("$9") ") RETURNING " COLUMNS("")};

constexpr query insert_batch_if_absent{
    "job.create_batch_if_absent",
    INSERT
    "SELECT n.job_type, n.status, n.target_id, n.parameters, n.progress, n.current_step, "
    "n.retry_count, n.max_retries, " NOW
    " FROM (SELECT DISTINCT ON (job_type, target_id) job_type, status, target_id, parameters, "
    "progress, current_step, retry_count, max_retries, place FROM unnest($1::text[], $2::text[], "
    "$3::text[], $4::text[], $5::float8[], $6::text[], $7::int4[], $8::int4[]) WITH ORDINALITY "
    "AS given(job_type, status, target_id, parameters, progress, current_step, retry_count, "
    "max_retries, place) ORDER BY job_type, target_id, place) AS n "
    "WHERE NOT EXISTS (SELECT FROM processing_jobs AS p WHERE p.target_id = n.target_id "
    "AND p.job_type = n.job_type AND " STATUS_IN("$9") ") "
    "ORDER BY n.place RETURNING " COLUMNS("")};

constexpr query select_by_id{"job.find", SELECT_JOB "WHERE id = $1", access::read_only};

constexpr query select_exists{
    "job.exists",
    "SELECT EXISTS (SELECT FROM processing_jobs AS p WHERE p.target_id = $2 AND p.job_type = $1 "
    "AND " STATUS_IN("$3") ")",
    access::read_only};

constexpr query select_exist_batch{
    "job.exist_batch",
    "SELECT given.target_id FROM unnest($2::text[]) AS given(target_id) "
    "WHERE EXISTS (SELECT FROM processing_jobs AS p WHERE p.target_id = given.target_id "
    "AND p.job_type = $1 AND " STATUS_IN("$3") ")",
    access::read_only};

#define OF_TARGET \
  "SELECT " COLUMNS("p.") " FROM processing_jobs AS p WHERE p.target_id = $2 " \
  "AND p.job_type = $1 AND " STATUS_IN("$3")

constexpr query select_by_target{"job.by_target",
                                 OF_TARGET " ORDER BY p.created_at DESC, p.id DESC LIMIT $4",
                                 access::read_only};

constexpr query select_by_target_after_date{
    "job.by_target_after_date",
    OF_TARGET " AND (p.created_at, p.id) < ($5, $6) ORDER BY p.created_at DESC, p.id DESC LIMIT $4",
    access::read_only};

constexpr query select_by_target_after_undated{
    "job.by_target_after_undated",
    OF_TARGET
    " AND (p.created_at IS NOT NULL OR p.id < $5) ORDER BY p.created_at DESC, p.id DESC LIMIT $4",
    access::read_only};

constexpr newest_first of_target{select_by_target, select_by_target_after_date,
                                 select_by_target_after_undated};

#define PENDING "status = 'pending'"
#define PENDING_OF_TYPE(n) PENDING " AND job_type = " n

constexpr query select_pending{"job.pending",
                               SELECT_JOB "WHERE " PENDING " ORDER BY created_at, id LIMIT $1",
                               access::read_only};

constexpr query select_pending_after{"job.pending_after",
                                     SOUNDHASH_DB_OLDEST_FIRST_PAGE(SELECT_JOB, "", PENDING),
                                     access::read_only};

constexpr query select_pending_of_type{
    "job.pending_of_type",
    SELECT_JOB "WHERE " PENDING_OF_TYPE("$2") " ORDER BY created_at, id LIMIT $1",
    access::read_only};

constexpr query select_pending_of_type_after{
    "job.pending_of_type_after",
    SOUNDHASH_DB_OLDEST_FIRST_PAGE(SELECT_JOB, "", PENDING_OF_TYPE("$4")), access::read_only};

#define FAILED SELECT_JOB "WHERE status = 'failed' AND job_type = $1 "

constexpr query select_failed{"job.failed", FAILED "ORDER BY created_at DESC, id DESC LIMIT $2",
                              access::read_only};

constexpr query select_failed_after_date{
    "job.failed_after_date",
    FAILED "AND (created_at, id) < ($3, $4) ORDER BY created_at DESC, id DESC LIMIT $2",
    access::read_only};

constexpr query select_failed_after_undated{
    "job.failed_after_undated",
    FAILED "AND (created_at IS NOT NULL OR id < $3) ORDER BY created_at DESC, id DESC LIMIT $2",
    access::read_only};

constexpr newest_first failed_of_type{select_failed, select_failed_after_date,
                                      select_failed_after_undated};

constexpr query select_page{"job.page", SELECT_JOB "WHERE id > $1 ORDER BY id LIMIT $2",
                            access::read_only};

constexpr query set_status{
    "job.update_status",
    "UPDATE processing_jobs SET status = $2::text, progress = COALESCE($3, progress), "
    "current_step = COALESCE(NULLIF($4, ''), current_step), "
    "error_message = COALESCE(NULLIF($5, ''), error_message), "
    "started_at = CASE WHEN $2::text = 'running' AND started_at IS NULL THEN " NOW
    " ELSE started_at END, "
    "completed_at = CASE WHEN $2::text IN ('completed', 'failed') THEN " NOW
    " ELSE completed_at END WHERE id = $1"};

constexpr query set_pending_again{
    "job.retry", "UPDATE processing_jobs SET " SOUNDHASH_DB_JOB_PENDING_AGAIN
                 ", error_message = NULL, retry_count = COALESCE(retry_count, 0) + 1 "
                 "WHERE id = $1 AND status IN ('failed', 'completed')"};

constexpr query set_cancelled{"job.cancel",
                              "UPDATE processing_jobs SET status = 'cancelled', error_message = $2 "
                              "WHERE id = $1 AND status IN ('pending', 'running')"};

constexpr query count_one_status{"job.count_by_status",
                                 "SELECT count(*) FROM processing_jobs WHERE status = $1",
                                 access::read_only};

constexpr query count_each_status{
    "job.counts_by_status",
    "SELECT status, count(*) AS count FROM processing_jobs GROUP BY status ORDER BY status",
    access::read_only};

constexpr limits::text_column status_column{"status", 20};
constexpr limits::text_column target_id_column{"target_id", 255};
constexpr limits::text_column parameters_column{"parameters"};

constexpr chunk_budget insert_budget{5000, 16U << 20U};
constexpr chunk_budget lookup_budget{1000, 16U << 20U};

void check(const new_job& values, limits::row_number row = {}) {
  limits::check(job_type_column, values.job_type, row);
  limits::check(target_id_column, values.target_id, row);
  limits::check_if_set(parameters_column, values.parameters, row);
  limits::check(status_column, values.status, row);
  check_progress(values.progress, row);
  limits::check_if_set(current_step_column, values.current_step, row);
  limits::check_at_least("retry_count", values.retry_count, 0, row);
  limits::check_at_least("max_retries", values.max_retries, 0, row);
}

void check_target(std::string_view job_type, std::string_view target_id) {
  limits::check(job_type_column, job_type);
  limits::check(target_id_column, target_id);
}

/// The statuses as an array parameter.
std::vector<std::string> checked(const job_repository::statuses& texts) {
  for (const auto text : texts) limits::check(status_column, text);
  return {texts.begin(), texts.end()};
}

std::size_t size_of(const new_job& values) {
  return sizeof values + (values.parameters ? values.parameters->size() : 0);
}

std::size_t length_of(const std::string& text) {
  return text.size();
}

params insert_params(const new_job& values) {
  return {values.job_type, values.status,       values.target_id,   values.parameters,
          values.progress, values.current_step, values.retry_count, values.max_retries};
}

std::vector<std::string> types_of(std::span<const new_job> rows) {
  std::set<std::string> types;
  for (const auto& row : rows) types.insert(row.job_type);
  return {types.begin(), types.end()};
}

void add_rows(tag_set& changed, const std::vector<job>& jobs) {
  for (const auto& each : jobs) add_job(changed, each.id);
}

std::vector<job> insert_chunk(executor& on, std::span<const new_job> rows,
                              const std::vector<std::string>& unless, const call_options& options) {
  auto made = on.all<job>(
      insert_batch_if_absent,
      {column_array{rows, &new_job::job_type}, column_array{rows, &new_job::status},
       column_array{rows, &new_job::target_id}, column_array{rows, &new_job::parameters},
       column_array{rows, &new_job::progress}, column_array{rows, &new_job::current_step},
       column_array{rows, &new_job::retry_count}, column_array{rows, &new_job::max_retries},
       unless},
      options);
  // The id's default is evaluated above the ORDER BY, so ascending ids are the order of the rows.
  std::sort(made.begin(), made.end(), [](const job& a, const job& b) { return a.id < b.id; });
  return made;
}

std::vector<job> insert_rows(executor& inside, std::span<const new_job> rows,
                             const std::vector<std::string>& unless, const call_options& options) {
  return inside.changing(
      table::processing_jobs,
      [&](executor& on, tag_set& changed) {
        auto made = insert_chunk(on, rows, unless, options);
        add_rows(changed, made);
        return made;
      },
      options);
}

/// False when no row was updated.
bool update_by_id(executor& on, const query& statement, std::int32_t id, const params& values,
                  const call_options& options) {
  return on.changing(
      table::processing_jobs,
      [&](executor& inside, tag_set& changed) {
        const bool updated = inside.execute(statement, values, options) > 0;
        if (updated) add_job(changed, id);
        return updated;
      },
      options);
}

/// The cursor of a job in a list by created_at.
auto place_in(const list_scope& list) {
  return [&list](const job& last) { return list.at(last.created_at, last.id); };
}

}  // namespace

job job_repository::create(const new_job& values, const call_options& options) {
  check(values);
  const auto row = insert_params(values);
  return on_->changing(
      table::processing_jobs,
      [&](executor& on, tag_set& changed) {
        auto made = on.one<job>(insert, row, options);
        add_job(changed, made.id);
        return made;
      },
      options);
}

std::optional<job> job_repository::create_if_absent(const new_job& values, const statuses& unless,
                                                    const call_options& options) {
  check(values);
  auto row = insert_params(values);
  row.append(checked(unless));
  return on_->atomically(
      [&](executor& inside) {
        lock_job_target(inside, values.job_type, values.target_id, options);
        return inside.changing(
            table::processing_jobs,
            [&](executor& on, tag_set& changed) {
              auto made = on.maybe<job>(insert_if_absent, row, options);
              if (made) add_job(changed, made->id);
              return made;
            },
            options);
      },
      options);
}

std::vector<job> job_repository::create_batch_if_absent(std::span<const new_job> rows,
                                                        const statuses& unless,
                                                        const call_options& options) {
  for (std::size_t i = 0; i < rows.size(); ++i) check(rows[i], i);
  const auto unless_in = checked(unless);
  if (rows.empty()) return {};
  return on_->atomically(
      [&](executor& inside) {
        std::vector<job> made;
        lock_job_types(inside, types_of(rows), options);
        for_each_chunk(rows, insert_budget, size_of, [&](auto chunk) {
          auto jobs = insert_rows(inside, chunk, unless_in, options);
          std::move(jobs.begin(), jobs.end(), std::back_inserter(made));
        });
        return made;
      },
      options);
}

std::optional<job> job_repository::find(std::int32_t id, const call_options& options) {
  return on_->maybe<job>(select_by_id, {id}, options);
}

bool job_repository::exists(std::string_view job_type, std::string_view target_id,
                            const statuses& in, const call_options& options) {
  check_target(job_type, target_id);
  return on_->one<bool>(select_exists, {job_type, target_id, checked(in)}, options);
}

std::set<std::string, std::less<>> job_repository::exist_batch(
    std::string_view job_type, std::span<const std::string> target_ids, const statuses& in,
    const call_options& options) {
  limits::check(job_type_column, job_type);
  for (std::size_t i = 0; i < target_ids.size(); ++i) {
    limits::check(target_id_column, target_ids[i], i);
  }
  const auto status_in = checked(in);
  std::set<std::string, std::less<>> found;
  for_each_chunk(target_ids, lookup_budget, length_of, [&](auto chunk) {
    auto ids = on_->all<std::string>(select_exist_batch, {job_type, chunk, status_in}, options);
    found.insert(std::make_move_iterator(ids.begin()), std::make_move_iterator(ids.end()));
  });
  return found;
}

page<job> job_repository::by_target(std::string_view job_type, std::string_view target_id,
                                    const statuses& in, int limit, const cursor& after,
                                    const call_options& options) {
  check_target(job_type, target_id);
  const auto status_in = checked(in);
  limits::check_limit(limit);
  const list_scope list{select_by_target.name(), job_type, target_id, status_in};
  params values{job_type, target_id, status_in, limit};
  const auto& select = of_target.at(list, after, values);
  return page_of(on_->all<job>(select, values, options), limit, place_in(list));
}

page<job> job_repository::pending(std::optional<std::string_view> job_type, int limit,
                                  const cursor& after, const call_options& options) {
  if (job_type) limits::check(job_type_column, *job_type);
  limits::check_limit(limit);
  const auto& first = job_type ? select_pending_of_type : select_pending;
  const auto& further = job_type ? select_pending_of_type_after : select_pending_after;
  const list_scope list{first.name(), job_type.value_or("")};
  auto values = after.at_start() ? params{limit} : oldest_first_params(list, after, limit);
  if (job_type) values.append(*job_type);
  const auto& select = after.at_start() ? first : further;
  return page_of(on_->all<job>(select, values, options), limit, place_in(list));
}

page<job> job_repository::failed(std::string_view job_type, int limit, const cursor& after,
                                 const call_options& options) {
  limits::check(job_type_column, job_type);
  limits::check_limit(limit);
  const list_scope list{select_failed.name(), job_type};
  params values{job_type, limit};
  const auto& select = failed_of_type.at(list, after, values);
  return page_of(on_->all<job>(select, values, options), limit, place_in(list));
}

page<job> job_repository::page(const cursor& after, int limit, const call_options& options) {
  limits::check_limit(limit);
  const list_scope list{select_page.name()};
  return page_of(on_->all<job>(select_page, {list.id_after(after), limit}, options), limit,
                 [&](const job& last) { return list.at(last.id); });
}

bool job_repository::update_status(std::int32_t id, std::string_view status,
                                   const job_update& update, const call_options& options) {
  limits::check(status_column, status);
  if (update.progress) check_progress(*update.progress);
  limits::check_if_set(current_step_column, update.current_step);
  limits::check_if_set(error_message_column, update.error_message);
  return update_by_id(*on_, set_status, id,
                      {id, status, update.progress, update.current_step, update.error_message},
                      options);
}

bool job_repository::retry(std::int32_t id, const call_options& options) {
  return update_by_id(*on_, set_pending_again, id, {id}, options);
}

bool job_repository::cancel(std::int32_t id, std::string_view reason, const call_options& options) {
  limits::check(error_message_column, reason);
  return update_by_id(*on_, set_cancelled, id, {id, reason}, options);
}

std::int64_t job_repository::count_by_status(std::string_view status, const call_options& options) {
  limits::check(status_column, status);
  return on_->one<std::int64_t>(count_one_status, {status}, options);
}

std::vector<status_count> job_repository::counts_by_status(const call_options& options) {
  return on_->all<status_count>(count_each_status, {}, options);
}

}  // namespace soundhash::db
