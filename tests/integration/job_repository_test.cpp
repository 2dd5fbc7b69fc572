#include <array>
#include <atomic>
#include <cmath>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <soundhash/db.hpp>

#include "support/sql.hpp"
#include "support/test_database.hpp"

namespace soundhash::db {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr query insert_bare{"test.insert_bare", "INSERT INTO processing_jobs DEFAULT VALUES"};
constexpr query null_retries{"test.null_retries",
                             "UPDATE processing_jobs SET retry_count = NULL WHERE id = $1"};
constexpr query add_tenant{"test.add_tenant",
                           "ALTER TABLE processing_jobs ADD COLUMN tenant_id int"};
constexpr query count_all{"test.count", "SELECT count(*) FROM processing_jobs"};
constexpr query count_waiting{"test.count_waiting",
                              "SELECT count(*) FROM pg_locks WHERE NOT granted"};

class job_repository_test : public ::testing::Test {
 protected:
  job_repository jobs() { return db_.jobs(); }
  std::int32_t add(std::string target, std::string status = "pending", std::string type = "t") {
    return jobs()
        .create({.job_type = std::move(type),
                 .target_id = std::move(target),
                 .status = std::move(status)})
        .id;
  }
  std::string status_of(std::int32_t id) { return jobs().find(id).value().status.value(); }

  /// Runs `body(number)` in eight threads at once.
  template <class F>
  static void in_eight_threads(F body) {
    std::vector<std::jthread> threads;
    for (int number = 0; number < 8; ++number) threads.emplace_back([&, number] { body(number); });
  }

  /// Runs `body` in another thread, calls `release` as soon as it waits for a lock (or has ended,
  /// when it should have waited and did not), and returns when it has ended.
  template <class Body, class Release>
  void while_waiting(Body body, Release release) {
    std::atomic<bool> ended{false};
    std::jthread other{[&] {
      body();
      ended = true;
    }};
    while (!ended && db_.one<std::int64_t>(count_waiting) == 0) std::this_thread::yield();
    release();
  }

  database db_ = test::fresh_database();
};

std::vector<std::string> targets_of(const std::vector<job>& jobs) {
  std::vector<std::string> targets;
  for (const auto& j : jobs) targets.push_back(j.target_id.value_or("NULL"));
  return targets;
}

/// The `parameters`, which are labels here, of one page or of all.
std::vector<std::string> labels_of(const std::vector<job>& jobs) {
  std::vector<std::string> labels;
  for (const auto& j : jobs) labels.push_back(j.parameters.value_or("NULL"));
  return labels;
}
template <class Next>
std::vector<std::string> walk(Next next_page, std::optional<cursor> at = cursor{}) {
  std::vector<job> seen;
  while (at && seen.size() < 100) {
    const page<job> jobs = next_page(*at);
    seen.insert(seen.end(), jobs.begin(), jobs.end());
    at = jobs.next;
  }
  return labels_of(seen);
}

/// Of each type and status the same eight jobs of target x; ids ascend as the rows are listed.
constexpr auto insert_of_all_ages = R"sql(
INSERT INTO processing_jobs (job_type, status, target_id, parameters, created_at)
SELECT type, status, 'x', label || ' ' || type, at::timestamp
FROM (VALUES ('t'), ('u')) AS types(type), (VALUES ('failed'), ('pending')) AS statuses(status),
     (VALUES (1, 'late', '2024-03-03'), (2, 'undated1', NULL), (3, 'same1', '2024-02-02'),
             (4, 'early', '2024-01-01'), (5, 'same2', '2024-02-02'), (6, 'undated2', NULL),
             (7, 'same3', '2024-02-02'), (8, 'undated3', NULL)) AS ages(place, label, at)
ORDER BY status, type, place)sql";

TEST_F(job_repository_test, create_writes_the_defaults_that_only_python_knows) {
  const auto made = jobs().create({.job_type = "t", .target_id = "x", .parameters = "{}"});
  const auto read = jobs().find(made.id);
  ASSERT_TRUE(read);
  EXPECT_EQ(read->job_type, "t");
  EXPECT_EQ(read->target_id, "x");
  EXPECT_EQ(read->parameters, "{}");
  EXPECT_EQ(read->status, job_status::pending);
  EXPECT_EQ(read->progress, 0);
  EXPECT_EQ(read->retry_count, 0);
  EXPECT_EQ(read->max_retries, 3);
  EXPECT_EQ(read->created_at, made.created_at);
  EXPECT_TRUE(read->created_at);
  EXPECT_EQ(read->started_at, std::nullopt);
  EXPECT_EQ(jobs().find(made.id + 1), std::nullopt);
}

TEST_F(job_repository_test, checks_values_before_sending) {
  const auto create = [&](const new_job& values) { jobs().create(values); };
  EXPECT_THROW(create({.job_type = std::string(51, 'x')}), invalid_argument);
  EXPECT_THROW(create({.target_id = std::string(256, 'x')}), invalid_argument);
  EXPECT_THROW(create({.status = std::string(21, 'x')}), invalid_argument);
  EXPECT_THROW(create({.current_step = std::string(201, 'x')}), invalid_argument);
  EXPECT_THROW(create({.parameters = std::string("\0", 1)}), invalid_argument);
  EXPECT_THROW(create({.progress = 1.5}), invalid_argument);
  EXPECT_THROW(create({.progress = std::nan("")}), invalid_argument);
  EXPECT_THROW(create({.max_retries = -1}), invalid_argument);
  EXPECT_THROW(jobs().update_status(1, "running", {.progress = -0.1}), invalid_argument);
  EXPECT_THROW((void)jobs().pending("t", 10'001), invalid_argument);
  EXPECT_THROW((void)jobs().pending({}, 0), invalid_argument);
  EXPECT_THROW((void)jobs().failed("t", 0), invalid_argument);
  EXPECT_THROW((void)jobs().by_target("t", "x", {}, 10'001), invalid_argument);
  EXPECT_EQ(db_.metrics().snapshot().total_queries, 0U);
}

TEST_F(job_repository_test, unknown_status_survives_a_round_trip) {
  const auto id = add("x", "paused \u00e9");
  EXPECT_EQ(status_of(id), "paused \u00e9");
  EXPECT_TRUE(jobs().update_status(id, "archived"));
  EXPECT_EQ(status_of(id), "archived");
  EXPECT_EQ(jobs().count_by_status("archived"), 1);
}

TEST_F(job_repository_test, reads_a_row_of_nulls) {
  db_.execute(insert_bare);
  const auto counts = jobs().counts_by_status();
  ASSERT_EQ(counts.size(), 1U);
  EXPECT_EQ(counts[0].status, std::nullopt);
  EXPECT_EQ(counts[0].count, 1);
  EXPECT_EQ(jobs().find(1).value().progress, std::nullopt);
}

TEST_F(job_repository_test, create_if_absent_looks_at_the_statuses) {
  const new_job wanted{.job_type = "t", .target_id = "x", .parameters = "p"};
  const auto made = jobs().create_if_absent(wanted);
  ASSERT_TRUE(made);
  EXPECT_EQ(made->status, job_status::pending);
  EXPECT_EQ(made->parameters, "p");
  EXPECT_EQ(made->max_retries, 3);
  EXPECT_FALSE(jobs().create_if_absent(wanted));
  jobs().update_status(made->id, job_status::running);
  EXPECT_FALSE(jobs().create_if_absent(wanted));
  EXPECT_TRUE(jobs().create_if_absent({.job_type = "t", .target_id = "y"}));
  EXPECT_TRUE(jobs().create_if_absent({.job_type = "u", .target_id = "x"}));
  jobs().update_status(made->id, job_status::completed);
  EXPECT_FALSE(jobs().create_if_absent(wanted, {job_status::completed}));
  EXPECT_FALSE(jobs().create_if_absent(wanted, {}));
  EXPECT_TRUE(jobs().create_if_absent(wanted));
}

TEST_F(job_repository_test, create_if_absent_makes_one_job_from_eight_threads) {
  std::atomic<int> made{0};
  in_eight_threads([&](int) {
    for (int i = 0; i < 20; ++i) {
      if (jobs().create_if_absent({.job_type = "t", .target_id = std::to_string(i)})) ++made;
    }
  });
  EXPECT_EQ(made, 20);
  EXPECT_EQ(db_.one<std::int64_t>(count_all), 20);
}

TEST_F(job_repository_test, single_and_batch_creation_exclude_each_other) {
  std::vector<new_job> rows;
  for (int i = 0; i < 30; ++i) rows.push_back({.job_type = "t", .target_id = std::to_string(i)});
  std::atomic<std::size_t> made{0};
  in_eight_threads([&](int number) {
    if (number % 2 == 0) {
      made += jobs().create_batch_if_absent(rows).size();
    } else {
      for (const auto& row : rows) made += jobs().create_if_absent(row) ? 1U : 0U;
    }
  });
  EXPECT_EQ(made, 30U);
  EXPECT_EQ(db_.one<std::int64_t>(count_all), 30);
}

TEST_F(job_repository_test, create_if_absent_refuses_an_older_snapshot) {
  for (const auto level : {isolation::repeatable_read, isolation::serializable}) {
    auto tx = db_.begin({.isolation = level});
    EXPECT_THROW(database::jobs(tx).create_if_absent({.job_type = "t", .target_id = "x"}),
                 invalid_argument);
    tx.rollback();
  }
  EXPECT_EQ(db_.one<std::int64_t>(count_all), 0);
}

TEST_F(job_repository_test, create_if_absent_waits_for_another_transaction) {
  auto tx = db_.begin();
  ASSERT_TRUE(database::jobs(tx).create_if_absent({.job_type = "t", .target_id = "x"}));
  EXPECT_TRUE(jobs().create_if_absent({.job_type = "t", .target_id = "y"}));  // does not wait
  std::optional<job> second;
  while_waiting([&] { second = jobs().create_if_absent({.job_type = "t", .target_id = "x"}); },
                [&] { tx.commit(); });
  EXPECT_FALSE(second);
}

TEST_F(job_repository_test, ingest_waits_for_a_job_that_is_being_created) {
  const auto channel = db_.channels().create({.channel_id = "UC1"});
  auto tx = db_.begin();
  ASSERT_TRUE(database::jobs(tx).create_if_absent({.job_type = "t", .target_id = "v"}));
  const std::vector<new_video> videos{{.video_id = "v"}};
  std::vector<ingested_video> made;
  while_waiting([&] { made = db_.videos().ingest(channel.id, videos, "t"); }, [&] { tx.commit(); });
  ASSERT_EQ(made.size(), 1U);
  EXPECT_FALSE(made[0].job_id);
  EXPECT_EQ(db_.one<std::int64_t>(count_all), 1);
}

TEST_F(job_repository_test, create_batch_if_absent_gives_new_jobs_in_order) {
  add("b");
  const std::vector<new_job> rows{{.job_type = "t", .target_id = "c", .parameters = "first"},
                                  {.job_type = "t", .target_id = "b"},
                                  {.job_type = "u", .target_id = "b"},
                                  {.job_type = "t", .target_id = "c", .parameters = "second"},
                                  {.job_type = "t", .target_id = "a"}};
  const auto made = jobs().create_batch_if_absent(rows);
  EXPECT_THAT(targets_of(made), ElementsAre("c", "b", "a"));
  EXPECT_EQ(made[0].parameters, "first");
  EXPECT_EQ(made[1].job_type, "u");
  EXPECT_EQ(made[0].status, job_status::pending);
  EXPECT_EQ(made[0].retry_count, 0);
  EXPECT_THAT(jobs().create_batch_if_absent(rows), IsEmpty());
  EXPECT_THAT(jobs().create_batch_if_absent({}), IsEmpty());
}

TEST_F(job_repository_test, create_batch_if_absent_takes_more_than_one_statement_holds) {
  std::vector<new_job> rows;
  for (int i = 0; i < 5100; ++i) rows.push_back({.job_type = "t", .target_id = std::to_string(i)});
  const auto made = jobs().create_batch_if_absent(rows);
  ASSERT_EQ(made.size(), rows.size());
  for (const std::size_t i : {0U, 4999U, 5000U, 5099U}) {
    EXPECT_EQ(made[i].target_id, rows[i].target_id);
  }
}

TEST_F(job_repository_test, create_batch_if_absent_names_the_row_it_refuses) {
  std::vector<new_job> rows(3, {.job_type = "t", .target_id = "x"});
  rows[1].target_id = std::string(256, 'x');
  try {
    jobs().create_batch_if_absent(rows);
    FAIL() << "nothing was thrown";
  } catch (const invalid_argument& refused) {
    EXPECT_EQ(refused.argument(), "target_id");
    EXPECT_EQ(refused.row(), 1U);
  }
}

TEST_F(job_repository_test, exists_filters_by_status_when_given) {
  add("x", "failed");
  EXPECT_TRUE(jobs().exists("t", "x"));
  EXPECT_TRUE(jobs().exists("t", "x", {job_status::pending, job_status::failed}));
  EXPECT_FALSE(jobs().exists("t", "x", {job_status::pending}));
  EXPECT_FALSE(jobs().exists("u", "x"));
}

TEST_F(job_repository_test, exist_batch_gives_the_targets_that_have_jobs) {
  add("1");
  add("1");
  add("1200", "failed");
  std::vector<std::string> targets;
  for (int i = 0; i < 1500; ++i) targets.push_back(std::to_string(i));
  EXPECT_THAT(jobs().exist_batch("t", targets), ElementsAre("1", "1200"));
  EXPECT_THAT(jobs().exist_batch("t", targets, {job_status::failed}), ElementsAre("1200"));
  EXPECT_THAT(jobs().exist_batch("u", targets), IsEmpty());
  EXPECT_THAT(jobs().exist_batch("t", {}), IsEmpty());
}

TEST_F(job_repository_test, by_target_gives_the_newest_first) {
  const auto first = add("x", "failed");
  const auto second = add("x");
  add("y");
  const auto found = jobs().by_target("t", "x");
  ASSERT_EQ(found.size(), 2U);
  EXPECT_EQ(found[0].id, second);
  EXPECT_EQ(found[1].id, first);
  EXPECT_EQ(jobs().by_target("t", "x", {job_status::failed}).size(), 1U);
}

TEST_F(job_repository_test, pending_gives_the_oldest_first) {
  add("a");
  add("b", "running");
  add("c", "pending", "u");
  add("d");
  EXPECT_THAT(targets_of(jobs().pending()), ElementsAre("a", "c", "d"));
  EXPECT_THAT(targets_of(jobs().pending("t")), ElementsAre("a", "d"));
  EXPECT_THAT(targets_of(jobs().pending("t", 1)), ElementsAre("a"));
}

TEST_F(job_repository_test, failed_gives_the_newest_first) {
  add("a", "failed");
  add("b", "failed");
  add("c", "failed", "u");
  add("d");
  EXPECT_THAT(targets_of(jobs().failed("t")), ElementsAre("b", "a"));
  EXPECT_THAT(targets_of(jobs().failed("t", 1)), ElementsAre("b"));
}

TEST_F(job_repository_test, pages_of_any_size_lose_and_repeat_nothing) {
  test::execute(db_.options(), insert_of_all_ages);
  for (const int limit : {1, 2, 3, 5, 100}) {
    SCOPED_TRACE(limit);
    EXPECT_THAT(walk([&](const cursor& at) { return jobs().pending("t", limit, at); }),
                ElementsAre("early t", "same1 t", "same2 t", "same3 t", "late t", "undated1 t",
                            "undated2 t", "undated3 t"));
    EXPECT_THAT(walk([&](const cursor& at) { return jobs().pending({}, limit, at); }),
                ElementsAre("early t", "early u", "same1 t", "same2 t", "same3 t", "same1 u",
                            "same2 u", "same3 u", "late t", "late u", "undated1 t", "undated2 t",
                            "undated3 t", "undated1 u", "undated2 u", "undated3 u"));
    const auto newest_first = ElementsAre("undated3 u", "undated2 u", "undated1 u", "late u",
                                          "same3 u", "same2 u", "same1 u", "early u");
    EXPECT_THAT(walk([&](const cursor& at) { return jobs().failed("u", limit, at); }),
                newest_first);
    EXPECT_THAT(walk([&](const cursor& at) {
                  return jobs().by_target("u", "x", {job_status::pending}, limit, at);
                }),
                newest_first);
    EXPECT_THAT(walk([&](const cursor& at) { return jobs().by_target("t", "x", {}, limit, at); }),
                ElementsAre("undated3 t", "undated2 t", "undated1 t", "undated3 t", "undated2 t",
                            "undated1 t", "late t", "late t", "same3 t", "same2 t", "same1 t",
                            "same3 t", "same2 t", "same1 t", "early t", "early t"));
  }
}

TEST_F(job_repository_test, pages_go_on_behind_jobs_that_have_left_the_list) {
  test::execute(db_.options(), insert_of_all_ages);
  const auto dated = *jobs().pending("t", 2).next;     // after same1
  const auto undated = *jobs().pending("t", 6).next;   // after undated1
  const auto of_failed = *jobs().failed("t", 2).next;  // after undated2
  test::execute(
      db_.options(),
      "DELETE FROM processing_jobs WHERE parameters IN ('same1 t', 'undated1 t', 'undated2 t');"
      "UPDATE processing_jobs SET status = 'running' WHERE parameters = 'same2 t';"
      "INSERT INTO processing_jobs (job_type, status, parameters, created_at)"
      "SELECT 't', status, label, at::timestamp FROM (VALUES ('pending'), ('failed')) AS s(status),"
      "(VALUES ('before', '2024-01-31'), ('same4', '2024-02-02'), ('undated4', NULL)) AS n(label, "
      "at)");
  const auto pending = [&](const cursor& at) { return jobs().pending("t", 2, at); };
  EXPECT_THAT(walk(pending, dated),
              ElementsAre("same3 t", "same4", "late t", "undated3 t", "undated4"));
  EXPECT_THAT(walk(pending, undated), ElementsAre("undated3 t", "undated4"));
  EXPECT_THAT(walk([&](const cursor& at) { return jobs().failed("t", 2, at); }, of_failed),
              ElementsAre("late t", "same4", "same3 t", "before", "early t"));
}

TEST_F(job_repository_test, a_cursor_belongs_to_its_list_and_arguments) {
  test::execute(db_.options(), insert_of_all_ages);
  const auto of_all = *jobs().pending({}, 1).next;
  const auto of_type = *jobs().pending("t", 1).next;
  const auto of_failed = *jobs().failed("t", 1).next;
  const auto of_target = *jobs().by_target("t", "x", {job_status::failed}, 1).next;
  const auto before = db_.metrics().snapshot().total_queries;
  EXPECT_THROW((void)jobs().pending("t", 1, of_all), invalid_argument);
  EXPECT_THROW((void)jobs().pending({}, 1, of_type), invalid_argument);
  EXPECT_THROW((void)jobs().pending("u", 1, of_type), invalid_argument);
  EXPECT_THROW((void)jobs().pending("t", 1, of_failed), invalid_argument);
  EXPECT_THROW((void)jobs().failed("u", 1, of_failed), invalid_argument);
  EXPECT_THROW((void)jobs().failed("t", 1, of_type), invalid_argument);
  EXPECT_THROW((void)jobs().by_target("t", "x", {}, 1, of_target), invalid_argument);
  EXPECT_THROW((void)jobs().by_target("t", "y", {job_status::failed}, 1, of_target),
               invalid_argument);
  EXPECT_THROW((void)jobs().by_target("u", "x", {job_status::failed}, 1, of_target),
               invalid_argument);
  EXPECT_THROW((void)jobs().page(of_type, 1), invalid_argument);
  EXPECT_EQ(db_.metrics().snapshot().total_queries, before) << "nothing is sent";
  EXPECT_EQ(jobs().by_target("t", "x", {job_status::failed}, 1, cursor{of_target.text()}).size(),
            1U);
}

TEST_F(job_repository_test, pages_go_on_after_the_last_job) {
  for (const auto* target : {"a", "b", "c"}) add(target);
  const auto first = jobs().page({}, 2);
  EXPECT_THAT(targets_of(first), ElementsAre("a", "b"));
  const auto second = jobs().page(first.next.value(), 2);
  EXPECT_THAT(targets_of(second), ElementsAre("c"));
  EXPECT_FALSE(second.next);
  EXPECT_THROW((void)jobs().page(cursor{"not one"}), invalid_argument);
}

TEST_F(job_repository_test, update_status_writes_what_the_python_services_write) {
  const auto id = add("x");
  EXPECT_TRUE(jobs().update_status(id, "running", {.progress = 0.2, .current_step = "download"}));
  auto read = jobs().find(id).value();
  const auto started = read.started_at;
  EXPECT_TRUE(started);
  EXPECT_EQ(read.progress, 0.2);
  EXPECT_EQ(read.current_step, "download");
  EXPECT_EQ(read.completed_at, std::nullopt);

  EXPECT_TRUE(jobs().update_status(id, "running", {.current_step = "", .error_message = ""}));
  read = jobs().find(id).value();
  EXPECT_EQ(read.started_at, started);
  EXPECT_EQ(read.progress, 0.2);
  EXPECT_EQ(read.current_step, "download");
  EXPECT_EQ(read.error_message, std::nullopt);

  EXPECT_TRUE(jobs().update_status(id, "failed", {.error_message = "broken"}));
  read = jobs().find(id).value();
  EXPECT_EQ(read.error_message, "broken");
  EXPECT_GT(read.completed_at, started);
  EXPECT_FALSE(jobs().update_status(id + 1, "running"));
}

TEST_F(job_repository_test, retry_clears_what_the_job_had_reached) {
  const auto id = add("x", "running");
  EXPECT_FALSE(jobs().retry(id));
  jobs().update_status(id, "failed",
                       {.progress = 0.5, .current_step = "half", .error_message = "broken"});
  EXPECT_TRUE(jobs().retry(id));
  const auto read = jobs().find(id).value();
  EXPECT_EQ(read.status, job_status::pending);
  EXPECT_EQ(read.progress, 0);
  EXPECT_EQ(read.current_step, std::nullopt);
  EXPECT_EQ(read.error_message, std::nullopt);
  EXPECT_EQ(read.started_at, std::nullopt);
  EXPECT_EQ(read.completed_at, std::nullopt);
  EXPECT_EQ(read.retry_count, 1);
}

TEST_F(job_repository_test, retry_counts_from_zero_when_the_count_is_null) {
  const auto id = add("x", "completed");
  db_.execute(null_retries, {id});
  EXPECT_TRUE(jobs().retry(id));
  EXPECT_EQ(jobs().find(id).value().retry_count, 1);
}

TEST_F(job_repository_test, cancel_takes_pending_and_running_jobs_only) {
  const auto pending = add("a");
  const auto running = add("b", "running");
  const auto done = add("c", "completed");
  EXPECT_TRUE(jobs().cancel(pending));
  EXPECT_TRUE(jobs().cancel(running, "no longer wanted"));
  EXPECT_FALSE(jobs().cancel(done));
  EXPECT_EQ(jobs().find(running).value().error_message, "no longer wanted");
  EXPECT_EQ(status_of(done), "completed");
}

TEST_F(job_repository_test, counts_by_status_come_in_one_query) {
  add("a");
  add("b");
  add("c", "failed");
  const auto before = db_.metrics().snapshot().total_queries;
  const auto counts = jobs().counts_by_status();
  EXPECT_EQ(db_.metrics().snapshot().total_queries, before + 1);
  ASSERT_EQ(counts.size(), 2U);
  EXPECT_EQ(counts[0].status, job_status::failed);
  EXPECT_EQ(counts[0].count, 1);
  EXPECT_EQ(counts[1].count, 2);
  EXPECT_EQ(jobs().count_by_status("pending"), 2);
  EXPECT_EQ(jobs().count_by_status("none"), 0);
}

TEST_F(job_repository_test, works_with_a_further_column) {
  db_.execute(add_tenant);
  EXPECT_TRUE(jobs().create_if_absent({.job_type = "t", .target_id = "x"}));
  EXPECT_EQ(jobs().claim({"t"}, 1).size(), 1U);
  EXPECT_EQ(jobs().by_target("t", "x").size(), 1U);
}

}  // namespace
}  // namespace soundhash::db
