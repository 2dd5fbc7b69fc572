#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <soundhash/db.hpp>

#include "support/test_database.hpp"

namespace soundhash::db {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr query add_tenant{"test.add_tenant",
                           "ALTER TABLE audio_fingerprints ADD COLUMN tenant_id int"};
constexpr query insert_bare{"test.insert_bare",
                            "INSERT INTO audio_fingerprints (video_id, start_time, end_time, "
                            "fingerprint_hash) VALUES ($1, $2, $3, $4)"};
constexpr query count_all{"test.count", "SELECT count(*) FROM audio_fingerprints"};

class fingerprint_repository_test : public ::testing::Test {
 protected:
  std::int32_t add_video(const std::string& video_id) {
    return db_.videos()
        .create({.video_id = video_id, .channel_id = channel_, .title = video_id})
        .id;
  }
  void add(std::int32_t video, double start, const std::string& hash) {
    db_.execute(insert_bare, {video, start, start + 1, hash});
  }

  database db_ = test::fresh_database();
  std::int32_t channel_ = db_.channels().create({.channel_id = "UC1"}).id;
  std::int32_t video_ = add_video("v");
};

bytes blob(std::size_t size) {
  bytes data(size);
  for (std::size_t i = 0; i < size; ++i) data[i] = static_cast<std::byte>(i * 7);
  return data;
}

TEST_F(fingerprint_repository_test, create_stores_every_column) {
  const auto made = db_.fingerprints().create({.video_id = video_,
                                               .start_time = 0.1 + 0.2,
                                               .end_time = 90.123456789,
                                               .fingerprint_hash = "h",
                                               .fingerprint_data = blob(1000),
                                               .sample_rate = 11025,
                                               .segment_length = 90,
                                               .confidence_score = 0.5,
                                               .peak_count = 3,
                                               .n_fft = 4096,
                                               .hop_length = 1365});
  const auto read = db_.fingerprints().find_with_data(made.id);
  ASSERT_TRUE(read);
  EXPECT_EQ(read->fingerprint.video_id, video_);
  EXPECT_EQ(read->fingerprint.start_time, 0.1 + 0.2);
  EXPECT_EQ(read->fingerprint.end_time, 90.123456789);
  EXPECT_EQ(read->fingerprint.fingerprint_hash, "h");
  EXPECT_EQ(read->fingerprint.sample_rate, 11025);
  EXPECT_EQ(read->fingerprint.segment_length, 90);
  EXPECT_EQ(read->fingerprint.confidence_score, 0.5);
  EXPECT_EQ(read->fingerprint.peak_count, 3);
  EXPECT_EQ(read->fingerprint.n_fft, 4096);
  EXPECT_EQ(read->fingerprint.hop_length, 1365);
  EXPECT_EQ(read->fingerprint.created_at, made.created_at);
  EXPECT_TRUE(read->fingerprint.created_at);
  EXPECT_EQ(read->fingerprint_data, blob(1000));
}

TEST_F(fingerprint_repository_test, sample_rate_that_is_not_set_becomes_the_default) {
  const auto made =
      db_.fingerprints().create({.video_id = video_, .fingerprint_hash = "h", .sample_rate = {}});
  EXPECT_EQ(made.sample_rate, 22050);
  EXPECT_EQ(made.n_fft, 2048);
  EXPECT_EQ(made.hop_length, 512);
  EXPECT_EQ(db_.fingerprints().find_with_data(made.id)->fingerprint_data, std::nullopt);
  const std::vector<new_fingerprint> one{
      {.video_id = video_, .fingerprint_hash = "g", .sample_rate = {}}};
  db_.fingerprints().create_batch(one);
  EXPECT_EQ(db_.fingerprints().find_by_hash("g").at(0).sample_rate, 22050);
}

TEST_F(fingerprint_repository_test, create_batch_gives_ids_in_the_order_of_the_rows) {
  std::vector<new_fingerprint> rows;
  for (int i = 0; i < 4500; ++i) {  // three statements
    rows.push_back({.video_id = video_,
                    .start_time = 4500.0 - i,
                    .end_time = 4501.0 - i,
                    .fingerprint_hash = "h" + std::to_string(i),
                    .peak_count = i});
  }
  const auto ids = db_.fingerprints().create_batch(rows);
  ASSERT_EQ(ids.size(), rows.size());
  EXPECT_EQ(db_.one<std::int64_t>(count_all), 4500);
  for (const std::size_t i : {0U, 1U, 1999U, 2000U, 2001U, 4499U}) {
    const auto read = db_.fingerprints().find_with_data(ids[i]);
    ASSERT_TRUE(read);
    EXPECT_EQ(read->fingerprint.fingerprint_hash, rows[i].fingerprint_hash);
    EXPECT_EQ(read->fingerprint.start_time, rows[i].start_time);
    EXPECT_EQ(read->fingerprint.peak_count, rows[i].peak_count);
    EXPECT_EQ(read->fingerprint.confidence_score, std::nullopt);
    EXPECT_TRUE(read->fingerprint.created_at);
  }
}

TEST_F(fingerprint_repository_test, create_batch_cuts_blobs_by_their_bytes) {
  std::vector<new_fingerprint> rows(5);
  for (std::size_t i = 0; i < rows.size(); ++i) {
    rows[i] = {.video_id = video_,
               .fingerprint_hash = std::to_string(i),
               .fingerprint_data = blob((5U << 20U) + i)};
  }
  rows[2].fingerprint_data.reset();
  const auto statements = [&] {
    const auto now = db_.metrics().snapshot();
    const auto* const counted = now.query("fingerprint.create_batch");
    return counted != nullptr ? counted->count : 0;
  };
  const auto before = statements();
  const auto ids = db_.fingerprints().create_batch(rows);
  EXPECT_EQ(statements() - before, 2U);
  for (std::size_t i = 0; i < rows.size(); ++i) {
    EXPECT_EQ(db_.fingerprints().find_with_data(ids[i])->fingerprint_data,
              rows[i].fingerprint_data);
  }
}

TEST_F(fingerprint_repository_test, create_batch_is_all_or_nothing) {
  std::vector<new_fingerprint> rows(3000, {.video_id = video_, .fingerprint_hash = "h"});
  rows.back().video_id = video_ + 1;
  EXPECT_THROW(db_.fingerprints().create_batch(rows), constraint_violation);
  EXPECT_EQ(db_.one<std::int64_t>(count_all), 0);
}

TEST_F(fingerprint_repository_test, create_batch_names_the_row_it_refuses) {
  std::vector<new_fingerprint> rows(3, {.video_id = video_, .fingerprint_hash = "h"});
  const auto refused_argument = [&] {
    try {
      db_.fingerprints().create_batch(rows);
    } catch (const invalid_argument& refused) {
      EXPECT_EQ(refused.row(), 2U);
      return std::string{refused.argument()};
    }
    return std::string{"nothing"};
  };
  const auto good = rows[2];
  rows[2].fingerprint_hash = std::string(65, 'x');
  EXPECT_EQ(refused_argument(), "fingerprint_hash");
  rows[2] = good;
  rows[2].start_time = std::nan("");
  EXPECT_EQ(refused_argument(), "start_time");
  rows[2] = good;
  rows[2].end_time = std::numeric_limits<double>::infinity();
  EXPECT_EQ(refused_argument(), "end_time");
  rows[2] = good;
  rows[2].hop_length = 0;
  EXPECT_EQ(refused_argument(), "hop_length");
  EXPECT_EQ(db_.one<std::int64_t>(count_all), 0);
}

TEST_F(fingerprint_repository_test, create_batch_of_nothing_sends_nothing) {
  const auto before = db_.metrics().snapshot().total_queries;
  EXPECT_THAT(db_.fingerprints().create_batch({}), IsEmpty());
  EXPECT_EQ(db_.metrics().snapshot().total_queries, before);
}

TEST_F(fingerprint_repository_test, exists_looks_at_all_parameters) {
  db_.fingerprints().create({.video_id = video_, .fingerprint_hash = "h"});
  EXPECT_TRUE(db_.fingerprints().exists(video_, 22050, 2048, 512));
  EXPECT_FALSE(db_.fingerprints().exists(video_ + 1, 22050, 2048, 512));
  EXPECT_FALSE(db_.fingerprints().exists(video_, 44100, 2048, 512));
  EXPECT_FALSE(db_.fingerprints().exists(video_, 22050, 1024, 512));
  EXPECT_FALSE(db_.fingerprints().exists(video_, 22050, 2048, 256));
}

TEST_F(fingerprint_repository_test, find_by_hash_gives_all_rows_of_a_hash) {
  const auto other = add_video("w");
  add(other, 1, "h");
  add(video_, 5, "h");
  add(video_, 2, "h");
  add(video_, 3, "g");
  const auto found = db_.fingerprints().find_by_hash("h");
  ASSERT_EQ(found.size(), 3U);
  EXPECT_EQ(found[0].start_time, 2);
  EXPECT_EQ(found[1].start_time, 5);
  EXPECT_EQ(found[2].video_id, other);
  EXPECT_EQ(found[0].sample_rate, std::nullopt);
  EXPECT_EQ(db_.fingerprints().find_by_hash("h", 1).size(), 1U);
  EXPECT_EQ(db_.fingerprints().find_by_hash_with_data("h").size(), 3U);
  EXPECT_THAT(db_.fingerprints().find_by_hash("none"), IsEmpty());
}

TEST_F(fingerprint_repository_test, find_by_hashes_gives_each_hash_its_share) {
  for (const double start : {1.0, 2.0, 3.0}) add(video_, start, "often");
  add(video_, 4, "once");
  add(video_, 5, "other");
  const auto found = [&](const std::vector<std::string>& hashes, int most) {
    std::vector<std::string> of_rows;
    for (const auto& f : db_.fingerprints().find_by_hashes(hashes, most))
      of_rows.push_back(f.fingerprint_hash);
    std::sort(of_rows.begin(), of_rows.end());
    return of_rows;
  };
  EXPECT_THAT(found({"often", "once", "none", "once"}, 2), ElementsAre("often", "often", "once"));
  EXPECT_THAT(found({}, 2), IsEmpty());
  EXPECT_THROW(found({"often"}, 0), invalid_argument);
  EXPECT_THROW(found({"once", std::string(65, 'x')}, 1), invalid_argument);
}

TEST_F(fingerprint_repository_test, find_by_hashes_takes_more_than_a_statement_holds) {
  std::vector<std::string> hashes(2500, "h");
  for (std::size_t i = 0; i < hashes.size(); ++i) hashes[i] += std::to_string(i);
  for (const std::size_t i : {0U, 999U, 1000U, 2499U}) add(video_, 1, hashes[i]);
  EXPECT_EQ(db_.fingerprints().find_by_hashes(hashes).size(), 4U);
}

TEST_F(fingerprint_repository_test, by_video_takes_the_half_open_range) {
  for (const double start : {3.0, 1.0, 2.0}) add(video_, start, std::to_string(start));
  add(add_video("w"), 1.5, "other");
  const auto starts = [&](double from, double to) {
    std::vector<double> times;
    for (const auto& f : db_.fingerprints().by_video(video_, from, to))
      times.push_back(f.start_time);
    return times;
  };
  EXPECT_THAT(starts(1, 3), ElementsAre(1, 2));
  EXPECT_THAT(starts(0, std::numeric_limits<double>::infinity()), ElementsAre(1, 2, 3));
  EXPECT_THROW((void)db_.fingerprints().by_video(video_, std::nan("")), invalid_argument);
  EXPECT_THROW((void)db_.fingerprints().by_video(video_, 0, std::nan("")), invalid_argument);
}

TEST_F(fingerprint_repository_test, pages_of_a_hash_go_by_video_and_time) {
  const auto other = add_video("w");
  for (const double start : {5.0, 2.0, 2.0}) add(video_, start, "h");
  add(other, 1, "h");
  add(video_, 3, "g");
  for (const int limit : {1, 2, 4}) {
    SCOPED_TRACE(limit);
    std::vector<double> seen;
    std::vector<double> with_data;
    for (std::optional<cursor> at{std::in_place}; at && seen.size() < 100;) {
      const auto page = db_.fingerprints().find_by_hash("h", limit, *at);
      for (const auto& each : page) seen.push_back(each.start_time);
      at = page.next;
    }
    for (std::optional<cursor> at{std::in_place}; at && with_data.size() < 100;) {
      const auto page = db_.fingerprints().find_by_hash_with_data("h", limit, *at);
      for (const auto& each : page) with_data.push_back(each.fingerprint.start_time);
      at = page.next;
    }
    EXPECT_THAT(seen, ElementsAre(2, 2, 5, 1));
    EXPECT_EQ(with_data, seen);
  }
  const auto next = *db_.fingerprints().find_by_hash("h", 1).next;
  EXPECT_THROW((void)db_.fingerprints().find_by_hash("g", 1, next), invalid_argument);
  EXPECT_THROW((void)db_.fingerprints().find_by_hash_with_data("h", 1, next), invalid_argument);
}

TEST_F(fingerprint_repository_test, pages_of_a_video_go_by_time) {
  for (const double start : {3.0, 1.0, 2.0, 2.0, 4.0}) add(video_, start, "h");
  add(add_video("w"), 1.5, "other");
  const auto starts = [&](int limit, double from, double to) {
    std::vector<double> times;
    for (std::optional<cursor> at{std::in_place}; at && times.size() < 100;) {
      const auto page = db_.fingerprints().by_video_page(video_, *at, limit, from, to);
      for (const auto& each : page) times.push_back(each.start_time);
      at = page.next;
    }
    return times;
  };
  EXPECT_THAT(starts(1, 0, 100), ElementsAre(1, 2, 2, 3, 4));
  EXPECT_THAT(starts(2, 2, 4), ElementsAre(2, 2, 3));
  const auto next = *db_.fingerprints().by_video_page(video_, {}, 1).next;
  EXPECT_THROW((void)db_.fingerprints().by_video_page(video_, next, 1, 1, 2), invalid_argument)
      << "another range is another list";
  EXPECT_THROW((void)db_.fingerprints().by_video_page(video_, {}, 1, std::nan("")),
               invalid_argument);
}

TEST_F(fingerprint_repository_test, page_walks_all_by_id) {
  for (const double start : {3.0, 1.0, 2.0}) add(video_, start, "h");
  std::vector<double> seen;
  for (std::optional<cursor> at{std::in_place}; at && seen.size() < 100;) {
    const auto page = db_.fingerprints().page(*at, 2);
    for (const auto& each : page) seen.push_back(each.start_time);
    at = page.next;
  }
  EXPECT_THAT(seen, ElementsAre(3, 1, 2));
}

TEST_F(fingerprint_repository_test, hashes_of_video_come_by_time) {
  add(video_, 2, "b");
  add(video_, 1, "a");
  const auto hashes = db_.fingerprints().hashes_of_video(video_);
  ASSERT_EQ(hashes.size(), 2U);
  EXPECT_EQ(hashes[0].fingerprint_hash, "a");
  EXPECT_EQ(hashes[1].start_time, 2);
}

TEST_F(fingerprint_repository_test, pages_of_hashes_go_by_time) {
  add(video_, 3, "d");
  for (const auto* hash : {"a", "b", "c"}) add(video_, 2, hash);
  add(video_, -1, "first");
  add(add_video("w"), 2, "other");
  for (const int limit : {1, 2, 3, 5}) {
    SCOPED_TRACE(limit);
    std::vector<std::string> seen;
    for (std::optional<cursor> at{std::in_place}; at && seen.size() < 100;) {
      const auto page = db_.fingerprints().hashes_of_video_page(video_, *at, limit);
      for (const auto& each : page) seen.push_back(each.fingerprint_hash);
      at = page.next;
    }
    EXPECT_THAT(seen, ElementsAre("first", "a", "b", "c", "d"));
  }
  const auto next = *db_.fingerprints().hashes_of_video_page(video_, {}, 1).next;
  EXPECT_THROW((void)db_.fingerprints().hashes_of_video_page(video_ + 1, next), invalid_argument);
  EXPECT_THROW((void)db_.fingerprints().by_video_page(video_, next), invalid_argument);
  EXPECT_THROW((void)db_.fingerprints().hashes_of_video_page(video_, {}, 0), invalid_argument);
}

/// Hashes p0, p1, … stored every `step` seconds from `start`.
std::vector<query_hash> clip_of(int count, double step) {
  std::vector<query_hash> clip;
  for (int i = 0; i < count; ++i) clip.push_back({"p" + std::to_string(i), i * step});
  return clip;
}

class match_test : public fingerprint_repository_test {
 protected:
  void store(std::int32_t video, const std::vector<query_hash>& clip, double at,
             double jitter = 0) {
    std::vector<new_fingerprint> rows;
    for (std::size_t i = 0; i < clip.size(); ++i) {
      const double start = at + clip[i].offset + (i % 2 == 0 ? 0 : jitter);
      rows.push_back({.video_id = video,
                      .start_time = start,
                      .end_time = start + 1,
                      .fingerprint_hash = clip[i].hash});
    }
    db_.fingerprints().create_batch(rows);
  }
};

TEST_F(match_test, finds_the_video_and_the_place) {
  const auto clip = clip_of(20, 0.1);
  const auto other = add_video("w");
  store(other, {clip.begin(), clip.begin() + 5}, 7.5);
  store(video_, clip, 42.25);
  const auto found = db_.fingerprints().match(clip);
  ASSERT_EQ(found.size(), 2U);
  EXPECT_EQ(found[0].id, video_);
  EXPECT_EQ(found[0].video_id, "v");
  EXPECT_EQ(found[0].channel_id, channel_);
  EXPECT_EQ(found[0].title, "v");
  EXPECT_EQ(found[0].votes, 20);
  EXPECT_NEAR(found[0].offset_seconds, 42.25, 1e-9);
  EXPECT_EQ(found[1].id, other);
  EXPECT_EQ(found[1].votes, 5);
  EXPECT_NEAR(found[1].offset_seconds, 7.5, 1e-9);
  EXPECT_EQ(db_.fingerprints().match(clip, {.limit = 1}).size(), 1U);
  EXPECT_EQ(db_.fingerprints().match(clip, {.min_votes = 6}).size(), 1U);
  EXPECT_THAT(db_.fingerprints().match(clip, {.min_votes = 21}), IsEmpty());
}

TEST_F(match_test, is_one_statement_for_a_clip) {
  const auto clip = clip_of(1000, 0.1);
  const auto before = db_.metrics().snapshot().total_queries;
  (void)db_.fingerprints().match(clip);
  EXPECT_EQ(db_.metrics().snapshot().total_queries, before + 1);
}

TEST_F(match_test, a_peak_is_not_split_wherever_it_lies_between_bins) {
  const auto clip = clip_of(10, 1.0);
  // Deltas differ by the width of a bin, at every phase to the bins' borders.
  std::vector<std::int32_t> videos;
  for (int phase = 0; phase < 8; ++phase) {
    videos.push_back(add_video("phase" + std::to_string(phase)));
    store(videos.back(), clip, 10 + phase * 0.0625, 0.5);
  }
  const auto found = db_.fingerprints().match(clip, {.bin_seconds = 0.5});
  ASSERT_EQ(found.size(), videos.size());
  for (const auto& match : found) EXPECT_EQ(match.votes, 10) << match.video_id;
}

TEST_F(match_test, offsets_two_bins_apart_never_agree) {
  const auto clip = clip_of(10, 1.0);
  store(video_, clip, 10, 1.0);
  const auto found = db_.fingerprints().match(clip, {.bin_seconds = 0.5});
  ASSERT_EQ(found.size(), 1U);
  EXPECT_EQ(found[0].votes, 5);
}

TEST_F(match_test, hits_in_another_order_are_no_match) {
  const auto clip = clip_of(20, 1.0);
  for (int i = 0; i < 20; ++i) add(video_, 100 - 3 * i, "p" + std::to_string(i));
  EXPECT_THAT(db_.fingerprints().match(clip), IsEmpty());
}

TEST_F(match_test, one_place_of_the_clip_votes_once) {
  for (int i = 0; i < 50; ++i) add(video_, 10, "silence");  // stored often at one time
  const std::vector<query_hash> stuffed(50, {.hash = "silence", .offset = 1});
  EXPECT_THAT(db_.fingerprints().match(stuffed), IsEmpty());
  const auto found = db_.fingerprints().match(stuffed, {.min_votes = 1});
  ASSERT_EQ(found.size(), 1U);
  EXPECT_EQ(found[0].votes, 1);
}

TEST_F(match_test, hot_hashes_are_capped) {
  for (int i = 0; i < 20; ++i) add(video_, i, "hot");
  const auto other = add_video("w");
  for (int i = 0; i < 20; ++i) add(other, i, "hot");
  const std::vector<query_hash> clip{{"hot", 0}};
  const auto matched = [&](int cap) {
    return db_.fingerprints().match(clip, {.min_votes = 1, .max_per_hash = cap}).size();
  };
  EXPECT_EQ(matched(1), 1U);
  EXPECT_EQ(matched(100), 2U);
}

TEST_F(match_test, a_clip_of_several_chunks_counts_as_one) {
  const auto clip = clip_of(2500, 0.05);
  store(video_, clip, 100);
  const auto other = add_video("w");
  store(other, {clip.begin() + 990, clip.begin() + 1010}, 3);  // across a border of chunks
  auto shuffled = clip;
  std::rotate(shuffled.begin(), shuffled.begin() + 1234, shuffled.end());
  const auto found = db_.fingerprints().match(shuffled);
  ASSERT_EQ(found.size(), 2U);
  EXPECT_EQ(found[0].id, video_);
  EXPECT_EQ(found[0].votes, 2500);
  EXPECT_NEAR(found[0].offset_seconds, 100, 1e-6);
  EXPECT_EQ(found[1].id, other);
  EXPECT_EQ(found[1].votes, 20);
  EXPECT_NEAR(found[1].offset_seconds, 3, 1e-6);
  EXPECT_EQ(found[1].video_id, "w");
  EXPECT_EQ(db_.fingerprints().match(shuffled, {.limit = 1}).size(), 1U);
}

TEST_F(match_test, an_offset_with_many_hashes_votes_once_across_chunks) {
  std::vector<query_hash> clip;
  std::vector<new_fingerprint> rows;
  for (int i = 0; i < 2500; ++i) {
    clip.push_back({"p" + std::to_string(i), i < 2400 ? 0.0 : 1.0});
    rows.push_back({.video_id = video_,
                    .start_time = 5 + clip.back().offset,
                    .end_time = 6,
                    .fingerprint_hash = clip.back().hash});
  }
  db_.fingerprints().create_batch(rows);
  const auto found = db_.fingerprints().match(clip, {.min_votes = 1});
  ASSERT_EQ(found.size(), 1U);
  EXPECT_EQ(found[0].votes, 2);
}

TEST_F(match_test, several_chunks_without_a_hit_find_nothing) {
  EXPECT_THAT(db_.fingerprints().match(clip_of(1500, 0.1)), IsEmpty());
}

TEST_F(match_test, times_that_are_none_match_nothing) {
  constexpr auto endless = std::numeric_limits<double>::infinity();
  for (const double start : {std::nan(""), endless, -endless, 1.7e308, -1.7e308}) {
    add(video_, start, "p0");
  }
  EXPECT_THAT(db_.fingerprints().match(clip_of(1, 1), {.min_votes = 1}), IsEmpty());
}

TEST_F(match_test, checks_its_arguments) {
  const auto clip = clip_of(1, 1);
  const auto match = [&](const match_options& how) { (void)db_.fingerprints().match(clip, how); };
  EXPECT_THROW(match({.bin_seconds = 0}), invalid_argument);
  EXPECT_THROW(match({.bin_seconds = std::nan("")}), invalid_argument);
  EXPECT_THROW(match({.min_votes = 0}), invalid_argument);
  EXPECT_THROW(match({.max_per_hash = 0}), invalid_argument);
  EXPECT_THROW(match({.limit = 0}), invalid_argument);
  const std::vector<query_hash> endless{{"h", 0}, {"h", std::numeric_limits<double>::infinity()}};
  try {
    (void)db_.fingerprints().match(endless);
    FAIL() << "nothing was thrown";
  } catch (const invalid_argument& refused) {
    EXPECT_EQ(refused.argument(), "offset");
    EXPECT_EQ(refused.row(), 1U);
  }
  EXPECT_THAT(db_.fingerprints().match({}), IsEmpty());
}

TEST_F(match_test, works_with_a_tenant_column) {
  db_.execute(add_tenant);
  const auto clip = clip_of(5, 1);
  store(video_, clip, 1);
  EXPECT_EQ(db_.fingerprints().match(clip).size(), 1U);
  EXPECT_EQ(db_.fingerprints().find_by_hash("p1").size(), 1U);
  EXPECT_EQ(db_.fingerprints().by_video(video_).size(), 5U);
  EXPECT_EQ(
      db_.fingerprints().create({.video_id = video_, .fingerprint_hash = "x"}).fingerprint_hash,
      "x");
}

}  // namespace
}  // namespace soundhash::db
