#include <algorithm>
#include <cmath>
#include <iterator>
#include <map>
#include <string>
#include <tuple>
#include <utility>

#include <soundhash/db/core/error.hpp>
#include <soundhash/db/repository/fingerprint_repository.hpp>

#include "repository/column_array.hpp"
#include "repository/column_limits.hpp"
#include "repository/columns.hpp"
#include "repository/list_cursor.hpp"
#include "repository/row_chunks.hpp"
#include "repository/row_tags.hpp"

// `f` is "f." or "".
#define COLUMNS(f)                                                                 \
  f "id, " f "video_id, " f "start_time, " f "end_time, " f "fingerprint_hash, " f \
    "sample_rate, " f "segment_length, " f "confidence_score, " f "peak_count, " f \
    "created_at, " f "n_fft, " f "hop_length"
#define INSERT                                                                           \
  "INSERT INTO audio_fingerprints (video_id, start_time, end_time, fingerprint_hash, "   \
  "fingerprint_data, sample_rate, segment_length, confidence_score, peak_count, n_fft, " \
  "hop_length, created_at) "

// The windows of every video that the clip ($1 hashes, $2 offsets) hits, with at most $3 rows of
// each hash and bins of $4 seconds. NaN, infinity and other times that are none (beyond 30 000
// years), which Python may have stored, have no bin.
#define VOTES                                                                        \
  "WITH hits AS (SELECT f.video_id, clip.place, f.start_time - clip.place AS delta " \
  "FROM unnest($1::text[], $2::float8[]) AS clip(hash, place) CROSS JOIN LATERAL "   \
  "(SELECT video_id, start_time FROM audio_fingerprints "                            \
  "WHERE fingerprint_hash = clip.hash AND abs(start_time) < 1e12 LIMIT $3) AS f), "  \
  "windows AS (SELECT video_id, floor(delta / $4::float8) - shift AS bin, "          \
  "count(DISTINCT place) AS votes, count(*) AS hits, sum(delta) AS delta_sum "       \
  "FROM hits CROSS JOIN (VALUES (0), (1)) AS neighbours(shift) GROUP BY video_id, bin) "

namespace soundhash::db {
namespace {

/// One window of one video, over one chunk of the clip or, added up, over all.
struct window_votes {
  std::int32_t video_id = 0;
  double bin = 0;
  std::int64_t votes = 0;
  std::int64_t hits = 0;
  double delta_sum = 0;
};

/// A hash of a video and the last of its sort keys.
struct placed_hash {
  hash_at hash;
  std::int32_t id = 0;
};

}  // namespace

template <>
struct row_traits<window_votes> {
  static constexpr auto columns =
      std::tuple{column{"video_id", &window_votes::video_id}, column{"bin", &window_votes::bin},
                 column{"votes", &window_votes::votes}, column{"hits", &window_votes::hits},
                 column{"delta_sum", &window_votes::delta_sum}};
};

template <>
struct row_traits<placed_hash> {
  static constexpr auto columns =
      std::tuple{column{"", &placed_hash::hash}, column{"id", &placed_hash::id}};
};

namespace {

constexpr query insert{"fingerprint.create", INSERT
                       "VALUES ($1, $2, $3, $4, $5, COALESCE($6, 22050), $7, $8, $9, $10, "
                       "$11, " SOUNDHASH_DB_UTC_NOW ") RETURNING " COLUMNS("")};

// The id's default is evaluated above the ORDER BY, so ascending ids are the order of the rows.
constexpr query insert_batch{
    "fingerprint.create_batch", INSERT
    "SELECT n.video_id, n.start_time, n.end_time, n.fingerprint_hash, n.fingerprint_data, "
    "COALESCE(n.sample_rate, 22050), n.segment_length, n.confidence_score, n.peak_count, "
    "n.n_fft, n.hop_length, " SOUNDHASH_DB_UTC_NOW
    " FROM unnest($1::int4[], $2::float8[], $3::float8[], $4::text[], $5::bytea[], $6::int4[], "
    "$7::float8[], $8::float8[], $9::int4[], $10::int4[], $11::int4[]) WITH ORDINALITY AS "
    "n(video_id, start_time, end_time, fingerprint_hash, fingerprint_data, sample_rate, "
    "segment_length, confidence_score, peak_count, n_fft, hop_length, place) "
    "ORDER BY n.place RETURNING id"};

constexpr query select_exists{"fingerprint.exists",
                              "SELECT EXISTS (SELECT FROM audio_fingerprints WHERE video_id = $1 "
                              "AND sample_rate = $2 AND n_fft = $3 AND hop_length = $4)",
                              access::read_only};

constexpr query select_with_data{
    "fingerprint.find_with_data",
    "SELECT " COLUMNS("") ", fingerprint_data FROM audio_fingerprints WHERE id = $1",
    access::read_only};

constexpr query select_by_hash{"fingerprint.find_by_hash",
                               "SELECT " COLUMNS("")
                               " FROM audio_fingerprints WHERE fingerprint_hash = $1 "
                               "ORDER BY video_id, start_time, id LIMIT $2",
                               access::read_only};

constexpr query select_by_hash_with_data{
    "fingerprint.find_by_hash_with_data",
    "SELECT " COLUMNS("")
    ", fingerprint_data FROM audio_fingerprints WHERE fingerprint_hash = $1 "
    "ORDER BY video_id, start_time, id LIMIT $2",
    access::read_only};

// A subquery for each hash and not a join: so no hash can bring more than its share.
constexpr query select_by_hashes{
    "fingerprint.find_by_hashes",
    "SELECT " COLUMNS("f.")
    " FROM unnest($1::text[]) AS wanted(hash) "
    "CROSS JOIN LATERAL (SELECT " COLUMNS("")
    " FROM audio_fingerprints "
    "WHERE fingerprint_hash = wanted.hash LIMIT $2) AS f",
    access::read_only};

constexpr query select_by_hash_after{
    "fingerprint.find_by_hash_after",
    "SELECT " COLUMNS("")
    " FROM audio_fingerprints WHERE fingerprint_hash = $1 "
    "AND (video_id, start_time, id) > ($3, $4, $5) ORDER BY video_id, start_time, id LIMIT $2",
    access::read_only};

constexpr query select_by_hash_with_data_after{
    "fingerprint.find_by_hash_with_data_after",
    "SELECT " COLUMNS("")
    ", fingerprint_data FROM audio_fingerprints WHERE fingerprint_hash = $1 "
    "AND (video_id, start_time, id) > ($3, $4, $5) ORDER BY video_id, start_time, id LIMIT $2",
    access::read_only};

constexpr query select_by_video_page{
    "fingerprint.by_video_page",
    "SELECT " COLUMNS("")
    " FROM audio_fingerprints WHERE video_id = $1 AND start_time >= $2 AND start_time < $3 "
    "AND (start_time, id) > ($4, $5) ORDER BY start_time, id LIMIT $6",
    access::read_only};

constexpr query select_page{
    "fingerprint.page",
    "SELECT " COLUMNS("") " FROM audio_fingerprints WHERE id > $1 ORDER BY id LIMIT $2",
    access::read_only};

constexpr query select_by_video{"fingerprint.by_video",
                                "SELECT " COLUMNS("")
                                " FROM audio_fingerprints WHERE video_id = $1 "
                                "AND start_time >= $2 AND start_time < $3 ORDER BY start_time, id",
                                access::read_only};

constexpr query select_hashes{"fingerprint.hashes_of_video",
                              "SELECT fingerprint_hash, start_time FROM audio_fingerprints "
                              "WHERE video_id = $1 ORDER BY start_time, id",
                              access::read_only};

constexpr query select_hashes_page{
    "fingerprint.hashes_of_video_page",
    "SELECT fingerprint_hash, start_time, id FROM audio_fingerprints "
    "WHERE video_id = $1 AND (start_time, id) > ($2, $3) ORDER BY start_time, id LIMIT $4",
    access::read_only};

constexpr query select_match{
    "fingerprint.match",
    VOTES
    ", best AS (SELECT DISTINCT ON (video_id) video_id, votes, delta_sum / hits AS offset_seconds "
    "FROM windows WHERE votes >= $5 ORDER BY video_id, votes DESC, hits, bin), "
    "top AS (SELECT video_id, votes, offset_seconds FROM best "
    "ORDER BY votes DESC, video_id LIMIT $6) "
    "SELECT v.id, v.video_id, v.channel_id, v.title, v.duration, v.url, top.offset_seconds, "
    "top.votes FROM top JOIN videos AS v ON v.id = top.video_id ORDER BY top.votes DESC, v.id",
    access::read_only};

constexpr query select_votes{"fingerprint.match_votes",
                             VOTES "SELECT video_id, bin, votes, hits, delta_sum FROM windows",
                             access::read_only};

constexpr query select_matched{
    "fingerprint.matched_videos",
    "SELECT v.id, v.video_id, v.channel_id, v.title, v.duration, v.url, top.offset_seconds, "
    "top.votes FROM unnest($1::int4[], $2::float8[], $3::int8[]) AS top(id, offset_seconds, votes) "
    "JOIN videos AS v ON v.id = top.id ORDER BY top.votes DESC, v.id",
    access::read_only};

constexpr limits::text_column hash_column{"fingerprint_hash", 64};
constexpr limits::text_column query_hash_column{"hash", 64};

constexpr chunk_budget insert_budget{2000, 16U << 20U};
constexpr chunk_budget lookup_budget{1000, 16U << 20U};
constexpr std::size_t match_chunk = 1000;

void check(const new_fingerprint& values, limits::row_number row = {}) {
  limits::check_finite("start_time", values.start_time, row);
  limits::check_finite("end_time", values.end_time, row);
  limits::check(hash_column, values.fingerprint_hash, row);
  if (values.sample_rate) limits::check_at_least("sample_rate", *values.sample_rate, 1, row);
  limits::check_finite("segment_length", values.segment_length, row);
  limits::check_finite("confidence_score", values.confidence_score, row);
  limits::check_at_least("n_fft", values.n_fft, 1, row);
  limits::check_at_least("hop_length", values.hop_length, 1, row);
}

void check(std::span<const query_hash> clip, const match_options& how) {
  limits::check_range("bin_seconds", how.bin_seconds, 1e-6, 3600.0);
  limits::check_at_least("min_votes", how.min_votes, 1);
  limits::check_range("max_per_hash", how.max_per_hash, 1, 10'000);
  limits::check_limit(how.limit);
  for (std::size_t i = 0; i < clip.size(); ++i) {
    limits::check(query_hash_column, clip[i].hash, i);
    limits::check_finite("offset", clip[i].offset, i);
  }
}

std::size_t size_of(const new_fingerprint& values) {
  return values.fingerprint_hash.size() +
         (values.fingerprint_data ? values.fingerprint_data->size() : 0);
}

std::vector<std::int32_t> insert_chunk(executor& on, std::span<const new_fingerprint> rows,
                                       const call_options& options) {
  auto ids = on.all<std::int32_t>(insert_batch,
                                  {column_array{rows, &new_fingerprint::video_id},
                                   column_array{rows, &new_fingerprint::start_time},
                                   column_array{rows, &new_fingerprint::end_time},
                                   column_array{rows, &new_fingerprint::fingerprint_hash},
                                   column_array{rows, &new_fingerprint::fingerprint_data},
                                   column_array{rows, &new_fingerprint::sample_rate},
                                   column_array{rows, &new_fingerprint::segment_length},
                                   column_array{rows, &new_fingerprint::confidence_score},
                                   column_array{rows, &new_fingerprint::peak_count},
                                   column_array{rows, &new_fingerprint::n_fft},
                                   column_array{rows, &new_fingerprint::hop_length}},
                                  options);
  std::sort(ids.begin(), ids.end());
  return ids;
}

std::vector<std::int32_t> insert_rows(executor& on, std::span<const new_fingerprint> rows,
                                      const call_options& options) {
  return on.changing(
      table::audio_fingerprints,
      [&](executor& inside, tag_set& changed) {
        auto ids = insert_chunk(inside, rows, options);
        for (const auto& row : rows) {
          changed.add_row(table::audio_fingerprints, "video_id", row.video_id);
        }
        return ids;
      },
      options);
}

params vote_params(std::span<const query_hash> clip, const match_options& how) {
  return {column_array{clip, &query_hash::hash}, column_array{clip, &query_hash::offset},
          how.max_per_hash, how.bin_seconds};
}

/// Hashes of about `match_chunk` at the front; those with one offset stay together.
std::span<const query_hash> front_chunk(std::span<const query_hash> clip) {
  if (clip.size() <= match_chunk) return clip;
  const auto last = clip[match_chunk - 1].offset;
  const auto rest = clip.subspan(match_chunk);
  const auto end = std::find_if(rest.begin(), rest.end(),
                                [&](const query_hash& hash) { return hash.offset != last; });
  return clip.first(match_chunk + static_cast<std::size_t>(end - rest.begin()));
}

using window_key = std::pair<std::int32_t, double>;

/// Votes over the whole clip. The offsets of the chunks are disjoint, so their votes add up.
std::map<window_key, window_votes> count_votes(executor& on, std::span<const query_hash> sorted,
                                               const match_options& how,
                                               const call_options& options) {
  std::map<window_key, window_votes> total;
  while (!sorted.empty()) {
    const auto chunk = front_chunk(sorted);
    for (const auto& part : on.all<window_votes>(select_votes, vote_params(chunk, how), options)) {
      auto& sum = total[{part.video_id, part.bin}];
      sum = {part.video_id, part.bin, sum.votes + part.votes, sum.hits + part.hits,
             sum.delta_sum + part.delta_sum};
    }
    sorted = sorted.subspan(chunk.size());
  }
  return total;
}

/// A video as `select_matched` takes it.
struct best_window {
  std::int32_t video_id;
  double offset_seconds;
  std::int64_t votes;
};

/// The best window of each video with enough votes, the best videos first; as `select_match` does.
std::vector<best_window> best_windows(const std::map<window_key, window_votes>& windows,
                                      const match_options& how) {
  std::map<std::int32_t, window_votes> best;
  for (const auto& [key, window] : windows) {
    if (window.votes < how.min_votes) continue;
    auto& so_far = best.try_emplace(window.video_id, window).first->second;
    if (std::pair{-window.votes, window.hits} < std::pair{-so_far.votes, so_far.hits}) {
      so_far = window;
    }
  }
  std::vector<best_window> found;
  for (const auto& [video_id, window] : best) {
    found.push_back({video_id, window.delta_sum / static_cast<double>(window.hits), window.votes});
  }
  std::stable_sort(found.begin(), found.end(),
                   [](const best_window& a, const best_window& b) { return a.votes > b.votes; });
  if (found.size() > static_cast<std::size_t>(how.limit)) {
    found.resize(static_cast<std::size_t>(how.limit));
  }
  return found;
}

constexpr double infinity = std::numeric_limits<double>::infinity();

void check_times(double from, double to) {
  if (std::isnan(from)) throw invalid_argument{"from", "the time must not be NaN"};
  if (std::isnan(to)) throw invalid_argument{"to", "the time must not be NaN"};
}

const fingerprint& print_of(const fingerprint& row) {
  return row;  // NOLINT(bugprone-return-const-ref-from-parameter): of a row that its caller keeps
}
const fingerprint& print_of(const fingerprint_with_data& row) {
  return row.fingerprint;
}

struct hash_page {
  std::string_view hash;
  int limit;
  const cursor& after;
};

template <class Row>
page<Row> page_by_hash(executor& on, const query& first, const query& further,
                       const hash_page& wanted, const call_options& options) {
  limits::check(query_hash_column, wanted.hash);
  limits::check_limit(wanted.limit);
  const list_scope list{first.name(), wanted.hash};
  const auto from = list.open<std::int32_t, double, std::int32_t>(wanted.after);
  params values{wanted.hash, wanted.limit};
  if (from) std::apply([&](const auto&... key) { (values.append(key), ...); }, *from);
  return page_of(on.all<Row>(from ? further : first, values, options), wanted.limit,
                 [&](const Row& last) {
                   const auto& print = print_of(last);
                   return list.at(print.video_id, print.start_time, print.id);
                 });
}

}  // namespace

fingerprint fingerprint_repository::create(const new_fingerprint& values,
                                           const call_options& options) {
  check(values);
  const params row{
      values.video_id,         values.start_time,  values.end_time,       values.fingerprint_hash,
      values.fingerprint_data, values.sample_rate, values.segment_length, values.confidence_score,
      values.peak_count,       values.n_fft,       values.hop_length};
  return on_->changing(
      table::audio_fingerprints,
      [&](executor& on, tag_set& changed) {
        auto made = on.one<fingerprint>(insert, row, options);
        changed.add_row(table::audio_fingerprints, "video_id", made.video_id);
        return made;
      },
      options);
}

std::vector<std::int32_t> fingerprint_repository::create_batch(
    std::span<const new_fingerprint> rows, const call_options& options) {
  for (std::size_t i = 0; i < rows.size(); ++i) check(rows[i], i);
  return insert_in_chunks(*on_, rows, insert_budget, size_of, insert_rows, options);
}

bool fingerprint_repository::exists(std::int32_t video_id, std::int32_t sample_rate,
                                    std::int32_t n_fft, std::int32_t hop_length,
                                    const call_options& options) {
  return on_->one<bool>(select_exists, {video_id, sample_rate, n_fft, hop_length}, options);
}

std::optional<fingerprint_with_data> fingerprint_repository::find_with_data(
    std::int32_t id, const call_options& options) {
  return on_->maybe<fingerprint_with_data>(select_with_data, {id}, options);
}

page<fingerprint> fingerprint_repository::find_by_hash(std::string_view hash, int limit,
                                                       const cursor& after,
                                                       const call_options& options) {
  return page_by_hash<fingerprint>(*on_, select_by_hash, select_by_hash_after, {hash, limit, after},
                                   options);
}

page<fingerprint_with_data> fingerprint_repository::find_by_hash_with_data(
    std::string_view hash, int limit, const cursor& after, const call_options& options) {
  return page_by_hash<fingerprint_with_data>(*on_, select_by_hash_with_data,
                                             select_by_hash_with_data_after, {hash, limit, after},
                                             options);
}

std::vector<fingerprint> fingerprint_repository::find_by_hashes(std::span<const std::string> hashes,
                                                                int max_per_hash,
                                                                const call_options& options) {
  limits::check_range("max_per_hash", max_per_hash, 1, 10'000);
  for (std::size_t i = 0; i < hashes.size(); ++i) limits::check(query_hash_column, hashes[i], i);
  std::vector<std::string> distinct(hashes.begin(), hashes.end());
  std::sort(distinct.begin(), distinct.end());
  distinct.erase(std::unique(distinct.begin(), distinct.end()), distinct.end());
  std::vector<fingerprint> found;
  for_each_chunk(
      std::span<const std::string>{distinct}, lookup_budget,
      [](const std::string& hash) { return hash.size(); },
      [&](auto chunk) {
        auto part = on_->all<fingerprint>(select_by_hashes, {chunk, max_per_hash}, options);
        found.insert(found.end(), std::move_iterator{part.begin()}, std::move_iterator{part.end()});
      });
  return found;
}

std::vector<fingerprint> fingerprint_repository::by_video(std::int32_t video_id, double from,
                                                          double to, const call_options& options) {
  check_times(from, to);
  return on_->all<fingerprint>(select_by_video, {video_id, from, to}, options);
}

page<fingerprint> fingerprint_repository::by_video_page(std::int32_t video_id, const cursor& after,
                                                        int limit, double from, double to,
                                                        const call_options& options) {
  check_times(from, to);
  limits::check_limit(limit);
  const list_scope list{select_by_video_page.name(), video_id, from, to};
  const auto [start_time, id] =
      list.open<double, std::int32_t>(after).value_or(std::tuple{-infinity, 0});
  const params values{video_id, from, to, start_time, id, limit};
  return page_of(on_->all<fingerprint>(select_by_video_page, values, options), limit,
                 [&](const fingerprint& last) { return list.at(last.start_time, last.id); });
}

page<fingerprint> fingerprint_repository::page(const cursor& after, int limit,
                                               const call_options& options) {
  limits::check_limit(limit);
  const list_scope list{select_page.name()};
  return page_of(on_->all<fingerprint>(select_page, {list.id_after(after), limit}, options), limit,
                 [&](const fingerprint& last) { return list.at(last.id); });
}

std::vector<hash_at> fingerprint_repository::hashes_of_video(std::int32_t video_id,
                                                             const call_options& options) {
  return on_->all<hash_at>(select_hashes, {video_id}, options);
}

page<hash_at> fingerprint_repository::hashes_of_video_page(std::int32_t video_id,
                                                           const cursor& after, int limit,
                                                           const call_options& options) {
  limits::check_limit(limit);
  const list_scope list{select_hashes_page.name(), video_id};
  const auto [start_time, id] =
      list.open<double, std::int32_t>(after).value_or(std::tuple{-infinity, 0});
  auto rows = page_of(
      on_->all<placed_hash>(select_hashes_page, {video_id, start_time, id, limit}, options), limit,
      [&](const placed_hash& last) { return list.at(last.hash.start_time, last.id); });
  db::page<hash_at> hashes;
  for (auto& row : rows) hashes.push_back(std::move(row.hash));
  hashes.next = std::move(rows.next);
  return hashes;
}

std::vector<video_match> fingerprint_repository::match(std::span<const query_hash> clip,
                                                       const match_options& how,
                                                       const call_options& options) {
  check(clip, how);
  if (clip.empty()) return {};
  if (clip.size() <= match_chunk) {
    auto values = vote_params(clip, how);
    values.append(how.min_votes);
    values.append(how.limit);
    return on_->all<video_match>(select_match, values, options);
  }
  std::vector<query_hash> sorted(clip.begin(), clip.end());
  std::sort(sorted.begin(), sorted.end(),
            [](const query_hash& a, const query_hash& b) { return a.offset < b.offset; });
  const auto best = best_windows(count_votes(*on_, sorted, how, options), how);
  if (best.empty()) return {};
  const std::span<const best_window> found{best};
  return on_->all<video_match>(
      select_matched,
      {column_array{found, &best_window::video_id},
       column_array{found, &best_window::offset_seconds}, column_array{found, &best_window::votes}},
      options);
}

}  // namespace soundhash::db
