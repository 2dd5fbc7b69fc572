#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <future>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <soundhash/db.hpp>
#include <soundhash/db/migrate/migrator.hpp>

#include "support/caught.hpp"
#include "support/sql.hpp"
#include "support/test_database.hpp"

namespace soundhash::db {
namespace {

using namespace std::chrono_literals;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using ::testing::UnorderedElementsAre;
using ids = std::vector<std::int32_t>;

constexpr query count_waiting{"test.count_waiting",
                              "SELECT count(*) FROM pg_locks WHERE NOT granted"};
constexpr query count_leases{"test.count_leases", "SELECT count(*) FROM soundhash_job_leases"};
constexpr query lease_end{"test.lease_end",
                          "SELECT expires_at FROM soundhash_job_leases WHERE job_id = $1"};
constexpr query lock_job{"test.lock_job",
                         "SELECT id FROM processing_jobs WHERE id = $1 FOR UPDATE"};
constexpr query lock_lease{"test.lock_lease",
                           "SELECT job_id FROM soundhash_job_leases WHERE job_id = $1 FOR UPDATE"};
constexpr query expire_all{"test.expire_all",
                           "UPDATE soundhash_job_leases SET expires_at = '2000-01-01'"};
constexpr query expire{"test.expire",
                       "UPDATE soundhash_job_leases SET expires_at = '2000-01-01' "
                       "WHERE job_id = $1"};
constexpr query server_clock{"test.clock", "SELECT timezone('utc', clock_timestamp())"};
constexpr query date{"test.date",
                     "UPDATE processing_jobs SET created_at = $2::text::timestamp WHERE id = $1"};
constexpr query dated{"test.dated", "SELECT created_at::text FROM processing_jobs WHERE id = $1"};
constexpr query hold_up{"test.hold_up", "SELECT pg_advisory_xact_lock(1)"};
/// Of a role of this name.
std::string hold_up_claims(const std::string& role) {
  return "CREATE ROLE " + role + " LOGIN;" + R"sql(
GRANT SELECT, INSERT, UPDATE ON processing_jobs, soundhash_job_leases TO PUBLIC;
CREATE FUNCTION hold_up() RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN PERFORM pg_advisory_xact_lock_shared(1); RETURN true; END $$;
ALTER TABLE processing_jobs ENABLE ROW LEVEL SECURITY;
CREATE POLICY hold_up ON processing_jobs USING (hold_up());
)sql";
}
constexpr query null_retries{
    "test.null_retries",
    "UPDATE processing_jobs SET retry_count = NULL, max_retries = NULL WHERE id = $1"};

/// A retry at once.
constexpr job_backoff at_once{.first = 0ms};

class job_leases_test : public ::testing::Test {
 protected:
  job_repository jobs() { return db_.jobs(); }
  std::int32_t add(std::string target, std::string status = "pending", std::string type = "t") {
    return jobs()
        .create({.job_type = std::move(type),
                 .target_id = std::move(target),
                 .status = std::move(status)})
        .id;
  }
  job read(std::int32_t id) { return jobs().find(id).value(); }
  std::string status_of(std::int32_t id) { return read(id).status.value(); }
  std::int64_t leases() { return db_.one<std::int64_t>(count_leases); }

  std::vector<job_lease> claim(int n) {
    std::vector<job_lease> taken;
    for (const auto& one : jobs().claim({"t"}, n)) taken.push_back(one.lease);
    return taken;
  }
  /// A new job that is claimed.
  job_lease claimed() {
    add("x");
    return claim(1).at(0);
  }
  /// The same, and its lease has expired.
  job_lease overdue() {
    const auto mine = claimed();
    db_.execute(expire, {mine.job_id});
    return mine;
  }
  /// Neither of these changes a job whose lease was lost.
  void expect_not_held(const job_lease& lost) {
    const auto before = read(lost.job_id);
    EXPECT_THAT(jobs().heartbeat({lost}), IsEmpty());
    EXPECT_FALSE(jobs().set_progress(lost, 0.9, "lost"));
    EXPECT_THAT(jobs().complete({lost}), IsEmpty());
    EXPECT_THAT(jobs().fail({lost}, "lost"), IsEmpty());
    EXPECT_THAT(jobs().release({lost}), IsEmpty());
    const auto after = read(lost.job_id);
    EXPECT_EQ(after.status, before.status);
    EXPECT_EQ(after.progress, before.progress);
    EXPECT_EQ(after.error_message, before.error_message);
  }

  /// Runs `body(number)` in eight threads at once.
  template <class F>
  static void in_eight_threads(F body) {
    std::vector<std::future<void>> threads;
    for (int number = 0; number < 8; ++number) {
      threads.push_back(std::async(std::launch::async, body, number));
    }
    for (auto& one : threads) one.get();
  }

  /// Runs `body` in another thread, calls `release` as soon as it waits for a lock (or has ended,
  /// when it should have waited and did not), and returns when it has ended.
  template <class Body, class Release>
  void while_waiting(Body body, Release release) {
    auto other = std::async(std::launch::async, body);
    while (other.wait_for(0s) != std::future_status::ready &&
           db_.one<std::int64_t>(count_waiting) == 0) {
      std::this_thread::yield();
    }
    release();
    other.get();
  }

  database_options options_ = test::fresh_database_options();
  database db_ = database::open(options_);
};

std::vector<std::string> targets_of(const std::vector<leased_job>& claimed) {
  std::vector<std::string> targets;
  for (const auto& one : claimed) targets.push_back(one.job.target_id.value_or("NULL"));
  return targets;
}

TEST_F(job_leases_test, checks_values_before_sending) {
  const auto refused = [&](auto call) { EXPECT_THROW(call(), invalid_argument); };
  refused([&] { jobs().claim({"t"}, 0); });
  refused([&] { jobs().claim({"t"}, 10'001); });
  refused([&] { jobs().claim({std::string(51, 'x')}, 1); });
  refused([&] { jobs().claim({"t"}, 1, 0ms); });
  refused([&] { jobs().claim({"t"}, 1, 25h); });
  refused([&] { jobs().heartbeat({{1, 1}}, 0ms); });
  refused([&] { jobs().set_progress({1, 1}, 1.1); });
  refused([&] { jobs().set_progress({1, 1}, 0, std::string(201, 'x')); });
  refused([&] { jobs().fail({{1, 1}}, std::string("\0", 1)); });
  refused([&] { jobs().fail({{1, 1}}, "e", job_backoff{.first = -1ms}); });
  refused([&] { jobs().fail({{1, 1}}, "e", job_backoff{.first = 2s, .most = 1s}); });
  refused([&] { jobs().rescue_expired(0); });
  EXPECT_EQ(db_.metrics().snapshot().total_queries, 0U);
}

TEST_F(job_leases_test, claim_takes_the_oldest_pending_jobs_of_the_types) {
  add("a");
  add("other", "pending", "u");
  add("b");
  add("running", "running");
  add("c");
  const auto claimed = jobs().claim({"t", "v"}, 2);
  EXPECT_THAT(targets_of(claimed), ElementsAre("a", "b"));
  for (const auto& one : claimed) {
    EXPECT_EQ(one.job.status, job_status::running);
    EXPECT_EQ(one.job.progress, 0);
    EXPECT_GE(one.job.started_at, one.job.created_at);
    EXPECT_EQ(one.lease.job_id, one.job.id);
    EXPECT_GE(one.expires_at, one.job.started_at.value() + 1min);
    EXPECT_EQ(status_of(one.job.id), job_status::running);
  }
  EXPECT_NE(claimed[0].lease.token, claimed[1].lease.token);
  EXPECT_THAT(targets_of(jobs().claim({"t"}, 10)), ElementsAre("c"));
  EXPECT_THAT(jobs().claim({"t"}, 10), IsEmpty());
  EXPECT_THAT(jobs().claim({}, 10), IsEmpty());
}

TEST_F(job_leases_test, claim_gives_each_job_to_one_of_eight_threads) {
  for (int i = 0; i < 200; ++i) add(std::to_string(i));
  std::array<ids, 8> taken;
  in_eight_threads([&](int number) {
    for (;;) {
      const auto some = claim(3);
      if (some.empty()) break;
      EXPECT_LE(some.size(), 3U);
      for (const auto& one : some) taken[static_cast<std::size_t>(number)].push_back(one.job_id);
    }
  });
  std::multiset<std::int32_t> all;
  for (const auto& mine : taken) all.insert(mine.begin(), mine.end());
  EXPECT_EQ(all.size(), 200U);
  EXPECT_EQ((std::set<std::int32_t>{all.begin(), all.end()}.size()), 200U);
}

TEST_F(job_leases_test, claim_passes_over_jobs_that_another_is_claiming) {
  add("a");
  add("b");
  auto tx = db_.begin();
  EXPECT_THAT(targets_of(database::jobs(tx).claim({"t"}, 1)), ElementsAre("a"));
  EXPECT_THAT(targets_of(jobs().claim({"t"}, 2)), ElementsAre("b"));
  tx.rollback();
  EXPECT_THAT(targets_of(jobs().claim({"t"}, 2)), ElementsAre("a"));
}

TEST_F(job_leases_test, claim_takes_jobs_whose_created_at_no_timestamp_can_hold) {
  for (const auto* target : {"-infinity", "infinity", "294000-01-01"}) {
    db_.execute(date, {add(target), target});
  }
  const auto claimed = jobs().claim({"t"}, 10);
  EXPECT_THAT(targets_of(claimed), UnorderedElementsAre("-infinity", "infinity", "294000-01-01"));
  for (const auto& one : claimed) {
    EXPECT_EQ(one.job.created_at, std::nullopt);
    EXPECT_EQ(db_.one<std::string>(dated, {one.job.id}).substr(0, 6),
              one.job.target_id->substr(0, 6));
    EXPECT_THAT(jobs().complete({one.lease}), ElementsAre(one.job.id));
  }
}

// A claim is held up, by a policy that waits, between its snapshot and the locks.
TEST_F(job_leases_test, claim_passes_over_a_job_that_another_claimed_and_failed_meanwhile) {
  auto as_claimer = test::server().options(options_.name);
  as_claimer.user = "claimer_" + options_.name;
  test::execute(options_, hold_up_claims(as_claimer.user));
  auto claimer = database::open(as_claimer);
  add("x");
  auto tx = db_.begin();
  tx.execute(hold_up);
  std::vector<leased_job> claimed;
  while_waiting([&] { claimed = claimer.jobs().claim({"t"}, 1); },
                [&] {
                  const auto first = claim(1);
                  EXPECT_THAT(jobs().fail(first, "broken", job_backoff{.first = 1h}), SizeIs(1));
                  tx.commit();
                });
  EXPECT_THAT(targets_of(claimed), IsEmpty()) << "it waits for its retry";
  EXPECT_EQ(db_.jobs().count_by_status(job_status::pending), 1);
}

TEST_F(job_leases_test, complete_ends_the_jobs_that_are_held) {
  const auto a = claimed();
  const auto b = claimed();
  jobs().set_progress(a, 0.5, "half");
  const job_lease strange{a.job_id, b.token};
  EXPECT_THAT(jobs().complete({b, strange, a, {999, 1}, a}), ElementsAre(a.job_id, b.job_id));
  const auto done = read(a.job_id);
  EXPECT_EQ(done.status, job_status::completed);
  EXPECT_EQ(done.progress, 1);
  EXPECT_EQ(done.current_step, "half");
  EXPECT_GE(done.completed_at, done.started_at);
  EXPECT_EQ(leases(), 0);
  expect_not_held(a);
  EXPECT_THAT(jobs().complete({}), IsEmpty());
}

TEST_F(job_leases_test, another_token_holds_nothing) {
  const auto mine = claimed();
  expect_not_held({mine.job_id, mine.token + 1});
  EXPECT_THAT(jobs().heartbeat({mine}), ElementsAre(mine.job_id));
}

TEST_F(job_leases_test, set_progress_writes_while_the_job_is_held) {
  const auto mine = claimed();
  EXPECT_TRUE(jobs().set_progress(mine, 0.5, "half"));
  EXPECT_TRUE(jobs().set_progress(mine, 0.6));
  EXPECT_EQ(read(mine.job_id).progress, 0.6);
  EXPECT_EQ(read(mine.job_id).current_step, "half");
}

TEST_F(job_leases_test, a_job_that_was_cancelled_stays_so) {
  const auto mine = claimed();
  EXPECT_TRUE(jobs().cancel(mine.job_id, "no longer wanted"));
  expect_not_held(mine);
  EXPECT_EQ(status_of(mine.job_id), job_status::cancelled);
}

TEST_F(job_leases_test, complete_that_waited_for_a_cancel_leaves_the_job_cancelled) {
  const auto a = claimed();
  const auto b = claimed();
  auto tx = db_.begin();
  ASSERT_TRUE(database::jobs(tx).cancel(a.job_id));
  ids completed;
  while_waiting([&] { completed = jobs().complete({a, b}); }, [&] { tx.commit(); });
  EXPECT_THAT(completed, ElementsAre(b.job_id));
  EXPECT_EQ(status_of(a.job_id), job_status::cancelled);
}

TEST_F(job_leases_test, overlapping_batches_do_not_deadlock) {
  for (int i = 0; i < 100; ++i) add(std::to_string(i));
  const auto forwards = claim(100);
  const std::vector<job_lease> backwards{forwards.rbegin(), forwards.rend()};
  std::atomic<std::size_t> completed{0};
  in_eight_threads([&](int number) {
    completed += jobs().complete(number % 2 == 0 ? forwards : backwards).size();
  });
  EXPECT_EQ(completed, 100U);
}

TEST_F(job_leases_test, complete_in_a_transaction_happens_with_it) {
  const auto mine = claimed();
  auto tx = db_.begin();
  EXPECT_THAT(database::jobs(tx).complete({mine}), ElementsAre(mine.job_id));
  tx.rollback();
  EXPECT_EQ(status_of(mine.job_id), job_status::running);
  EXPECT_THAT(jobs().complete({mine}), ElementsAre(mine.job_id));
}

// --- expiry and rescue ---------------------------------------------------------------------------

TEST_F(job_leases_test, a_lease_that_has_expired_is_held_until_somebody_rescues_it) {
  const auto mine = overdue();
  EXPECT_THAT(claim(1), IsEmpty());
  EXPECT_THAT(jobs().heartbeat({mine}), ElementsAre(mine.job_id));
  EXPECT_THAT(jobs().rescue_expired(), IsEmpty()) << "the heartbeat has prolonged it";
  EXPECT_THAT(jobs().complete({mine}), ElementsAre(mine.job_id));
}

TEST_F(job_leases_test, rescue_gives_the_job_back_and_counts_no_retry) {
  const auto lost = overdue();
  jobs().set_progress(lost, 0.5, "half");
  const auto alive = claimed();
  EXPECT_THAT(jobs().rescue_expired(), ElementsAre(lost.job_id));
  const auto back = read(lost.job_id);
  EXPECT_EQ(back.status, job_status::pending);
  EXPECT_EQ(back.started_at, std::nullopt);
  EXPECT_EQ(back.progress, 0);
  EXPECT_EQ(back.current_step, std::nullopt);
  EXPECT_EQ(back.retry_count, 0);
  EXPECT_EQ(leases(), 1) << "that of the live job";
  expect_not_held(lost);
  const auto again = claim(1).at(0);
  EXPECT_EQ(again.job_id, lost.job_id);
  EXPECT_GT(again.token, lost.token);
  expect_not_held(lost);
  EXPECT_THAT(jobs().complete({again, alive}), ElementsAre(lost.job_id, alive.job_id));
}

TEST_F(job_leases_test, rescue_takes_at_most_so_many) {
  for (int i = 0; i < 3; ++i) add("x");
  claim(3);
  db_.execute(expire_all);
  EXPECT_EQ(jobs().rescue_expired(2).size(), 2U);
  EXPECT_EQ(jobs().rescue_expired(2).size(), 1U);
}

TEST_F(job_leases_test, rescue_passes_over_jobs_that_somebody_has_locked) {
  const auto first = overdue();
  const auto second = overdue();
  auto tx = db_.begin();
  ASSERT_EQ(tx.one<std::int32_t>(lock_job, {first.job_id}), first.job_id);
  EXPECT_THAT(jobs().rescue_expired(1000, {.until = deadline::in(10s)}),
              ElementsAre(second.job_id));
  EXPECT_EQ(leases(), 1) << "that of the locked one stays";
  tx.rollback();
  EXPECT_THAT(jobs().rescue_expired(), ElementsAre(first.job_id));
  EXPECT_EQ(leases(), 0);
}

TEST_F(job_leases_test, rescue_leaves_jobs_of_the_python_services_alone) {
  const auto theirs = add("x", "running");
  EXPECT_THAT(jobs().rescue_expired(), IsEmpty());
  EXPECT_EQ(status_of(theirs), job_status::running);
}

TEST_F(job_leases_test, a_lease_is_of_one_run_of_its_job) {
  // The services cancel a job, run it again and claim it, none of which knows of leases.
  const auto old = overdue();
  jobs().cancel(old.job_id);
  jobs().update_status(old.job_id, job_status::failed);
  jobs().retry(old.job_id);
  jobs().update_status(old.job_id, job_status::running);
  expect_not_held(old);
  EXPECT_THAT(jobs().rescue_expired(), IsEmpty());
  EXPECT_EQ(status_of(old.job_id), job_status::running);
  EXPECT_EQ(leases(), 0) << "what was left of it is gone";
}

TEST_F(job_leases_test, a_claim_takes_over_what_is_left_of_an_old_lease) {
  const auto old = overdue();
  jobs().update_status(old.job_id, job_status::pending);
  const auto mine = claim(1).at(0);
  EXPECT_EQ(mine.job_id, old.job_id);
  EXPECT_GT(mine.token, old.token);
  expect_not_held(old);
  EXPECT_THAT(jobs().complete({mine}), ElementsAre(mine.job_id));
}

// --- the fence -----------------------------------------------------------------------------------

// A batch is held up at its first job while its second one is rescued and claimed by another: under
// READ COMMITTED an UPDATE that has waited looks at its row once more, but not at other tables.
TEST_F(job_leases_test, a_batch_that_was_held_up_completes_nothing_that_another_has_claimed) {
  const auto first = claimed();
  const auto second = overdue();
  auto tx = db_.begin();
  ASSERT_EQ(tx.one<std::int32_t>(lock_job, {first.job_id}), first.job_id);
  ids completed;
  std::vector<job_lease> taken_over;
  while_waiting(
      [&] {
        completed = jobs().complete({first, second});
      },
      [&] {
        jobs().rescue_expired();
        taken_over = claim(1);
        tx.commit();
      });
  EXPECT_THAT(completed, Contains(first.job_id));
  // Either the batch held the second job all the time, or the other has it: never both.
  EXPECT_EQ(std::count(completed.begin(), completed.end(), second.job_id), taken_over.empty());
  EXPECT_EQ(status_of(second.job_id),
            taken_over.empty() ? job_status::completed : job_status::running);
}

TEST_F(job_leases_test, a_batch_held_up_at_a_lease_does_not_hold_what_was_rescued_and_claimed) {
  const auto first = claimed();
  const auto second = overdue();
  auto tx = db_.begin();
  ASSERT_EQ(tx.one<std::int32_t>(lock_lease, {first.job_id}), first.job_id);
  ids completed;
  std::vector<job_lease> taken_over;
  while_waiting(
      [&] {
        completed = jobs().complete({first, second});
      },
      [&] {
        EXPECT_THAT(jobs().rescue_expired(), ElementsAre(second.job_id));
        taken_over = claim(1);
        tx.commit();
      });
  EXPECT_THAT(completed, ElementsAre(first.job_id));
  EXPECT_EQ(status_of(second.job_id), job_status::running);
  EXPECT_THAT(jobs().complete(taken_over), ElementsAre(second.job_id));
}

// The same, where the claim finds a lease and gives it a new token: the row is not new.
TEST_F(job_leases_test, a_batch_held_up_at_a_lease_does_not_hold_what_has_another_token) {
  const auto first = claimed();
  const auto second = overdue();
  auto tx = db_.begin();
  ASSERT_EQ(tx.one<std::int32_t>(lock_lease, {first.job_id}), first.job_id);
  ids completed;
  while_waiting(
      [&] {
        completed = jobs().complete({first, second});
      },
      [&] {
        jobs().update_status(second.job_id, job_status::pending);
        EXPECT_EQ(claim(1).size(), 1U);
        tx.commit();
      });
  EXPECT_THAT(completed, ElementsAre(first.job_id));
  EXPECT_EQ(status_of(second.job_id), job_status::running);
}

TEST_F(job_leases_test, a_heartbeat_does_not_wait_for_a_lease_that_is_in_use) {
  const auto first = claimed();
  const auto second = overdue();
  auto tx = db_.begin();
  ASSERT_THAT(database::jobs(tx).complete({first}), ElementsAre(first.job_id));
  EXPECT_THAT(jobs().heartbeat({first, second}, 1min, {.until = deadline::in(10s)}),
              ElementsAre(first.job_id, second.job_id));
  EXPECT_THAT(jobs().rescue_expired(), IsEmpty()) << "the other one was prolonged";
  tx.commit();
  EXPECT_THAT(jobs().heartbeat({first, second}), ElementsAre(second.job_id));
}

TEST_F(job_leases_test, a_lease_whose_rescue_is_not_committed_is_lost_once_it_is) {
  const auto mine = overdue();
  auto tx = db_.begin();
  ASSERT_THAT(database::jobs(tx).rescue_expired(), ElementsAre(mine.job_id));
  ids completed{mine.job_id};
  while_waiting([&] { completed = jobs().complete({mine}); }, [&] { tx.commit(); });
  EXPECT_THAT(completed, IsEmpty());
  EXPECT_EQ(status_of(mine.job_id), job_status::pending);
}

// --- failing and giving back ---------------------------------------------------------------------

TEST_F(job_leases_test, a_failed_job_is_tried_again_while_it_has_retries) {
  add("x");
  for (int retry = 1; retry <= 3; ++retry) {
    const auto mine = claim(1).at(0);
    jobs().set_progress(mine, 0.5, "half");
    EXPECT_THAT(jobs().fail({mine}, "broken", at_once), ElementsAre(mine.job_id));
    expect_not_held(mine);
    const auto waiting = read(mine.job_id);
    EXPECT_EQ(waiting.status, job_status::pending);
    EXPECT_EQ(waiting.retry_count, retry);
    EXPECT_EQ(waiting.error_message, "broken");
    EXPECT_EQ(waiting.progress, 0);
    EXPECT_EQ(waiting.current_step, std::nullopt);
    EXPECT_EQ(waiting.started_at, std::nullopt);
  }
  const auto last = claim(1).at(0);
  EXPECT_THAT(jobs().fail({last}, "still broken", at_once), ElementsAre(last.job_id));
  const auto failed = read(last.job_id);
  EXPECT_EQ(failed.status, job_status::failed);
  EXPECT_EQ(failed.retry_count, 3);
  EXPECT_EQ(failed.error_message, "still broken");
  EXPECT_TRUE(failed.completed_at);
  EXPECT_EQ(leases(), 0);
}

TEST_F(job_leases_test, counts_of_retries_that_are_null_are_0_of_3) {
  const auto mine = claimed();
  db_.execute(null_retries, {mine.job_id});
  jobs().fail({mine}, "broken", at_once);
  EXPECT_EQ(status_of(mine.job_id), job_status::pending);
  EXPECT_EQ(read(mine.job_id).retry_count, 1);
}

TEST_F(job_leases_test, a_completed_job_keeps_no_error_of_an_earlier_run) {
  const auto first = claimed();
  jobs().fail({first}, "broken", at_once);
  jobs().complete(claim(1));
  EXPECT_EQ(read(first.job_id).error_message, std::nullopt);
  EXPECT_EQ(read(first.job_id).retry_count, 1);
}

TEST_F(job_leases_test, fail_without_a_retry_is_for_good) {
  const auto mine = claimed();
  EXPECT_THAT(jobs().fail({mine}, "hopeless", std::nullopt), ElementsAre(mine.job_id));
  EXPECT_EQ(status_of(mine.job_id), job_status::failed);
  EXPECT_EQ(read(mine.job_id).retry_count, 0);
  EXPECT_EQ(leases(), 0);
  expect_not_held(mine);
}

TEST_F(job_leases_test, a_retry_waits_twice_as_long_each_time_up_to_the_most) {
  add("x");
  constexpr job_backoff how{.first = 100h, .most = 300h};
  for (const auto wait : {100h, 200h, 300h}) {
    const auto mine = claim(1).at(0);
    const auto before = db_.one<timestamp>(server_clock);
    jobs().fail({mine}, "broken", how);
    const auto after = db_.one<timestamp>(server_clock);
    const auto until = db_.one<timestamp>(lease_end, {mine.job_id});
    EXPECT_GE(until, before + wait / 2);
    EXPECT_LE(until, after + wait);
    expect_not_held(mine);
    EXPECT_THAT(claim(1), IsEmpty()) << "it waits";
    EXPECT_THAT(jobs().rescue_expired(), IsEmpty());
    // The next round as if the time had come.
    db_.execute(expire_all);
  }
}

TEST_F(job_leases_test, rescue_tidies_up_after_retries_without_touching_their_jobs) {
  const auto mine = claimed();
  jobs().fail({mine}, "broken", at_once);
  EXPECT_EQ(leases(), 1);
  EXPECT_THAT(jobs().rescue_expired(), IsEmpty());
  EXPECT_EQ(leases(), 0);
  EXPECT_EQ(status_of(mine.job_id), job_status::pending);
  EXPECT_EQ(read(mine.job_id).error_message, "broken");
}

TEST_F(job_leases_test,
       fail_takes_retries_and_last_tries_together_and_waits_for_neither_to_be_lost) {
  const auto again = claimed();
  const auto hopeless = jobs().create({.job_type = "t", .target_id = "y", .max_retries = 0}).id;
  const auto last = claim(1).at(0);
  auto tx = db_.begin();
  // The batch waits for both leases, whose rows have changed when it goes on.
  ASSERT_EQ(database::jobs(tx).heartbeat({again, last}, 2min).size(), 2U);
  ids failed;
  while_waiting(
      [&] {
        failed = jobs().fail({last, again}, "broken", at_once);
      },
      [&] { tx.commit(); });
  EXPECT_THAT(failed, ElementsAre(again.job_id, hopeless));
  EXPECT_EQ(status_of(again.job_id), job_status::pending);
  EXPECT_EQ(status_of(hopeless), job_status::failed);
  EXPECT_EQ(leases(), 1) << "the one that waits";
  EXPECT_EQ(claim(2).size(), 1U);
}

TEST_F(job_leases_test, release_gives_the_job_back_at_once) {
  const auto mine = claimed();
  jobs().set_progress(mine, 0.5, "half");
  EXPECT_THAT(jobs().release({mine}), ElementsAre(mine.job_id));
  expect_not_held(mine);
  const auto back = read(mine.job_id);
  EXPECT_EQ(back.status, job_status::pending);
  EXPECT_EQ(back.progress, 0);
  EXPECT_EQ(back.started_at, std::nullopt);
  EXPECT_EQ(back.retry_count, 0);
  EXPECT_GT(claim(1).at(0).token, mine.token);
}

// --- the schema ----------------------------------------------------------------------------------

TEST(job_leases_schema_test, below_0100_jobs_are_created_but_not_claimed) {
  const auto options = test::empty_database_options();
  up_options as_alembic_makes_it;
  as_alembic_makes_it.to = 4;
  migrator{options}.up(as_alembic_makes_it);
  auto db = database::open(options);
  const auto made = db.jobs().create({.job_type = "t", .target_id = "x"});
  const auto refused = test::caught<migration_error>([&] { db.jobs().claim({"t"}, 1); });
  EXPECT_EQ(refused.code(), errc::migration_pending);
  EXPECT_THAT(refused.what(), HasSubstr("soundhash-db migrate up"));
  EXPECT_THROW(db.jobs().heartbeat({{made.id, 1}}), migration_error);
  EXPECT_THROW(db.jobs().rescue_expired(), migration_error);
  EXPECT_TRUE(db.jobs().cancel(made.id));
}

}  // namespace
}  // namespace soundhash::db
