#include <optional>
#include <tuple>

#include <soundhash/db/repository/channel_repository.hpp>

#include "repository/column_limits.hpp"
#include "repository/columns.hpp"
#include "repository/list_cursor.hpp"
#include "repository/row_tags.hpp"

#define COLUMNS SOUNDHASH_DB_CHANNEL_COLUMNS("", "")
#define INSERT                                                                      \
  "INSERT INTO channels (channel_id, channel_name, description, subscriber_count, " \
  "video_count, last_processed, is_active, created_at, updated_at) "                \
  "VALUES ($1, $2, $3, $4, $5, $6, $7, " SOUNDHASH_DB_UTC_NOW ", " SOUNDHASH_DB_UTC_NOW ") "

namespace soundhash::db {
namespace {

constexpr query insert{"channel.create", INSERT "RETURNING " COLUMNS};

constexpr query insert_if_absent{"channel.create_if_absent",
                                 INSERT "ON CONFLICT (channel_id) DO NOTHING RETURNING " COLUMNS};

constexpr query select_by_id{"channel.find", "SELECT " COLUMNS " FROM channels WHERE id = $1",
                             access::read_only};

constexpr query select_by_channel_id{"channel.find_by_channel_id",
                                     "SELECT " COLUMNS " FROM channels WHERE channel_id = $1",
                                     access::read_only};

constexpr query change{"channel.update",
                       "UPDATE channels SET channel_name = COALESCE($2, channel_name), "
                       "description = COALESCE($3, description), "
                       "subscriber_count = COALESCE($4, subscriber_count), "
                       "video_count = COALESCE($5, video_count), "
                       "is_active = COALESCE($6, is_active), updated_at = " SOUNDHASH_DB_UTC_NOW
                       " WHERE id = $1 RETURNING " COLUMNS};

constexpr query set_processed{"channel.mark_processed",
                              "UPDATE channels SET last_processed = " SOUNDHASH_DB_UTC_NOW
                              ", updated_at = " SOUNDHASH_DB_UTC_NOW
                              " WHERE id = $1 RETURNING channel_id"};

// idx_channels_active keeps NULLs last, so that NULLS FIRST over the whole would sort every active
// channel; each half is read in the order of the index.
constexpr query select_active{
    "channel.active",
    "SELECT " COLUMNS
    " FROM ("
    "(SELECT " COLUMNS
    " FROM channels WHERE is_active = true AND last_processed IS NULL "
    "ORDER BY last_processed LIMIT $1) UNION ALL "
    "(SELECT " COLUMNS
    " FROM channels WHERE is_active = true AND last_processed IS NOT NULL "
    "ORDER BY last_processed LIMIT $1)) AS halves "
    "ORDER BY last_processed NULLS FIRST LIMIT $1",
    access::read_only};

// $2, $3: keys of the row before; NULL, 0 at the beginning.
constexpr query select_active_page{
    "channel.active_page",
    "SELECT " COLUMNS
    " FROM ("
    "(SELECT " COLUMNS
    " FROM channels WHERE is_active = true AND last_processed IS NULL "
    "AND $2::timestamp IS NULL AND id > $3 ORDER BY id LIMIT $1) UNION ALL "
    "(SELECT " COLUMNS
    " FROM channels WHERE is_active = true "
    "AND (last_processed, id) > (COALESCE($2::timestamp, '-infinity'), $3) "
    "ORDER BY last_processed, id LIMIT $1)) AS halves "
    "ORDER BY last_processed NULLS FIRST, id LIMIT $1",
    access::read_only};

constexpr query select_page{"channel.page",
                            "SELECT " COLUMNS " FROM channels WHERE id > $1 ORDER BY id LIMIT $2",
                            access::read_only};

constexpr limits::text_column channel_id_column{"channel_id", 255};
constexpr limits::text_column channel_name_column{"channel_name", 500};
constexpr limits::text_column description_column{"description"};

/// Attempts to find or insert before giving up on a row that others keep inserting and deleting.
constexpr int max_attempts = 16;

params checked(const new_channel& values) {
  limits::check(channel_id_column, values.channel_id);
  limits::check_if_set(channel_name_column, values.channel_name);
  limits::check_if_set(description_column, values.description);
  return {values.channel_id,  values.channel_name,   values.description, values.subscriber_count,
          values.video_count, values.last_processed, values.is_active};
}

std::optional<channel> create_if_absent(executor& on, const params& row,
                                        const call_options& options) {
  return on.changing(
      table::channels,
      [&](executor& inside, tag_set& changed) {
        auto made = inside.maybe<channel>(insert_if_absent, row, options);
        if (made) add_row(changed, *made);
        return made;
      },
      options);
}

}  // namespace

channel channel_repository::create(const new_channel& values, const call_options& options) {
  const auto row = checked(values);
  return on_->changing(
      table::channels,
      [&](executor& on, tag_set& changed) {
        auto made = on.one<channel>(insert, row, options);
        add_row(changed, made);
        return made;
      },
      options);
}

std::optional<channel> channel_repository::find(std::int32_t id, const call_options& options) {
  const auto tags = [&](tag_set& read) { read.add_row(table::channels, "id", id); };
  return on_->maybe<channel>(select_by_id, {id}, options, {.tags = tags});
}

std::optional<channel> channel_repository::find_by_channel_id(std::string_view channel_id,
                                                              const call_options& options) {
  limits::check(channel_id_column, channel_id);
  const auto tags = [&](tag_set& read) { read.add_row(table::channels, "channel_id", channel_id); };
  return on_->maybe<channel>(select_by_channel_id, {channel_id}, options, {.tags = tags});
}

channel channel_repository::get_or_create(const new_channel& values, const call_options& options) {
  const auto row = checked(values);
  // The read comes first: an INSERT that runs into a conflict uses up an id. It is not cached: an
  // absence that is not true any more would make every attempt a conflict.
  for (int attempt = 0; attempt < max_attempts; ++attempt) {
    auto found = on_->maybe<channel>(select_by_channel_id, {values.channel_id}, options);
    if (found) return std::move(*found);
    if (auto made = create_if_absent(*on_, row, options)) return std::move(*made);
  }
  throw cardinality_error{insert_if_absent.name(), 0};
}

std::optional<channel> channel_repository::update(std::int32_t id, const channel_changes& changes,
                                                  const call_options& options) {
  limits::check_if_set(channel_name_column, changes.channel_name);
  limits::check_if_set(description_column, changes.description);
  const params values{id,
                      changes.channel_name,
                      changes.description,
                      changes.subscriber_count,
                      changes.video_count,
                      changes.is_active};
  return on_->changing(
      table::channels,
      [&](executor& on, tag_set& changed) {
        auto row = on.maybe<channel>(change, values, options);
        if (row) add_row(changed, *row);
        return row;
      },
      options);
}

bool channel_repository::mark_processed(std::int32_t id, const call_options& options) {
  return on_->changing(
      table::channels,
      [&](executor& on, tag_set& changed) {
        const auto channel_id = on.maybe<std::string>(set_processed, {id}, options);
        if (channel_id) add_row(changed, id, *channel_id);
        return channel_id.has_value();
      },
      options);
}

std::vector<channel> channel_repository::active(int limit, const call_options& options) {
  limits::check_limit(limit);
  return on_->all<channel>(select_active, {limit}, options);
}

page<channel> channel_repository::active_page(const cursor& after, int limit,
                                              const call_options& options) {
  limits::check_limit(limit);
  const list_scope list{select_active_page.name()};
  const auto [last_processed, id] =
      list.open<std::optional<timestamp>, std::int32_t>(after).value_or(
          std::tuple{std::nullopt, 0});
  return page_of(on_->all<channel>(select_active_page, {limit, last_processed, id}, options), limit,
                 [&](const channel& last) { return list.at(last.last_processed, last.id); });
}

page<channel> channel_repository::page(const cursor& after, int limit,
                                       const call_options& options) {
  limits::check_limit(limit);
  const list_scope list{select_page.name()};
  return page_of(on_->all<channel>(select_page, {list.id_after(after), limit}, options), limit,
                 [&](const channel& last) { return list.at(last.id); });
}

}  // namespace soundhash::db
