#include <array>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include <soundhash/db.hpp>

#include "support/test_database.hpp"

namespace soundhash::db {
namespace {

constexpr query add_tenant{"test.add_tenant", "ALTER TABLE channels ADD COLUMN tenant_id int"};
constexpr query insert_bare{"test.insert_bare", "INSERT INTO channels (channel_id) VALUES ($1)"};
constexpr query set_last_processed{
    "test.set_last_processed",
    "UPDATE channels SET last_processed = $2::timestamp WHERE channel_id = $1"};
constexpr query seconds_off{
    "test.seconds_off",
    "SELECT extract(epoch FROM timezone('utc', now()) - created_at)::float8 FROM channels"};

class channel_repository_test : public ::testing::Test {
 protected:
  database db_ = test::fresh_database();
};

TEST_F(channel_repository_test, create_returns_what_is_stored) {
  const auto made = db_.channels().create({.channel_id = "UC1",
                                           .channel_name = "N\u00e4me",
                                           .description = "d",
                                           .subscriber_count = 5,
                                           .video_count = 6});
  EXPECT_GT(made.id, 0);
  EXPECT_EQ(made.channel_name, "N\u00e4me");
  EXPECT_EQ(made.is_active, true);
  EXPECT_EQ(made.last_processed, std::nullopt);
  ASSERT_TRUE(made.created_at && made.updated_at);

  const auto read = db_.channels().find(made.id);
  ASSERT_TRUE(read);
  EXPECT_EQ(read->channel_id, "UC1");
  EXPECT_EQ(read->description, "d");
  EXPECT_EQ(read->subscriber_count, 5);
  EXPECT_EQ(read->video_count, 6);
  EXPECT_EQ(read->created_at, made.created_at);
}

TEST_F(channel_repository_test, created_at_is_the_servers_clock_in_utc) {
  db_.channels().create({.channel_id = "UC1"});
  const auto off = db_.one<double>(seconds_off);
  EXPECT_LT(off < 0 ? -off : off, 60);
}

TEST_F(channel_repository_test, create_refuses_a_taken_channel_id) {
  db_.channels().create({.channel_id = "UC1"});
  try {
    db_.channels().create({.channel_id = "UC1"});
    FAIL() << "nothing was thrown";
  } catch (const constraint_violation& refused) {
    EXPECT_EQ(refused.kind(), constraint_kind::unique);
  }
}

TEST_F(channel_repository_test, create_checks_lengths_before_sending) {
  EXPECT_THROW(db_.channels().create({.channel_id = std::string(256, 'x')}), invalid_argument);
  EXPECT_THROW(db_.channels().create({.channel_id = "c", .channel_name = std::string(501, 'x')}),
               invalid_argument);
  EXPECT_EQ(db_.metrics().snapshot().total_queries, 0U);
}

TEST_F(channel_repository_test, create_takes_as_many_characters_as_the_column) {
  std::string name;
  for (int i = 0; i < 500; ++i) name += "\u20ac";
  EXPECT_EQ(db_.channels().create({.channel_id = "c", .channel_name = name}).channel_name, name);
}

TEST_F(channel_repository_test, find_gives_nothing_for_what_is_not_there) {
  EXPECT_EQ(db_.channels().find(1), std::nullopt);
  EXPECT_EQ(db_.channels().find_by_channel_id("UC1"), std::nullopt);
}

TEST_F(channel_repository_test, reads_a_row_of_nulls) {
  db_.execute(insert_bare, {"UC1"});
  const auto read = db_.channels().find_by_channel_id("UC1");
  ASSERT_TRUE(read);
  EXPECT_EQ(read->channel_name, std::nullopt);
  EXPECT_EQ(read->is_active, std::nullopt);
  EXPECT_EQ(read->created_at, std::nullopt);
}

TEST_F(channel_repository_test, get_or_create_makes_one_row_from_eight_threads) {
  std::array<std::int32_t, 8> ids{};
  {
    std::vector<std::jthread> threads;
    for (auto& id : ids) {
      threads.emplace_back([&] {
        for (int i = 0; i < 20; ++i) {
          id = db_.channels().get_or_create({.channel_id = "UC" + std::to_string(i)}).id;
        }
      });
    }
  }
  EXPECT_EQ((std::set<std::int32_t>{ids.begin(), ids.end()}.size()), 1U);
  EXPECT_EQ(db_.channels().page({}, 1000).size(), 20U);
}

TEST_F(channel_repository_test, get_or_create_leaves_what_is_there) {
  const auto made = db_.channels().create({.channel_id = "UC1", .channel_name = "first"});
  const auto got = db_.channels().get_or_create({.channel_id = "UC1", .channel_name = "second"});
  EXPECT_EQ(got.id, made.id);
  EXPECT_EQ(got.channel_name, "first");
}

TEST_F(channel_repository_test, update_changes_what_is_set) {
  const auto made = db_.channels().create(
      {.channel_id = "UC1", .channel_name = "a", .description = "keep", .video_count = 1});
  const auto after =
      db_.channels().update(made.id, {.channel_name = "b", .video_count = 2, .is_active = false});
  ASSERT_TRUE(after);
  EXPECT_EQ(after->channel_name, "b");
  EXPECT_EQ(after->description, "keep");
  EXPECT_EQ(after->video_count, 2);
  EXPECT_EQ(after->is_active, false);
  EXPECT_GT(after->updated_at, made.updated_at);
  EXPECT_EQ(after->created_at, made.created_at);
  EXPECT_EQ(db_.channels().update(made.id + 1, {.channel_name = "c"}), std::nullopt);
}

TEST_F(channel_repository_test, mark_processed_sets_last_processed) {
  const auto made = db_.channels().create({.channel_id = "UC1"});
  EXPECT_TRUE(db_.channels().mark_processed(made.id));
  const auto after = db_.channels().find(made.id);
  EXPECT_GT(after->last_processed, made.created_at);
  EXPECT_GT(after->updated_at, made.updated_at);
  EXPECT_FALSE(db_.channels().mark_processed(made.id + 1));
}

TEST_F(channel_repository_test, active_gives_the_never_processed_then_the_longest_ago) {
  for (const char* name : {"new", "old", "never", "off"}) {
    db_.channels().create({.channel_id = name, .is_active = std::string_view{name} != "off"});
  }
  db_.execute(set_last_processed, {"new", "2024-02-02"});
  db_.execute(set_last_processed, {"old", "2024-01-01"});
  db_.execute(insert_bare, {"is_active is NULL"});
  std::vector<std::string> order;
  for (const auto& c : db_.channels().active()) order.push_back(c.channel_id);
  EXPECT_EQ(order, (std::vector<std::string>{"never", "old", "new"}));
  EXPECT_EQ(db_.channels().active(2).size(), 2U);
  EXPECT_THROW((void)db_.channels().active(0), invalid_argument);
}

TEST_F(channel_repository_test, active_pages_go_from_the_never_processed_to_the_newest) {
  for (const char* name : {"new", "same1", "never1", "same2", "never2", "old", "off"}) {
    db_.channels().create({.channel_id = name, .is_active = std::string_view{name} != "off"});
  }
  db_.execute(set_last_processed, {"new", "2024-03-03"});
  db_.execute(set_last_processed, {"old", "2024-01-01"});
  for (const char* same : {"same1", "same2"}) db_.execute(set_last_processed, {same, "2024-02-02"});
  for (const int limit : {1, 2, 4, 100}) {
    SCOPED_TRACE(limit);
    std::vector<std::string> seen;
    for (std::optional<cursor> at{std::in_place}; at && seen.size() < 100;) {
      const auto page = db_.channels().active_page(*at, limit);
      for (const auto& c : page) seen.push_back(c.channel_id);
      at = page.next;
    }
    EXPECT_EQ(seen, (std::vector<std::string>{"never1", "never2", "old", "same1", "same2", "new"}));
  }
  EXPECT_THROW((void)db_.channels().active_page({}, 0), invalid_argument);
  const auto by_id = *db_.channels().page({}, 1).next;
  EXPECT_THROW((void)db_.channels().active_page(by_id), invalid_argument);
}

TEST_F(channel_repository_test, page_walks_all_by_id) {
  for (int i = 0; i < 5; ++i) db_.channels().create({.channel_id = std::to_string(i)});
  std::vector<std::string> seen;
  for (std::optional<cursor> at{std::in_place}; at && seen.size() < 100;) {
    const auto page = db_.channels().page(*at, 2);
    for (const auto& c : page) seen.push_back(c.channel_id);
    at = page.next;
  }
  EXPECT_EQ(seen, (std::vector<std::string>{"0", "1", "2", "3", "4"}));
}

TEST_F(channel_repository_test, works_with_a_tenant_column) {
  db_.execute(add_tenant);
  const auto made = db_.channels().get_or_create({.channel_id = "UC1"});
  EXPECT_TRUE(db_.channels().update(made.id, {.description = "d"}));
  EXPECT_EQ(db_.channels().active().size(), 1U);
  EXPECT_EQ(db_.channels().page().size(), 1U);
}

TEST_F(channel_repository_test, takes_part_in_a_transaction) {
  auto tx = db_.begin();
  database::channels(tx).create({.channel_id = "UC1"});
  EXPECT_EQ(db_.channels().find_by_channel_id("UC1"), std::nullopt);
  tx.rollback();
  EXPECT_EQ(db_.channels().find_by_channel_id("UC1"), std::nullopt);
}

}  // namespace
}  // namespace soundhash::db
