#include <algorithm>
#include <iterator>
#include <optional>
#include <tuple>

#include <soundhash/db/core/error.hpp>
#include <soundhash/db/repository/video_repository.hpp>

#include "repository/column_array.hpp"
#include "repository/column_limits.hpp"
#include "repository/columns.hpp"
#include "repository/job_locks.hpp"
#include "repository/list_cursor.hpp"
#include "repository/newest_first.hpp"
#include "repository/oldest_first.hpp"
#include "repository/row_chunks.hpp"
#include "repository/row_tags.hpp"

// `v` is "v." or "".
#define COLUMNS(v)                                                                             \
  v "id, " v "video_id, " v "channel_id, " v "title, " v "description, " v "duration, " v      \
    "view_count, " v "like_count, " v "upload_date, " v "url, " v "thumbnail_url, " v          \
    "processed, " v "processing_started, " v "processing_completed, " v "processing_error, " v \
    "created_at, " v "updated_at"
#define INSERTED                                                                                \
  "video_id, channel_id, title, description, duration, view_count, like_count, upload_date, "   \
  "url, thumbnail_url, processed, processing_started, processing_completed, processing_error, " \
  "created_at, updated_at"
#define NOW SOUNDHASH_DB_UTC_NOW
#define WITH_CHANNEL                                         \
  "SELECT " COLUMNS("v.") ", " SOUNDHASH_DB_CHANNEL_COLUMNS( \
      "c.", "channel.") " FROM videos AS v JOIN channels AS c ON c.id = v.channel_id "

namespace soundhash::db {
namespace {

/// What the tags of a video are made of, besides its id.
struct video_keys {
  std::string video_id;
  std::int32_t channel_id = 0;
};

}  // namespace

template <>
struct row_traits<video_keys> {
  static constexpr auto columns = std::tuple{column{"video_id", &video_keys::video_id},
                                             column{"channel_id", &video_keys::channel_id}};
};

namespace {

constexpr query insert{"video.create",
                       "INSERT INTO videos (" INSERTED
                       ") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, "
                       "$14, " NOW ", " NOW ") RETURNING " COLUMNS("")};

constexpr query select_by_id{"video.find", "SELECT " COLUMNS("") " FROM videos WHERE id = $1",
                             access::read_only};

constexpr query select_by_video_id{"video.find_by_video_id",
                                   "SELECT " COLUMNS("") " FROM videos WHERE video_id = $1",
                                   access::read_only};

constexpr query select_with_channel{"video.find_with_channel", WITH_CHANNEL "WHERE v.video_id = $1",
                                    access::read_only};

constexpr query change{
    "video.update",
    "UPDATE videos SET title = COALESCE($2, title), description = COALESCE($3, description), "
    "duration = COALESCE($4, duration), view_count = COALESCE($5, view_count), "
    "like_count = COALESCE($6, like_count), upload_date = COALESCE($7, upload_date), "
    "url = COALESCE($8, url), thumbnail_url = COALESCE($9, thumbnail_url), updated_at = " NOW
    " WHERE id = $1 RETURNING " COLUMNS("")};

constexpr query select_unprocessed{
    "video.unprocessed",
    "SELECT " COLUMNS("") " FROM videos WHERE processed = false ORDER BY created_at LIMIT $1",
    access::read_only};

constexpr query select_unprocessed_or_null{
    "video.unprocessed_or_null",
    "SELECT " COLUMNS("") " FROM videos WHERE processed IS NOT TRUE ORDER BY created_at LIMIT $1",
    access::read_only};

constexpr query select_unprocessed_with_channel{
    "video.unprocessed_with_channel",
    WITH_CHANNEL "WHERE v.processed = false ORDER BY v.created_at LIMIT $1", access::read_only};

#define SELECT_VIDEO "SELECT " COLUMNS("") " FROM videos "

constexpr query select_unprocessed_page{
    "video.unprocessed_page", SOUNDHASH_DB_OLDEST_FIRST_PAGE(SELECT_VIDEO, "", "processed = false"),
    access::read_only};

constexpr query select_unprocessed_or_null_page{
    "video.unprocessed_or_null_page",
    SOUNDHASH_DB_OLDEST_FIRST_PAGE(SELECT_VIDEO, "", "processed IS NOT TRUE"), access::read_only};

constexpr query select_unprocessed_page_with_channel{
    "video.unprocessed_page_with_channel",
    SOUNDHASH_DB_OLDEST_FIRST_PAGE(WITH_CHANNEL, "v.", "v.processed = false"), access::read_only};

constexpr query select_by_channel{"video.by_channel",
                                  "SELECT " COLUMNS("")
                                  " FROM videos WHERE channel_id = $1 "
                                  "ORDER BY upload_date DESC, id DESC LIMIT $2",
                                  access::read_only};

constexpr query select_by_channel_after_date{
    "video.by_channel_after_date",
    "SELECT " COLUMNS("")
    " FROM videos WHERE channel_id = $1 AND (upload_date, id) < ($3, $4) "
    "ORDER BY upload_date DESC, id DESC LIMIT $2",
    access::read_only};

constexpr query select_by_channel_after_undated{
    "video.by_channel_after_undated",
    "SELECT " COLUMNS("")
    " FROM videos WHERE channel_id = $1 AND (upload_date IS NOT NULL OR id < $3) "
    "ORDER BY upload_date DESC, id DESC LIMIT $2",
    access::read_only};

constexpr newest_first of_channel{select_by_channel, select_by_channel_after_date,
                                  select_by_channel_after_undated};

constexpr query select_page{"video.page",
                            "SELECT " COLUMNS("") " FROM videos WHERE id > $1 ORDER BY id LIMIT $2",
                            access::read_only};

constexpr query select_page_with_channel{"video.page_with_channel",
                                         WITH_CHANNEL "WHERE v.id > $1 ORDER BY v.id LIMIT $2",
                                         access::read_only};

constexpr query set_started{"video.mark_processing_started",
                            "UPDATE videos SET processing_started = " NOW ", updated_at = " NOW
                            " WHERE id = $1 RETURNING video_id, channel_id"};

constexpr query set_processed{
    "video.mark_processed",
    "UPDATE videos SET processed = $2, processing_completed = " NOW
    ", processing_error = COALESCE(NULLIF($3, ''), processing_error), updated_at = " NOW
    " WHERE id = $1 RETURNING video_id, channel_id"};

constexpr query select_existing{"video.existing_video_ids",
                                "SELECT v.video_id FROM unnest($1::text[]) AS given(video_id) "
                                "JOIN videos AS v ON v.video_id = given.video_id",
                                access::read_only};

// jsonb, so that the text reads as Python's json.dumps writes it.
constexpr query insert_with_jobs{
    "video.ingest",
    "WITH made AS (INSERT INTO videos (" INSERTED
    ") SELECT n.video_id, $1::int4, n.title, n.description, n.duration, n.view_count, "
    "n.like_count, n.upload_date, n.url, n.thumbnail_url, n.processed, n.processing_started, "
    "n.processing_completed, n.processing_error, " NOW ", " NOW
    " FROM unnest($3::text[], $4::text[], $5::text[], $6::float8[], $7::int4[], $8::int4[], "
    "$9::timestamp[], $10::text[], $11::text[], $12::bool[], $13::timestamp[], $14::timestamp[], "
    "$15::text[]) WITH ORDINALITY AS n(video_id, title, description, duration, view_count, "
    "like_count, upload_date, url, thumbnail_url, processed, processing_started, "
    "processing_completed, processing_error, place) ORDER BY n.place "
    "ON CONFLICT (video_id) DO NOTHING RETURNING id, video_id, channel_id, url), "
    "queued AS (INSERT INTO processing_jobs (job_type, status, target_id, parameters, progress, "
    "retry_count, max_retries, created_at) "
    "SELECT $2::text, 'pending', made.video_id, "
    "jsonb_build_object('url', made.url, 'channel_id', c.channel_id)::text, 0, 0, 3, " NOW
    " FROM made JOIN channels AS c ON c.id = made.channel_id "
    "WHERE NOT EXISTS (SELECT FROM processing_jobs AS p WHERE p.target_id = made.video_id "
    "AND p.job_type = $2::text AND p.status IN ('pending', 'running')) "
    "ORDER BY made.id RETURNING id, target_id) "
    "SELECT made.id, made.video_id, queued.id AS job_id "
    "FROM made LEFT JOIN queued ON queued.target_id = made.video_id ORDER BY made.id"};

constexpr limits::text_column video_id_column{"video_id", 255};
constexpr limits::text_column title_column{"title", 1000};
constexpr limits::text_column description_column{"description"};
constexpr limits::text_column url_column{"url", 500};
constexpr limits::text_column thumbnail_url_column{"thumbnail_url", 500};
constexpr limits::text_column processing_error_column{"processing_error"};
constexpr limits::text_column job_type_column{"job_type", 50};

constexpr chunk_budget ingest_budget{5000, 16U << 20U};
constexpr chunk_budget lookup_budget{1000, 16U << 20U};

/// What new_video and video_changes have in common.
template <class Values>
void check_description(const Values& values, limits::row_number row) {
  limits::check_if_set(title_column, values.title, row);
  limits::check_if_set(description_column, values.description, row);
  limits::check_finite("duration", values.duration, row);
  limits::check_if_set(url_column, values.url, row);
  limits::check_if_set(thumbnail_url_column, values.thumbnail_url, row);
}

void check(const new_video& values, limits::row_number row = {}) {
  limits::check(video_id_column, values.video_id, row);
  check_description(values, row);
  limits::check_if_set(processing_error_column, values.processing_error, row);
}

void check_ingested(std::int32_t channel_id, std::span<const new_video> videos) {
  for (std::size_t i = 0; i < videos.size(); ++i) {
    check(videos[i], i);
    if (videos[i].channel_id != 0 && videos[i].channel_id != channel_id) {
      throw invalid_argument{"channel_id", "the video belongs to another channel than the ingest",
                             i};
    }
  }
}

std::size_t size_of(const new_video& values) {
  const auto of = [](const std::optional<std::string>& text) { return text ? text->size() : 0; };
  return values.video_id.size() + of(values.title) + of(values.description) + of(values.url) +
         of(values.thumbnail_url) + of(values.processing_error);
}

std::size_t length_of(const std::string& text) {
  return text.size();
}

params ingest_params(std::int32_t channel_id, std::string_view job_type,
                     std::span<const new_video> rows) {
  return {channel_id,
          job_type,
          column_array{rows, &new_video::video_id},
          column_array{rows, &new_video::title},
          column_array{rows, &new_video::description},
          column_array{rows, &new_video::duration},
          column_array{rows, &new_video::view_count},
          column_array{rows, &new_video::like_count},
          column_array{rows, &new_video::upload_date},
          column_array{rows, &new_video::url},
          column_array{rows, &new_video::thumbnail_url},
          column_array{rows, &new_video::processed},
          column_array{rows, &new_video::processing_started},
          column_array{rows, &new_video::processing_completed},
          column_array{rows, &new_video::processing_error}};
}

/// False when there is no such video.
bool update_by_id(executor& on, const query& statement, std::int32_t id, const params& values,
                  const call_options& options) {
  return on.changing(
      table::videos,
      [&](executor& inside, tag_set& changed) {
        const auto row = inside.maybe<video_keys>(statement, values, options);
        if (row) add_row(changed, id, row->video_id, row->channel_id);
        return row.has_value();
      },
      options);
}

/// One chunk of an ingest, which writes to two tables. Inside a transaction.
std::vector<ingested_video> ingest_rows(executor& inside, std::int32_t channel_id,
                                        std::string_view job_type, std::span<const new_video> rows,
                                        const call_options& options) {
  std::vector<ingested_video> made;
  const auto add_jobs = [&](executor& on, tag_set& jobs) {
    made = on.all<ingested_video>(insert_with_jobs, ingest_params(channel_id, job_type, rows),
                                  options);
    for (const auto& row : made) {
      if (row.job_id) jobs.add_row(table::processing_jobs, "id", *row.job_id);
    }
  };
  inside.changing(
      table::videos,
      [&](executor& on, tag_set& videos) {
        on.changing(table::processing_jobs, add_jobs, options);
        for (const auto& row : made) add_row(videos, row.id, row.video_id, channel_id);
      },
      options);
  return made;
}

}  // namespace

video video_repository::create(const new_video& values, const call_options& options) {
  check(values);
  const params row{values.video_id,
                   values.channel_id,
                   values.title,
                   values.description,
                   values.duration,
                   values.view_count,
                   values.like_count,
                   values.upload_date,
                   values.url,
                   values.thumbnail_url,
                   values.processed,
                   values.processing_started,
                   values.processing_completed,
                   values.processing_error};
  return on_->changing(
      table::videos,
      [&](executor& on, tag_set& changed) {
        auto made = on.one<video>(insert, row, options);
        add_row(changed, made);
        return made;
      },
      options);
}

std::optional<video> video_repository::find(std::int32_t id, const call_options& options) {
  const auto tags = [&](tag_set& read) { read.add_row(table::videos, "id", id); };
  return on_->maybe<video>(select_by_id, {id}, options, {.tags = tags});
}

std::optional<video> video_repository::find_by_video_id(std::string_view video_id,
                                                        const call_options& options) {
  limits::check(video_id_column, video_id);
  const auto tags = [&](tag_set& read) { read.add_row(table::videos, "video_id", video_id); };
  return on_->maybe<video>(select_by_video_id, {video_id}, options, {.tags = tags});
}

std::optional<video_with_channel> video_repository::find_with_channel(std::string_view video_id,
                                                                      const call_options& options) {
  limits::check(video_id_column, video_id);
  const auto tags = [&](tag_set& read) {
    read.add_row(table::videos, "video_id", video_id);
    read.add_any(table::channels);  // which one, only the row knows
  };
  return on_->maybe<video_with_channel>(select_with_channel, {video_id}, options, {.tags = tags});
}

std::optional<video> video_repository::update(std::int32_t id, const video_changes& changes,
                                              const call_options& options) {
  check_description(changes, {});
  const params values{id,
                      changes.title,
                      changes.description,
                      changes.duration,
                      changes.view_count,
                      changes.like_count,
                      changes.upload_date,
                      changes.url,
                      changes.thumbnail_url};
  return on_->changing(
      table::videos,
      [&](executor& on, tag_set& changed) {
        auto row = on.maybe<video>(change, values, options);
        if (row) add_row(changed, *row);
        return row;
      },
      options);
}

std::vector<video> video_repository::unprocessed(int limit, null_processed nulls,
                                                 const call_options& options) {
  limits::check_limit(limit);
  const auto& select =
      nulls == null_processed::include ? select_unprocessed_or_null : select_unprocessed;
  return on_->all<video>(select, {limit}, options);
}

std::vector<video_with_channel> video_repository::unprocessed_with_channel(
    int limit, const call_options& options) {
  limits::check_limit(limit);
  return on_->all<video_with_channel>(select_unprocessed_with_channel, {limit}, options);
}

page<video> video_repository::unprocessed_page(const cursor& after, int limit, null_processed nulls,
                                               const call_options& options) {
  limits::check_limit(limit);
  const auto& select =
      nulls == null_processed::include ? select_unprocessed_or_null_page : select_unprocessed_page;
  const list_scope list{select.name()};
  auto rows = on_->all<video>(select, oldest_first_params(list, after, limit), options);
  return page_of(std::move(rows), limit,
                 [&](const video& last) { return list.at(last.created_at, last.id); });
}

page<video_with_channel> video_repository::unprocessed_page_with_channel(
    const cursor& after, int limit, const call_options& options) {
  limits::check_limit(limit);
  const auto& select = select_unprocessed_page_with_channel;
  const list_scope list{select.name()};
  auto rows =
      on_->all<video_with_channel>(select, oldest_first_params(list, after, limit), options);
  return page_of(std::move(rows), limit, [&](const video_with_channel& last) {
    return list.at(last.video.created_at, last.video.id);
  });
}

page<video> video_repository::by_channel(std::int32_t channel_id, int limit, const cursor& after,
                                         const call_options& options) {
  limits::check_limit(limit);
  const list_scope list{select_by_channel.name(), channel_id};
  const auto tags = [&](tag_set& read) { read.add_row(table::videos, "channel_id", channel_id); };
  params values{channel_id, limit};
  const auto& select = of_channel.at(list, after, values);
  return page_of(on_->all<video>(select, values, options, {.tags = tags}), limit,
                 [&](const video& last) { return list.at(last.upload_date, last.id); });
}

page<video> video_repository::page(const cursor& after, int limit, const call_options& options) {
  limits::check_limit(limit);
  const list_scope list{select_page.name()};
  return page_of(on_->all<video>(select_page, {list.id_after(after), limit}, options), limit,
                 [&](const video& last) { return list.at(last.id); });
}

page<video_with_channel> video_repository::page_with_channel(const cursor& after, int limit,
                                                             const call_options& options) {
  limits::check_limit(limit);
  const list_scope list{select_page_with_channel.name()};
  const params values{list.id_after(after), limit};
  return page_of(on_->all<video_with_channel>(select_page_with_channel, values, options), limit,
                 [&](const video_with_channel& last) { return list.at(last.video.id); });
}

bool video_repository::mark_processing_started(std::int32_t id, const call_options& options) {
  return update_by_id(*on_, set_started, id, {id}, options);
}

bool video_repository::mark_processed(std::int32_t id, bool success, std::string_view error,
                                      const call_options& options) {
  limits::check(processing_error_column, error);
  return update_by_id(*on_, set_processed, id, {id, success, error}, options);
}

bool video_repository::mark_failed(std::int32_t id, std::string_view error,
                                   const call_options& options) {
  return mark_processed(id, false, error, options);
}

std::set<std::string, std::less<>> video_repository::existing_video_ids(
    std::span<const std::string> video_ids, const call_options& options) {
  for (std::size_t i = 0; i < video_ids.size(); ++i)
    limits::check(video_id_column, video_ids[i], i);
  std::set<std::string, std::less<>> found;
  for_each_chunk(video_ids, lookup_budget, length_of, [&](auto chunk) {
    auto ids = on_->all<std::string>(select_existing, {chunk}, options);
    found.insert(std::make_move_iterator(ids.begin()), std::make_move_iterator(ids.end()));
  });
  return found;
}

std::vector<ingested_video> video_repository::ingest(std::int32_t channel_id,
                                                     std::span<const new_video> videos,
                                                     std::string_view job_type,
                                                     const call_options& options) {
  limits::check(job_type_column, job_type);
  check_ingested(channel_id, videos);
  if (videos.empty()) return {};
  return on_->atomically(
      [&](executor& inside) {
        std::vector<ingested_video> made;
        lock_job_types(inside, {std::string{job_type}}, options);
        for_each_chunk(videos, ingest_budget, size_of, [&](auto chunk) {
          auto rows = ingest_rows(inside, channel_id, job_type, chunk, options);
          std::move(rows.begin(), rows.end(), std::back_inserter(made));
        });
        return made;
      },
      options);
}

}  // namespace soundhash::db
