#include <array>
#include <chrono>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <soundhash/db.hpp>

#include "support/caught.hpp"
#include "support/sql.hpp"
#include "support/test_database.hpp"

namespace soundhash::db {
namespace {

using std::chrono::sys_days;
using test::caught;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr query add_tenant{"test.add_tenant",
                           "ALTER TABLE videos ADD COLUMN tenant_id int, "
                           "ADD COLUMN another int"};
constexpr query add_channel_tenant{"test.add_channel_tenant",
                                   "ALTER TABLE channels ADD COLUMN tenant_id int"};
constexpr query insert_bare{"test.insert_bare",
                            "INSERT INTO videos (video_id, channel_id) VALUES ($1, $2)"};

timestamp day(unsigned d) {
  return sys_days{std::chrono::year{2024} / 1 / static_cast<int>(d)};
}

std::vector<std::string> ids_of(const std::vector<video>& videos) {
  std::vector<std::string> ids;
  for (const auto& v : videos) ids.push_back(v.video_id);
  return ids;
}

const std::string& id_of(const video& row) {
  return row.video_id;
}
const std::string& id_of(const video_with_channel& row) {
  return row.video.video_id;
}

/// The ids on all pages.
template <class Next>
std::vector<std::string> walk(Next next_page) {
  std::vector<std::string> seen;
  for (std::optional<cursor> at{std::in_place}; at && seen.size() < 100;) {
    const auto rows = next_page(*at);
    for (const auto& each : rows) seen.push_back(id_of(each));
    at = rows.next;
  }
  return seen;
}

class video_repository_test : public ::testing::Test {
 protected:
  std::int32_t add(std::string video_id, std::optional<timestamp> upload_date = {}) {
    return db_.videos()
        .create({.video_id = std::move(video_id),
                 .channel_id = channel_.id,
                 .upload_date = upload_date})
        .id;
  }

  database db_ = test::fresh_database();
  channel channel_ = db_.channels().create({.channel_id = "UC1", .channel_name = "one"});
};

TEST_F(video_repository_test, create_stores_every_column) {
  const auto made = db_.videos().create({.video_id = "v",
                                         .channel_id = channel_.id,
                                         .title = "t",
                                         .description = "d",
                                         .duration = 0.1 + 0.2,
                                         .view_count = 1,
                                         .like_count = 2,
                                         .upload_date = day(3),
                                         .url = "u",
                                         .thumbnail_url = "th",
                                         .processed = true,
                                         .processing_started = day(4),
                                         .processing_completed = day(5),
                                         .processing_error = "e"});
  const auto read = db_.videos().find_by_video_id("v");
  ASSERT_TRUE(read);
  EXPECT_EQ(read->id, made.id);
  EXPECT_EQ(read->channel_id, channel_.id);
  EXPECT_EQ(read->title, "t");
  EXPECT_EQ(read->description, "d");
  EXPECT_EQ(read->duration, 0.1 + 0.2);
  EXPECT_EQ(read->view_count, 1);
  EXPECT_EQ(read->like_count, 2);
  EXPECT_EQ(read->upload_date, day(3));
  EXPECT_EQ(read->url, "u");
  EXPECT_EQ(read->thumbnail_url, "th");
  EXPECT_EQ(read->processed, true);
  EXPECT_EQ(read->processing_started, day(4));
  EXPECT_EQ(read->processing_completed, day(5));
  EXPECT_EQ(read->processing_error, "e");
  EXPECT_EQ(read->created_at, made.created_at);
  ASSERT_TRUE(read->created_at && read->updated_at);
  EXPECT_EQ(db_.videos().find(made.id)->video_id, "v");
}

TEST_F(video_repository_test, create_writes_the_defaults_that_only_python_knows) {
  const auto made = db_.videos().create({.video_id = "v", .channel_id = channel_.id});
  EXPECT_EQ(made.processed, false);
  EXPECT_EQ(made.title, std::nullopt);
}

TEST_F(video_repository_test, create_needs_the_channel) {
  try {
    db_.videos().create({.video_id = "v", .channel_id = channel_.id + 1});
    FAIL() << "nothing was thrown";
  } catch (const constraint_violation& refused) {
    EXPECT_EQ(refused.kind(), constraint_kind::foreign_key);
  }
}

TEST_F(video_repository_test, create_checks_values_before_sending) {
  const auto create = [&](new_video values) { db_.videos().create(values); };
  EXPECT_THROW(create({.video_id = std::string(256, 'x')}), invalid_argument);
  EXPECT_THROW(create({.video_id = "v", .title = std::string(1001, 'x')}), invalid_argument);
  EXPECT_THROW(create({.video_id = "v", .url = std::string(501, 'x')}), invalid_argument);
  EXPECT_THROW(create({.video_id = "v", .thumbnail_url = std::string(501, 'x')}), invalid_argument);
  EXPECT_THROW(create({.video_id = "v", .description = std::string("a\0b", 3)}), invalid_argument);
  EXPECT_THROW(create({.video_id = "v", .duration = std::nan("")}), invalid_argument);
}

TEST_F(video_repository_test, find_with_channel_reads_both_in_one_query) {
  add("v");
  const auto before = db_.metrics().snapshot().total_queries;
  const auto found = db_.videos().find_with_channel("v");
  ASSERT_TRUE(found);
  EXPECT_EQ(db_.metrics().snapshot().total_queries, before + 1);
  EXPECT_EQ(found->video.video_id, "v");
  EXPECT_EQ(found->channel.id, channel_.id);
  EXPECT_EQ(found->channel.channel_name, "one");
  EXPECT_EQ(found->channel.created_at, channel_.created_at);
  EXPECT_FALSE(db_.videos().find_with_channel("none"));
}

TEST_F(video_repository_test, update_changes_what_is_set) {
  const auto made =
      db_.videos().create({.video_id = "v", .channel_id = channel_.id, .title = "keep"});
  const auto after = db_.videos().update(
      made.id, {.duration = 9.5, .view_count = 7, .upload_date = day(1), .url = "u"});
  ASSERT_TRUE(after);
  EXPECT_EQ(after->title, "keep");
  EXPECT_EQ(after->duration, 9.5);
  EXPECT_EQ(after->view_count, 7);
  EXPECT_EQ(after->upload_date, day(1));
  EXPECT_EQ(after->url, "u");
  EXPECT_GT(after->updated_at, made.updated_at);
  EXPECT_FALSE(db_.videos().update(made.id + 1, {.title = "x"}));
}

TEST_F(video_repository_test, unprocessed_gives_the_oldest_and_null_only_when_asked) {
  add("a");
  const auto done = add("b");
  add("c");
  db_.execute(insert_bare, {"null", channel_.id});
  db_.videos().mark_processed(done);
  EXPECT_THAT(ids_of(db_.videos().unprocessed()), ElementsAre("a", "c"));
  EXPECT_THAT(ids_of(db_.videos().unprocessed(1)), ElementsAre("a"));
  EXPECT_THAT(ids_of(db_.videos().unprocessed(100, null_processed::include)),
              ElementsAre("a", "c", "null"));
  const auto with_channel = db_.videos().unprocessed_with_channel();
  ASSERT_EQ(with_channel.size(), 2U);
  EXPECT_EQ(with_channel[1].video.video_id, "c");
  EXPECT_EQ(with_channel[1].channel.channel_id, "UC1");
}

TEST_F(video_repository_test, limits_are_1_to_10000) {
  EXPECT_THROW((void)db_.videos().unprocessed(0), invalid_argument);
  EXPECT_THROW((void)db_.videos().by_channel(1, 10'001), invalid_argument);
  EXPECT_THROW((void)db_.videos().page({}, -1), invalid_argument);
  EXPECT_THROW((void)db_.videos().page_with_channel({}, 0), invalid_argument);
  EXPECT_THROW((void)db_.videos().unprocessed_page({}, 0), invalid_argument);
  EXPECT_THROW((void)db_.videos().unprocessed_page_with_channel({}, 0), invalid_argument);
}

TEST_F(video_repository_test, by_channel_pages_from_the_undated_to_the_oldest) {
  add("old", day(1));
  add("same1", day(2));
  add("same2", day(2));
  add("same3", day(2));
  add("new", day(3));
  add("undated1");
  add("undated2");
  const auto other = db_.channels().create({.channel_id = "UC2"});
  db_.videos().create({.video_id = "foreign", .channel_id = other.id});

  const auto seen =
      walk([&](const cursor& at) { return db_.videos().by_channel(channel_.id, 1, at); });
  const auto expected =
      ElementsAre("undated2", "undated1", "new", "same3", "same2", "same1", "old");
  EXPECT_THAT(seen, expected);
  const auto whole = db_.videos().by_channel(channel_.id);
  EXPECT_THAT(ids_of(whole), expected);
  EXPECT_FALSE(whole.next) << "it was not full";
}

TEST_F(video_repository_test, unprocessed_pages_go_from_the_oldest_to_the_undated) {
  for (const char* id :
       {"late", "same1", "same2", "early", "undated1", "undated2", "null", "done"}) {
    add(id);
  }
  test::execute(db_.options(),
                "UPDATE videos SET created_at = NULL WHERE video_id LIKE 'undated%';"
                "UPDATE videos SET created_at = '2024-01-01' WHERE video_id = 'early';"
                "UPDATE videos SET created_at = '2024-02-02' WHERE video_id LIKE 'same%';"
                "UPDATE videos SET created_at = '2024-01-15', processed = NULL "
                "WHERE video_id = 'null';"
                "UPDATE videos SET processed = true WHERE video_id = 'done'");
  for (const int limit : {1, 2, 3, 100}) {
    SCOPED_TRACE(limit);
    EXPECT_THAT(walk([&](const cursor& at) { return db_.videos().unprocessed_page(at, limit); }),
                ElementsAre("early", "same1", "same2", "late", "undated1", "undated2"));
    EXPECT_THAT(walk([&](const cursor& at) {
                  return db_.videos().unprocessed_page(at, limit, null_processed::include);
                }),
                ElementsAre("early", "null", "same1", "same2", "late", "undated1", "undated2"));
    EXPECT_THAT(walk([&](const cursor& at) {
                  return db_.videos().unprocessed_page_with_channel(at, limit);
                }),
                ElementsAre("early", "same1", "same2", "late", "undated1", "undated2"));
  }
}

TEST_F(video_repository_test, a_cursor_belongs_to_its_list_and_arguments) {
  add("a", day(1));
  const auto other = db_.channels().create({.channel_id = "UC2"});
  const auto by_id = *db_.videos().page({}, 1).next;
  const auto of_channel = *db_.videos().by_channel(channel_.id, 1).next;
  EXPECT_NO_THROW((void)db_.videos().page(cursor{by_id.text()}, 1)) << "also from its text";
  const auto refused = [&](const cursor& at) {
    const auto e = caught<invalid_argument>([&] { (void)db_.videos().page(at, 1); });
    EXPECT_EQ(e.argument(), "after");
    return std::string{e.what()};
  };
  EXPECT_THAT(refused(of_channel), HasSubstr("another list"));
  EXPECT_THROW((void)db_.videos().by_channel(other.id, 1, of_channel), invalid_argument);
  EXPECT_THROW((void)db_.videos().page_with_channel(by_id, 1), invalid_argument);
  EXPECT_THAT(refused(cursor{"no cursor"}), HasSubstr("no cursor"));
}

TEST_F(video_repository_test, a_page_goes_on_behind_a_row_that_is_gone) {
  for (const char* id : {"a", "b", "c"}) add(id);
  const auto first = db_.videos().page({}, 2);
  test::execute(db_.options(), "DELETE FROM videos WHERE video_id = 'b'");
  EXPECT_THAT(ids_of(db_.videos().page(*first.next, 2)), ElementsAre("c"));
}

TEST_F(video_repository_test, page_walks_all_by_id) {
  for (const char* id : {"a", "b", "c"}) add(id);
  const auto first = db_.videos().page({}, 2);
  EXPECT_THAT(ids_of(first), ElementsAre("a", "b"));
  EXPECT_THAT(ids_of(db_.videos().page(*first.next, 2)), ElementsAre("c"));
  const auto with_channel = db_.videos().page_with_channel({}, 2);
  ASSERT_EQ(with_channel.size(), 2U);
  EXPECT_EQ(with_channel[1].video.video_id, "b");
  EXPECT_EQ(db_.videos().page_with_channel(*with_channel.next).at(0).video.video_id, "c");
  EXPECT_EQ(with_channel[0].channel.id, channel_.id);
}

TEST_F(video_repository_test, mark_processed_writes_what_the_python_services_write) {
  const auto id = add("v");
  EXPECT_TRUE(db_.videos().mark_processing_started(id));
  EXPECT_TRUE(db_.videos().mark_failed(id, "broken"));
  auto read = db_.videos().find(id);
  EXPECT_EQ(read->processed, false);
  EXPECT_EQ(read->processing_error, "broken");
  ASSERT_TRUE(read->processing_started);
  EXPECT_GT(read->processing_completed, read->processing_started);
  EXPECT_GT(read->updated_at, read->created_at);

  EXPECT_TRUE(db_.videos().mark_processed(id));
  read = db_.videos().find(id);
  EXPECT_EQ(read->processed, true);
  EXPECT_EQ(read->processing_error, "broken");  // stays, as there
}

TEST_F(video_repository_test, mark_tells_when_there_is_no_such_video) {
  EXPECT_FALSE(db_.videos().mark_processing_started(1));
  EXPECT_FALSE(db_.videos().mark_processed(1));
  EXPECT_FALSE(db_.videos().mark_failed(1, "e"));
}

TEST_F(video_repository_test, existing_video_ids_gives_those_that_are_stored) {
  add("v1");
  add("v1499");
  std::vector<std::string> asked{"v1", "v1"};
  for (int i = 2; i < 2500; ++i) asked.push_back("v" + std::to_string(i));
  EXPECT_THAT(db_.videos().existing_video_ids(asked), ElementsAre("v1", "v1499"));
  EXPECT_THAT(db_.videos().existing_video_ids({}), IsEmpty());
}

std::vector<new_video> videos_named(const std::vector<std::string>& ids) {
  std::vector<new_video> videos;
  for (const auto& id : ids) {
    videos.push_back({.video_id = id, .title = "title of " + id, .url = "https://y/" + id});
  }
  return videos;
}

TEST_F(video_repository_test, ingest_stores_new_videos_with_their_jobs) {
  add("known");
  const auto made =
      db_.videos().ingest(channel_.id, videos_named({"b", "known", "a", "b"}), "video_process");
  ASSERT_EQ(made.size(), 2U);
  EXPECT_EQ(made[0].video_id, "b");
  EXPECT_EQ(made[1].video_id, "a");
  const auto read = db_.videos().find(made[0].id);
  EXPECT_EQ(read->title, "title of b");
  EXPECT_EQ(read->channel_id, channel_.id);
  EXPECT_EQ(read->processed, false);
  EXPECT_EQ(read->duration, std::nullopt);

  ASSERT_TRUE(made[0].job_id);
  const auto queued = db_.jobs().find(*made[0].job_id);
  ASSERT_TRUE(queued);
  EXPECT_EQ(queued->job_type, "video_process");
  EXPECT_EQ(queued->target_id, "b");
  EXPECT_EQ(queued->status, "pending");
  EXPECT_EQ(queued->parameters, R"({"url": "https://y/b", "channel_id": "UC1"})");
  EXPECT_EQ(queued->progress, 0);
  EXPECT_EQ(queued->retry_count, 0);
  EXPECT_EQ(queued->max_retries, 3);
  ASSERT_TRUE(queued->created_at);
  EXPECT_EQ(db_.jobs().pending({}, 100).size(), 2U);
}

TEST_F(video_repository_test, ingest_gives_no_second_job) {
  db_.jobs().create({.job_type = "video_process", .target_id = "a"});
  db_.jobs().create({.job_type = "video_process", .target_id = "b", .status = "failed"});
  const auto made = db_.videos().ingest(channel_.id, videos_named({"a", "b"}));
  ASSERT_EQ(made.size(), 2U);
  EXPECT_FALSE(made[0].job_id);
  EXPECT_TRUE(made[1].job_id);
}

TEST_F(video_repository_test, ingest_takes_a_constant_number_of_statements) {
  std::vector<std::string> ids;
  for (int i = 0; i < 1000; ++i) ids.push_back("v" + std::to_string(i));
  const auto before = db_.metrics().snapshot().total_queries;
  EXPECT_EQ(db_.videos().ingest(channel_.id, videos_named(ids)).size(), 1000U);
  EXPECT_LE(db_.metrics().snapshot().total_queries, before + 4);
  EXPECT_TRUE(db_.videos().ingest(channel_.id, videos_named(ids)).empty());
}

TEST_F(video_repository_test, ingest_is_all_or_nothing) {
  auto videos = videos_named({"a", "b"});
  videos[1].title = std::string(1001, 'x');
  try {
    db_.videos().ingest(channel_.id, videos);
    FAIL() << "nothing was thrown";
  } catch (const invalid_argument& refused) {
    EXPECT_EQ(refused.argument(), "title");
    EXPECT_EQ(refused.row(), 1U);
  }
  EXPECT_THROW(db_.videos().ingest(channel_.id + 1, videos_named({"a"})), constraint_violation);
  EXPECT_TRUE(db_.videos().page().empty());
  EXPECT_TRUE(db_.jobs().pending().empty());
}

TEST_F(video_repository_test, ingest_refuses_videos_of_another_channel) {
  auto videos = videos_named({"a", "b"});
  videos[0].channel_id = channel_.id;
  videos[1].channel_id = channel_.id + 1;
  EXPECT_THROW(db_.videos().ingest(channel_.id, videos), invalid_argument);
}

TEST_F(video_repository_test, ingest_from_eight_threads_makes_each_video_and_job_once) {
  std::vector<std::string> ids;
  for (int i = 0; i < 50; ++i) ids.push_back("v" + std::to_string(i));
  const auto videos = videos_named(ids);
  {
    std::vector<std::jthread> threads;
    for (int t = 0; t < 8; ++t) {
      threads.emplace_back([&] { db_.videos().ingest(channel_.id, videos); });
    }
  }
  EXPECT_EQ(db_.videos().page({}, 1000).size(), 50U);
  EXPECT_EQ(db_.jobs().pending({}, 1000).size(), 50U);
}

TEST_F(video_repository_test, ingest_of_nothing_sends_nothing) {
  const auto before = db_.metrics().snapshot().total_queries;
  EXPECT_THAT(db_.videos().ingest(channel_.id, {}), IsEmpty());
  EXPECT_EQ(db_.metrics().snapshot().total_queries, before);
}

TEST_F(video_repository_test, works_with_a_tenant_column) {
  db_.execute(add_tenant);
  db_.execute(add_channel_tenant);
  const auto id = add("v");
  EXPECT_TRUE(db_.videos().find_with_channel("v"));
  EXPECT_TRUE(db_.videos().update(id, {.title = "t"}));
  EXPECT_EQ(db_.videos().unprocessed().size(), 1U);
  EXPECT_EQ(db_.videos().ingest(channel_.id, videos_named({"v", "w"})).size(), 1U);
}

TEST_F(video_repository_test, reads_a_row_of_nulls) {
  db_.execute(insert_bare, {"v", channel_.id});
  const auto read = db_.videos().find_by_video_id("v");
  ASSERT_TRUE(read);
  EXPECT_EQ(read->processed, std::nullopt);
  EXPECT_EQ(read->created_at, std::nullopt);
  EXPECT_EQ(read->duration, std::nullopt);
}

}  // namespace
}  // namespace soundhash::db
