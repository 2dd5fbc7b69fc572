#include <algorithm>

#include <soundhash/db/repository/match_result_repository.hpp>

#include "repository/column_array.hpp"
#include "repository/column_limits.hpp"
#include "repository/columns.hpp"
#include "repository/list_cursor.hpp"
#include "repository/row_chunks.hpp"
#include "repository/row_tags.hpp"

#define COLUMNS                                                                            \
  "id, query_fingerprint_id, matched_fingerprint_id, similarity_score, match_confidence, " \
  "query_source, query_url, query_user, responded, response_sent_at, created_at"
#define INSERT                                                                                  \
  "INSERT INTO match_results (query_fingerprint_id, matched_fingerprint_id, similarity_score, " \
  "match_confidence, query_source, query_url, query_user, responded, response_sent_at, "        \
  "created_at) "

namespace soundhash::db {
namespace {

constexpr query insert{"match_result.create",
                       INSERT "VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, " SOUNDHASH_DB_UTC_NOW
                              ") RETURNING " COLUMNS};

// The id's default is evaluated above the ORDER BY, so ascending ids are the order of the rows.
constexpr query insert_batch{
    "match_result.create_batch", INSERT
    "SELECT n.query_fingerprint_id, n.matched_fingerprint_id, n.similarity_score, "
    "n.match_confidence, n.query_source, n.query_url, n.query_user, n.responded, "
    "n.response_sent_at, " SOUNDHASH_DB_UTC_NOW
    " FROM unnest($1::int4[], $2::int4[], $3::float8[], $4::float8[], $5::text[], $6::text[], "
    "$7::text[], $8::bool[], $9::timestamp[]) WITH ORDINALITY AS n(query_fingerprint_id, "
    "matched_fingerprint_id, similarity_score, match_confidence, query_source, query_url, "
    "query_user, responded, response_sent_at, place) ORDER BY n.place RETURNING id"};

constexpr query select_top{"match_result.top",
                           "SELECT " COLUMNS
                           " FROM match_results WHERE query_fingerprint_id = $1 "
                           "ORDER BY similarity_score DESC, id DESC LIMIT $2",
                           access::read_only};

constexpr query select_top_after{"match_result.top_after",
                                 "SELECT " COLUMNS
                                 " FROM match_results WHERE query_fingerprint_id = $1 "
                                 "AND (similarity_score, id) < ($3, $4) "
                                 "ORDER BY similarity_score DESC, id DESC LIMIT $2",
                                 access::read_only};

constexpr query select_page{
    "match_result.page", "SELECT " COLUMNS " FROM match_results WHERE id > $1 ORDER BY id LIMIT $2",
    access::read_only};

constexpr query set_responded{"match_result.mark_responded",
                              "UPDATE match_results SET responded = true, "
                              "response_sent_at = " SOUNDHASH_DB_UTC_NOW
                              " WHERE id = $1 RETURNING query_fingerprint_id"};

constexpr limits::text_column query_source_column{"query_source", 50};
constexpr limits::text_column query_url_column{"query_url", 1000};
constexpr limits::text_column query_user_column{"query_user", 100};

constexpr chunk_budget insert_budget{2000, 16U << 20U};

void check(const new_match_result& values, limits::row_number row = {}) {
  limits::check_finite("similarity_score", values.similarity_score, row);
  limits::check_finite("match_confidence", values.match_confidence, row);
  limits::check_if_set(query_source_column, values.query_source, row);
  limits::check_if_set(query_url_column, values.query_url, row);
  limits::check_if_set(query_user_column, values.query_user, row);
}

std::size_t size_of(const new_match_result& values) {
  return sizeof values + (values.query_url ? values.query_url->size() : 0);
}

/// A result that was written: `top` of its query fingerprint, which never changes.
void add_row(tag_set& changed, const std::optional<std::int32_t>& query_fingerprint_id) {
  if (!query_fingerprint_id) return;
  changed.add_row(table::match_results, "query_fingerprint_id", *query_fingerprint_id);
}

std::vector<std::int32_t> insert_chunk(executor& on, std::span<const new_match_result> rows,
                                       const call_options& options) {
  auto ids = on.all<std::int32_t>(insert_batch,
                                  {column_array{rows, &new_match_result::query_fingerprint_id},
                                   column_array{rows, &new_match_result::matched_fingerprint_id},
                                   column_array{rows, &new_match_result::similarity_score},
                                   column_array{rows, &new_match_result::match_confidence},
                                   column_array{rows, &new_match_result::query_source},
                                   column_array{rows, &new_match_result::query_url},
                                   column_array{rows, &new_match_result::query_user},
                                   column_array{rows, &new_match_result::responded},
                                   column_array{rows, &new_match_result::response_sent_at}},
                                  options);
  std::sort(ids.begin(), ids.end());
  return ids;
}

std::vector<std::int32_t> insert_rows(executor& on, std::span<const new_match_result> rows,
                                      const call_options& options) {
  return on.changing(
      table::match_results,
      [&](executor& inside, tag_set& changed) {
        auto ids = insert_chunk(inside, rows, options);
        for (const auto& row : rows) add_row(changed, row.query_fingerprint_id);
        return ids;
      },
      options);
}

}  // namespace

match_result match_result_repository::create(const new_match_result& values,
                                             const call_options& options) {
  check(values);
  const params row{values.query_fingerprint_id, values.matched_fingerprint_id,
                   values.similarity_score,     values.match_confidence,
                   values.query_source,         values.query_url,
                   values.query_user,           values.responded,
                   values.response_sent_at};
  return on_->changing(
      table::match_results,
      [&](executor& on, tag_set& changed) {
        auto made = on.one<match_result>(insert, row, options);
        add_row(changed, made.query_fingerprint_id);
        return made;
      },
      options);
}

std::vector<std::int32_t> match_result_repository::create_batch(
    std::span<const new_match_result> rows, const call_options& options) {
  for (std::size_t i = 0; i < rows.size(); ++i) check(rows[i], i);
  return insert_in_chunks(*on_, rows, insert_budget, size_of, insert_rows, options);
}

page<match_result> match_result_repository::top(std::int32_t query_fingerprint_id, int limit,
                                                const cursor& after, const call_options& options) {
  limits::check_limit(limit);
  const list_scope list{select_top.name(), query_fingerprint_id};
  const auto from = list.open<double, std::int32_t>(after);
  const auto tags = [&](tag_set& read) {
    read.add_row(table::match_results, "query_fingerprint_id", query_fingerprint_id);
  };
  const auto read = [&](const query& select, const params& values) {
    return page_of(
        on_->all<match_result>(select, values, options, {.tags = tags}), limit,
        [&](const match_result& last) { return list.at(last.similarity_score, last.id); });
  };
  if (!from) return read(select_top, {query_fingerprint_id, limit});
  const auto& [score, id] = *from;
  return read(select_top_after, {query_fingerprint_id, limit, score, id});
}

page<match_result> match_result_repository::page(const cursor& after, int limit,
                                                 const call_options& options) {
  limits::check_limit(limit);
  const list_scope list{select_page.name()};
  return page_of(on_->all<match_result>(select_page, {list.id_after(after), limit}, options), limit,
                 [&](const match_result& last) { return list.at(last.id); });
}

bool match_result_repository::mark_responded(std::int32_t id, const call_options& options) {
  return on_->changing(
      table::match_results,
      [&](executor& on, tag_set& changed) {
        const auto of = on.maybe<std::optional<std::int32_t>>(set_responded, {id}, options);
        if (of) add_row(changed, *of);
        return of.has_value();
      },
      options);
}

}  // namespace soundhash::db
