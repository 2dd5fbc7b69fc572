#include <chrono>
#include <cmath>
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

using ::testing::IsEmpty;

constexpr query select_one{
    "test.select_one",
    "SELECT id, query_fingerprint_id, matched_fingerprint_id, similarity_score, match_confidence, "
    "query_source, query_url, query_user, responded, response_sent_at, created_at "
    "FROM match_results WHERE id = $1"};
constexpr query insert_bare{"test.insert_bare",
                            "INSERT INTO match_results (query_fingerprint_id, similarity_score) "
                            "VALUES ($1, 0.5)"};
constexpr query count_all{"test.count", "SELECT count(*) FROM match_results"};

class match_result_repository_test : public ::testing::Test {
 protected:
  std::int32_t add_fingerprint() {
    return db_.fingerprints().create({.video_id = video_, .fingerprint_hash = "h"}).id;
  }

  database db_ = test::fresh_database();
  std::int32_t video_ =
      db_.videos()
          .create({.video_id = "v", .channel_id = db_.channels().create({.channel_id = "c"}).id})
          .id;
  std::int32_t query_ = add_fingerprint();
  std::int32_t matched_ = add_fingerprint();
};

TEST_F(match_result_repository_test, create_stores_every_column) {
  const timestamp sent_at{std::chrono::microseconds{1'700'000'000'123'456}};
  const auto made = db_.match_results().create({.query_fingerprint_id = query_,
                                                .matched_fingerprint_id = matched_,
                                                .similarity_score = 0.1 + 0.2,
                                                .match_confidence = 0.75,
                                                .query_source = "twitter",
                                                .query_url = "u",
                                                .query_user = "me",
                                                .responded = true,
                                                .response_sent_at = sent_at});
  const auto read = db_.one<match_result>(select_one, {made.id});
  EXPECT_EQ(read.query_fingerprint_id, query_);
  EXPECT_EQ(read.matched_fingerprint_id, matched_);
  EXPECT_EQ(read.similarity_score, 0.1 + 0.2);
  EXPECT_EQ(read.match_confidence, 0.75);
  EXPECT_EQ(read.query_source, "twitter");
  EXPECT_EQ(read.query_url, "u");
  EXPECT_EQ(read.query_user, "me");
  EXPECT_EQ(read.responded, true);
  EXPECT_EQ(read.response_sent_at, sent_at);
  EXPECT_EQ(read.created_at, made.created_at);
  EXPECT_TRUE(read.created_at);
}

TEST_F(match_result_repository_test, create_writes_the_defaults_that_only_python_knows) {
  const auto made = db_.match_results().create({.similarity_score = 0.5});
  EXPECT_EQ(made.responded, false);
  EXPECT_EQ(made.query_fingerprint_id, std::nullopt);
}

TEST_F(match_result_repository_test, create_checks_values_before_sending) {
  const auto create = [&](const new_match_result& values) { db_.match_results().create(values); };
  EXPECT_THROW(create({.similarity_score = std::nan("")}), invalid_argument);
  EXPECT_THROW(create({.query_source = std::string(51, 'x')}), invalid_argument);
  EXPECT_THROW(create({.query_url = std::string(1001, 'x')}), invalid_argument);
  EXPECT_THROW(create({.query_user = std::string(101, 'x')}), invalid_argument);
  EXPECT_THROW(create({.query_fingerprint_id = matched_ + 1}), constraint_violation);
}

TEST_F(match_result_repository_test, create_batch_gives_ids_in_the_order_of_the_rows) {
  std::vector<new_match_result> rows;
  for (int i = 0; i < 2100; ++i) {  // two statements
    rows.push_back({.query_fingerprint_id = query_,
                    .similarity_score = 1.0 / (i + 1),
                    .query_source = i % 2 == 0 ? std::optional{std::to_string(i)} : std::nullopt});
  }
  const auto ids = db_.match_results().create_batch(rows);
  ASSERT_EQ(ids.size(), rows.size());
  for (const std::size_t i : {0U, 1U, 1999U, 2000U, 2099U}) {
    const auto read = db_.one<match_result>(select_one, {ids[i]});
    EXPECT_EQ(read.similarity_score, rows[i].similarity_score);
    EXPECT_EQ(read.query_source, rows[i].query_source);
    EXPECT_EQ(read.responded, false);
  }
}

TEST_F(match_result_repository_test, create_batch_is_all_or_nothing) {
  std::vector<new_match_result> rows(2100, {.query_fingerprint_id = query_});
  rows.back().matched_fingerprint_id = matched_ + 1;
  EXPECT_THROW(db_.match_results().create_batch(rows), constraint_violation);
  EXPECT_EQ(db_.one<std::int64_t>(count_all), 0);
  rows.back() = {.query_user = std::string(101, 'x')};
  try {
    db_.match_results().create_batch(rows);
    FAIL() << "nothing was thrown";
  } catch (const invalid_argument& refused) {
    EXPECT_EQ(refused.argument(), "query_user");
    EXPECT_EQ(refused.row(), 2099U);
  }
  EXPECT_THAT(db_.match_results().create_batch({}), IsEmpty());
}

TEST_F(match_result_repository_test, top_gives_the_most_similar_first) {
  for (const double score : {0.2, 0.9, 0.5}) {
    db_.match_results().create({.query_fingerprint_id = query_, .similarity_score = score});
  }
  db_.match_results().create({.query_fingerprint_id = matched_, .similarity_score = 1});
  const auto top = db_.match_results().top(query_, 2);
  ASSERT_EQ(top.size(), 2U);
  EXPECT_EQ(top[0].similarity_score, 0.9);
  EXPECT_EQ(top[1].similarity_score, 0.5);
  EXPECT_THROW((void)db_.match_results().top(query_, 0), invalid_argument);
}

TEST_F(match_result_repository_test, top_pages_go_from_the_most_to_the_least_similar) {
  std::vector<std::int32_t> ids;
  for (const double score : {0.2, 0.1 + 0.2, 0.9, 0.1 + 0.2, 0.1 + 0.2}) {
    ids.push_back(
        db_.match_results().create({.query_fingerprint_id = query_, .similarity_score = score}).id);
  }
  for (const int limit : {1, 2, 5}) {
    SCOPED_TRACE(limit);
    std::vector<std::int32_t> seen;
    for (std::optional<cursor> at{std::in_place}; at && seen.size() < 100;) {
      const auto page = db_.match_results().top(query_, limit, *at);
      for (const auto& each : page) seen.push_back(each.id);
      at = page.next;
    }
    EXPECT_EQ(seen, (std::vector{ids[2], ids[4], ids[3], ids[1], ids[0]}));
  }
  const auto next = *db_.match_results().top(query_, 1).next;
  EXPECT_THROW((void)db_.match_results().top(matched_, 1, next), invalid_argument);
}

TEST_F(match_result_repository_test, page_walks_all_by_id) {
  std::vector<std::int32_t> ids;
  for (int i = 0; i < 5; ++i) {
    ids.push_back(db_.match_results().create({.query_fingerprint_id = query_}).id);
  }
  std::vector<std::int32_t> seen;
  for (std::optional<cursor> at{std::in_place}; at && seen.size() < 100;) {
    const auto page = db_.match_results().page(*at, 2);
    for (const auto& each : page) seen.push_back(each.id);
    at = page.next;
  }
  EXPECT_EQ(seen, ids);
}

TEST_F(match_result_repository_test, mark_responded_sets_the_time) {
  const auto made = db_.match_results().create({.similarity_score = 0.5});
  EXPECT_TRUE(db_.match_results().mark_responded(made.id));
  const auto read = db_.one<match_result>(select_one, {made.id});
  EXPECT_EQ(read.responded, true);
  EXPECT_GE(read.response_sent_at, made.created_at);
  EXPECT_FALSE(db_.match_results().mark_responded(made.id + 1));
}

TEST_F(match_result_repository_test, reads_a_row_of_nulls) {
  db_.execute(insert_bare, {query_});
  const auto top = db_.match_results().top(query_);
  ASSERT_EQ(top.size(), 1U);
  EXPECT_EQ(top[0].responded, std::nullopt);
  EXPECT_EQ(top[0].created_at, std::nullopt);
}

}  // namespace
}  // namespace soundhash::db
