#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <future>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <stdexcept>
#include <stop_token>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <soundhash/db.hpp>
#include <soundhash/db/migrate/migrator.hpp>

#include "support/captured_log.hpp"
#include "support/caught.hpp"
#include "support/eventually.hpp"
#include "support/sql.hpp"
#include "support/test_database.hpp"

namespace soundhash::db {
namespace {

using namespace std::chrono_literals;
using test::caught;
using test::eventually;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr query lease_end{"test.lease_end",
                          "SELECT expires_at FROM soundhash_job_leases WHERE job_id = $1"};
constexpr query expire{"test.expire",
                       "UPDATE soundhash_job_leases SET expires_at = '2000-01-01' "
                       "WHERE job_id = $1"};
constexpr query lock_job{"test.lock_job",
                         "SELECT id FROM processing_jobs WHERE id = $1 FOR UPDATE"};
constexpr query server_clock{"test.clock", "SELECT timezone('utc', clock_timestamp())"};
constexpr query note{"test.note", "INSERT INTO notes VALUES ($1)"};
constexpr query count_notes{"test.count_notes", "SELECT count(*) FROM notes"};
/// As the Python services insert one.
constexpr query insert_by_hand{
    "test.insert",
    "INSERT INTO processing_jobs (job_type, status, target_id, created_at, progress, retry_count, "
    "max_retries) VALUES ('t', 'pending', $1, now(), 0, 0, 3)"};
constexpr query listeners{"test.listeners",
                          "SELECT count(*) FROM pg_stat_activity WHERE datname = "
                          "current_database() AND query = 'LISTEN soundhash_jobs'"};
constexpr query another_listener{"test.another_listener",
                                 "SELECT pid FROM pg_stat_activity WHERE datname = "
                                 "current_database() AND query = 'LISTEN soundhash_jobs' "
                                 "AND pid <> $1"};
constexpr query end_session{"test.end_session", "SELECT pg_terminate_backend($1)"};

/// No job whose target_id is "refused" changes its status once it runs.
constexpr auto refuse = R"sql(
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION 'not this one'; END $$;
CREATE TRIGGER refuse BEFORE UPDATE ON processing_jobs FOR EACH ROW
    WHEN (OLD.target_id = 'refused' AND OLD.status = 'running') EXECUTE FUNCTION refuse();
)sql";

/// Counts what happens in the handlers.
class counter {
 public:
  void add() {
    const std::lock_guard lock{mutex_};
    ++count_;
    changed_.notify_all();
  }
  /// False when it takes too long.
  bool reaches(int count) {
    std::unique_lock lock{mutex_};
    return changed_.wait_for(lock, 20s, [&] { return count_ >= count; });
  }
  int count() {
    const std::lock_guard lock{mutex_};
    return count_;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  int count_ = 0;
};

/// Returns when the job's handler is asked to stop; false when it takes too long.
bool asked_to_stop(const job_run& run) {
  std::mutex mutex;
  std::condition_variable_any never;
  std::unique_lock lock{mutex};
  never.wait_for(lock, run.stop(), 20s, [] { return false; });
  return run.stop().stop_requested();
}

class job_worker_test : public ::testing::Test {
 protected:
  /// A worker that runs until it is told to stop, or to the end of the test.
  class running {
   public:
    running(database on, job_worker_options options, job_worker::handler work)
        : thread_{[this, worker = job_worker{std::move(on), std::move(options), std::move(work)}](
                      const std::stop_token& stop) {
            worker.run(stop);
            ended_.add();
          }} {}
    void request_stop() { thread_.request_stop(); }
    void stop() {
      thread_.request_stop();
      thread_.join();
    }
    /// False when it takes too long.
    bool stops() {
      thread_.request_stop();
      return ended_.reaches(1);
    }

   private:
    counter ended_;
    std::jthread thread_;
  };

  static job_worker_options options() {
    return {.job_types = {"t"}, .poll_interval = 20ms, .retry = job_backoff{.first = 0ms}};
  }
  /// Nothing is found by polling.
  static job_worker_options listening() {
    return {.job_types = {"t"}, .lease = 3h, .poll_interval = 2h};
  }

  std::int32_t add(std::string target = "x", std::int32_t max_retries = 3) {
    return db_.jobs()
        .create({.job_type = "t", .target_id = std::move(target), .max_retries = max_retries})
        .id;
  }
  job read(std::int32_t id) { return db_.jobs().find(id).value(); }
  bool comes_to(std::int32_t id, std::string_view status) {
    return eventually([&] { return read(id).status == status; });
  }
  /// Somebody's transaction that has locked the job.
  transaction holding(std::int32_t id) {
    auto tx = db_.begin();
    EXPECT_EQ(tx.one<std::int32_t>(lock_job, {id}), id);
    return tx;
  }
  bool all_are(std::string_view status, std::int64_t count) {
    return eventually([&] { return db_.jobs().count_by_status(status) == count; });
  }

  database_options made_ = test::fresh_database_options();
  database db_ = database::open(made_);
};

// --- working ---------------------------------------------------------------------------------

TEST_F(job_worker_test, hands_each_job_of_its_types_to_the_handler_once_and_completes_it) {
  for (int i = 0; i < 50; ++i) add(std::to_string(i));
  const auto other = db_.jobs().create({.job_type = "u", .target_id = "x"}).id;
  std::mutex mutex;
  std::multiset<std::string> seen;
  auto how = options();
  how.concurrency = 4;
  running worker{db_, how, [&](job_run& run) {
                   const std::lock_guard lock{mutex};
                   EXPECT_EQ(run.job().status, job_status::running);
                   EXPECT_EQ(run.lease().job_id, run.job().id);
                   seen.insert(run.job().target_id.value());
                 }};
  ASSERT_TRUE(all_are(job_status::completed, 50));
  worker.stop();
  EXPECT_EQ(seen.size(), 50U);
  EXPECT_EQ((std::set<std::string>{seen.begin(), seen.end()}.size()), 50U);
  EXPECT_EQ(read(other).status, job_status::pending);
}

TEST_F(job_worker_test, works_on_as_many_jobs_at_once_as_it_may) {
  for (int i = 0; i < 9; ++i) add();
  counter in;
  std::atomic<int> now{0};
  std::atomic<int> most{0};
  auto how = options();
  how.concurrency = 3;
  running worker{db_, how, [&](job_run&) {
                   most = std::max<int>(most, ++now);
                   in.add();
                   EXPECT_TRUE(in.reaches(3)) << "three at once";
                   --now;
                 }};
  ASSERT_TRUE(all_are(job_status::completed, 9));
  EXPECT_EQ(most, 3);
}

TEST_F(job_worker_test, a_job_whose_handler_throws_is_tried_again) {
  const auto id = add();
  std::atomic<int> runs{0};
  running worker{db_, options(), [&](job_run&) {
                   if (++runs == 1) throw std::runtime_error{"broken"};
                 }};
  ASSERT_TRUE(comes_to(id, job_status::completed));
  EXPECT_EQ(runs, 2);
  EXPECT_EQ(read(id).retry_count, 1);
}

TEST_F(job_worker_test, a_job_without_retries_left_fails_with_the_text_of_the_exception) {
  const auto id = add("x", 1);
  counter runs;
  running worker{db_, options(), [&](job_run&) {
                   runs.add();
                   throw std::runtime_error{"broken"};
                 }};
  ASSERT_TRUE(comes_to(id, job_status::failed));
  worker.stop();
  EXPECT_EQ(runs.count(), 2);
  EXPECT_EQ(read(id).error_message, "broken");
}

TEST_F(job_worker_test, a_job_that_is_unrecoverable_fails_at_once) {
  const auto id = add();
  running worker{db_, options(), [](job_run&) { throw job_unrecoverable{"no such video"}; }};
  ASSERT_TRUE(comes_to(id, job_status::failed));
  EXPECT_EQ(read(id).error_message, "no such video");
  EXPECT_EQ(read(id).retry_count, 0);
}

TEST_F(job_worker_test, without_a_backoff_no_job_is_tried_again) {
  const auto id = add();
  auto how = options();
  how.retry.reset();
  running worker{db_, how, [](job_run&) { throw std::runtime_error{"broken"}; }};
  ASSERT_TRUE(comes_to(id, job_status::failed));
}

TEST_F(job_worker_test, whatever_is_thrown_becomes_a_text_that_the_column_takes) {
  const std::vector<std::string> given{"a\nb", "\xff caf\xc3\xa9", "", std::string(10'000, 'x')};
  const std::vector<std::string> stored{"a\\x0ab", "? caf??", "the handler failed",
                                        std::string(4000, 'x') + "…"};
  std::vector<std::int32_t> jobs;
  for (std::size_t i = 0; i < given.size(); ++i) jobs.push_back(add(std::to_string(i), 0));
  const auto odd = add("odd", 0);
  running worker{db_, options(), [&](job_run& run) {
                   if (run.job().target_id == "odd") throw 7;
                   throw std::runtime_error{given.at(std::stoul(run.job().target_id.value()))};
                 }};
  ASSERT_TRUE(all_are(job_status::failed, 5));
  for (std::size_t i = 0; i < given.size(); ++i) {
    EXPECT_EQ(read(jobs[i]).error_message, stored[i]);
  }
  EXPECT_EQ(read(odd).error_message, "the handler failed");
}

TEST_F(job_worker_test, a_handler_may_complete_its_job_together_with_what_it_writes) {
  test::execute(made_, "CREATE TABLE notes (id int)");
  const auto kept = add("kept");
  const auto cancelled_one = add("cancelled");
  counter ended;
  running worker{db_, options(), [&](job_run& run) {
                   if (run.job().id == cancelled_one) db_.jobs().cancel(cancelled_one);
                   db_.with_transaction([&](transaction& tx) {
                     tx.execute(note, {run.job().id});
                     if (run.job().id == cancelled_one) ended.add();
                     run.complete(tx);
                   });
                 }};
  ASSERT_TRUE(comes_to(kept, job_status::completed));
  ASSERT_TRUE(ended.reaches(1));
  worker.stop();
  EXPECT_EQ(read(cancelled_one).status, job_status::cancelled);
  EXPECT_EQ(db_.one<std::int64_t>(count_notes), 1) << "the other note is rolled back";
}

TEST_F(job_worker_test, sets_progress_while_it_works) {
  const auto id = add();
  running worker{db_, options(), [&](job_run& run) {
                   EXPECT_TRUE(run.set_progress(0.5, "half"));
                   EXPECT_EQ(read(id).progress, 0.5);
                 }};
  ASSERT_TRUE(comes_to(id, job_status::completed));
  EXPECT_EQ(read(id).current_step, "half");
}

// --- leases ----------------------------------------------------------------------------------

TEST_F(job_worker_test, prolongs_the_lease_while_the_handler_works) {
  const auto id = add();
  std::atomic<int> runs{0};
  auto how = options();
  how.lease = 300ms;
  running worker{db_, how, [&](job_run& run) {
                   ++runs;
                   const auto end = [&] { return db_.one<timestamp>(lease_end, {id}); };
                   const auto first = end();
                   // Three leases long, by the server's clock.
                   EXPECT_TRUE(eventually([&] { return end() > first + 3 * 300ms; }));
                   EXPECT_FALSE(run.stop().stop_requested());
                 }};
  ASSERT_TRUE(comes_to(id, job_status::completed));
  EXPECT_EQ(runs, 1);
}

TEST_F(job_worker_test, a_handler_learns_that_its_lease_was_lost_and_another_one_does_the_job) {
  const auto id = add();
  std::atomic<int> runs{0};
  counter in;
  auto how = options();
  how.concurrency = 2;
  how.lease = 300ms;
  running worker{db_, how, [&](job_run& run) {
                   if (++runs > 1) return;
                   in.add();
                   EXPECT_TRUE(asked_to_stop(run));
                   EXPECT_FALSE(run.set_progress(0.9)) << "what it does counts no more";
                 }};
  ASSERT_TRUE(in.reaches(1));
  // As if its heartbeats had not come through for a while.
  db_.with_transaction([&](transaction& tx) {
    tx.execute(expire, {id});
    EXPECT_THAT(database::jobs(tx).rescue_expired(), ElementsAre(id));
  });
  ASSERT_TRUE(comes_to(id, job_status::completed));
  worker.stop();
  EXPECT_EQ(runs, 2);
  EXPECT_EQ(read(id).progress, 1);
  EXPECT_EQ(read(id).retry_count, 0);
}

TEST_F(job_worker_test, a_handler_learns_that_its_job_was_cancelled_before_its_lease_would_end) {
  const auto id = add();
  counter in;
  counter out;
  auto how = options();
  how.lease = 6s;
  running worker{db_, how, [&](job_run& run) {
                   in.add();
                   EXPECT_TRUE(asked_to_stop(run));
                   EXPECT_LT(db_.one<timestamp>(server_clock), run.job().started_at.value() + 6s);
                   out.add();
                 }};
  ASSERT_TRUE(in.reaches(1));
  EXPECT_TRUE(db_.jobs().cancel(id));
  ASSERT_TRUE(out.reaches(1));
  worker.stop();
  EXPECT_EQ(read(id).status, job_status::cancelled);
  EXPECT_EQ(in.count(), 1);
}

TEST_F(job_worker_test, rescues_the_job_of_a_worker_that_died) {
  const auto id = add();
  ASSERT_EQ(db_.jobs().claim({"t"}, 1, 1ms).size(), 1U);
  auto how = options();
  how.lease = 300ms;
  running worker{db_, how, [](job_run&) {}};
  ASSERT_TRUE(comes_to(id, job_status::completed));
  EXPECT_EQ(read(id).retry_count, 0);
}

// --- jobs that cannot be settled --------------------------------------------------------------

TEST_F(job_worker_test, a_job_whose_row_is_locked_holds_up_no_other) {
  const test::captured_log log;
  const auto locked = add("locked");
  counter runs;
  counter go_on;
  running worker{db_, options(), [&](job_run& run) {
                   runs.add();
                   EXPECT_TRUE(run.job().id != locked || go_on.reaches(1));
                 }};
  ASSERT_TRUE(runs.reaches(1));
  auto other = holding(locked);
  go_on.add();
  for (int i = 0; i < 3; ++i) add();
  ASSERT_TRUE(all_are(job_status::completed, 3));
  EXPECT_TRUE(eventually([&] {
    return log.text().find("job " + std::to_string(locked) +
                           " cannot be settled yet: another transaction has locked it") !=
           std::string::npos;
  }));
  other.rollback();
  ASSERT_TRUE(comes_to(locked, job_status::completed));
  EXPECT_EQ(runs.count(), 4);
}

TEST_F(job_worker_test, a_job_whose_change_is_refused_holds_up_no_other) {
  const test::captured_log log;
  test::execute(made_, refuse);
  add("refused");
  add();
  add();
  counter in;
  auto how = options();
  how.concurrency = 3;
  running worker{db_, how, [&](job_run&) {
                   in.add();
                   EXPECT_TRUE(in.reaches(3)) << "three that are settled together";
                 }};
  ASSERT_TRUE(all_are(job_status::completed, 2));
  for (int i = 0; i < 6; ++i) add();
  ASSERT_TRUE(all_are(job_status::completed, 8));
  EXPECT_TRUE(eventually([&] { return log.text().find("P0001") != std::string::npos; }));
  test::execute(made_, "DROP TRIGGER refuse ON processing_jobs");
  ASSERT_TRUE(all_are(job_status::completed, 9));
  EXPECT_EQ(in.count(), 9);
}

TEST_F(job_worker_test, claims_no_more_when_as_many_jobs_wait_as_it_may_work_on) {
  test::execute(made_, refuse);
  for (int i = 0; i < 5; ++i) add("refused");
  counter runs;
  auto how = options();
  how.concurrency = 2;
  running worker{db_, how, [&](job_run&) { runs.add(); }};
  ASSERT_TRUE(runs.reaches(4)) << "two that wait, and two more";
  const auto other = db_.jobs().create({.job_type = "u", .target_id = "x"}).id;
  running another{db_, {.job_types = {"u"}, .poll_interval = 20ms}, [](job_run&) {}};
  ASSERT_TRUE(comes_to(other, job_status::completed));
  EXPECT_EQ(runs.count(), 4);
  EXPECT_EQ(db_.jobs().count_by_status(job_status::pending), 1);
  test::execute(made_, "DROP TRIGGER refuse ON processing_jobs");
  ASSERT_TRUE(all_are(job_status::completed, 6));
}

TEST_F(job_worker_test, a_worker_that_shall_stop_leaves_what_it_cannot_settle_to_the_lease) {
  const test::captured_log log;
  const auto id = add();
  counter in;
  counter go_on;
  auto how = options();
  how.lease = 300ms;
  running worker{db_, how, [&](job_run&) {
                   in.add();
                   EXPECT_TRUE(go_on.reaches(1));
                 }};
  ASSERT_TRUE(in.reaches(1));
  auto other = holding(id);
  go_on.add();
  EXPECT_TRUE(worker.stops());
  EXPECT_THAT(log.text(), HasSubstr("job " + std::to_string(id) + " could not be settled"));
  other.rollback();
  EXPECT_THAT(db_.jobs().rescue_expired(), ElementsAre(id));
}

TEST_F(job_worker_test, a_job_that_failed_before_the_stop_is_not_given_back) {
  const auto id = add();
  counter in;
  counter go_on;
  auto how = options();
  how.grace = 0ms;
  how.lease = 3s;
  running worker{db_, how, [&](job_run&) {
                   in.add();
                   EXPECT_TRUE(go_on.reaches(1));
                   throw std::runtime_error{"broken"};
                 }};
  ASSERT_TRUE(in.reaches(1));
  auto other = holding(id);
  go_on.add();
  const test::captured_log log;
  ASSERT_TRUE(
      eventually([&] { return log.text().find("cannot be settled yet") != std::string::npos; }));
  worker.request_stop();
  other.rollback();
  worker.stop();
  EXPECT_EQ(read(id).error_message, "broken");
  EXPECT_EQ(read(id).retry_count, 1);
}

TEST_F(job_worker_test, a_text_that_a_constraint_refuses_is_replaced) {
  test::execute(made_, "ALTER TABLE processing_jobs ADD CHECK (error_message NOT LIKE '%broken%')");
  const auto id = add("x", 0);
  running worker{db_, options(), [](job_run&) { throw std::runtime_error{"broken"}; }};
  ASSERT_TRUE(comes_to(id, job_status::failed));
  EXPECT_EQ(read(id).error_message, "the error text was refused by the server: SQLSTATE 23514");
}

TEST(job_worker_encoding_test, a_text_that_the_database_cannot_encode_is_replaced) {
  auto options = test::empty_database_options();
  const auto name = options.name + "_latin1";
  test::execute(options, "CREATE DATABASE " + name +
                             " ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0");
  options.name = name;
  migrator{options}.up();
  auto db = database::open(options);
  const auto id = db.jobs().create({.job_type = "t", .target_id = "x", .max_retries = 0}).id;
  std::jthread worker{[&](const std::stop_token& stop) {
    job_worker{db, {.job_types = {"t"}}, [](job_run&) { throw std::runtime_error{"\u65e5\u672c"}; }}
        .run(stop);
  }};
  EXPECT_TRUE(eventually([&] { return db.jobs().find(id)->status == job_status::failed; }));
  EXPECT_EQ(db.jobs().find(id)->error_message,
            "the error text was refused by the server: SQLSTATE 22P05");
}

TEST_F(job_worker_test, a_locked_job_of_a_worker_that_died_holds_up_nobody) {
  const test::captured_log log;
  const auto dead = db_.jobs().create({.job_type = "u", .target_id = "x"}).id;
  ASSERT_EQ(db_.jobs().claim({"u"}, 1, 1ms).size(), 1U);
  auto other = holding(dead);
  auto how = options();
  how.lease = 3s;
  running worker{db_, how, [](job_run&) {}};
  for (int i = 1; i <= 3; ++i) ASSERT_TRUE(comes_to(add(), job_status::completed));
  EXPECT_THAT(log.text(), Not(HasSubstr("rescued"))) << "it waits for nobody";
  other.rollback();
  EXPECT_TRUE(comes_to(dead, job_status::pending));
}

TEST_F(job_worker_test, a_rescue_that_is_refused_holds_up_nobody) {
  const test::captured_log log;
  test::execute(made_, refuse);
  const auto dead = db_.jobs().create({.job_type = "u", .target_id = "refused"}).id;
  ASSERT_EQ(db_.jobs().claim({"u"}, 1, 1ms).size(), 1U);
  auto how = options();
  how.lease = 300ms;
  running worker{db_, how, [](job_run&) {}};
  ASSERT_TRUE(eventually([&] { return log.text().find("P0001") != std::string::npos; }));
  for (int i = 0; i < 3; ++i) add();
  EXPECT_TRUE(all_are(job_status::completed, 3));
  EXPECT_THAT(log.text(), HasSubstr("expired leases cannot be rescued"));
  test::execute(made_, "DROP TRIGGER refuse ON processing_jobs");
  EXPECT_TRUE(comes_to(dead, job_status::pending));
}

// --- stopping --------------------------------------------------------------------------------

TEST_F(job_worker_test, a_worker_that_shall_stop_lets_its_handlers_end_and_claims_no_more) {
  const auto first = add("first");
  const auto second = add("second");
  counter in;
  counter go_on;
  running worker{db_, options(), [&](job_run& run) {
                   in.add();
                   EXPECT_TRUE(go_on.reaches(1));
                   EXPECT_FALSE(run.stop().stop_requested()) << "there is time left";
                 }};
  ASSERT_TRUE(in.reaches(1));
  worker.request_stop();
  go_on.add();
  worker.stop();
  EXPECT_EQ(read(first).status, job_status::completed);
  EXPECT_EQ(read(second).status, job_status::pending);
}

TEST_F(job_worker_test, after_the_grace_handlers_are_asked_to_stop_and_their_jobs_given_back) {
  const auto id = add();
  counter in;
  auto how = options();
  how.grace = 0ms;
  running worker{db_, how, [&](job_run& run) {
                   in.add();
                   EXPECT_TRUE(asked_to_stop(run));
                   throw std::runtime_error{"stopped"};
                 }};
  ASSERT_TRUE(in.reaches(1));
  worker.stop();
  EXPECT_EQ(read(id).status, job_status::pending);
  EXPECT_EQ(read(id).retry_count, 0);
  EXPECT_EQ(read(id).error_message, std::nullopt);
}

TEST_F(job_worker_test, an_idle_worker_stops_at_once) {
  running worker{db_, listening(), [](job_run&) {}};
  ASSERT_TRUE(eventually([&] { return db_.one<std::int64_t>(listeners) == 1; }));
  worker.stop();
}

TEST_F(job_worker_test, a_worker_whose_database_is_closed_ends_with_an_error) {
  const job_worker worker{db_, options(), [](job_run&) {}};
  db_.close();
  EXPECT_EQ(caught<pool_error>([&] { worker.run({}); }).code(), errc::pool_closed);
}

TEST_F(job_worker_test, handlers_are_waited_for_when_a_worker_ends_with_an_error) {
  add();
  counter in;
  std::atomic<bool> out{false};
  auto how = options();
  how.lease = 300ms;
  const job_worker worker{db_, how, [&](job_run& run) {
                            in.add();
                            EXPECT_TRUE(asked_to_stop(run));
                            out = true;
                          }};
  std::jthread closing{[&] {
    EXPECT_TRUE(in.reaches(1));
    db_.close();
  }};
  EXPECT_THROW(worker.run({}), pool_error);
  EXPECT_TRUE(out);
}

TEST_F(job_worker_test, a_worker_without_the_privileges_ends_with_an_error) {
  auto options = test::server().options(made_.name);
  options.user = "weak_" + made_.name;
  test::execute(made_, "CREATE ROLE " + options.user +
                           " LOGIN; GRANT SELECT, INSERT, UPDATE "
                           "ON processing_jobs TO " +
                           options.user);
  std::stop_source stop;
  auto run = std::async(std::launch::async, [&] {
    job_worker{database::open(options), {.job_types = {"t"}}, [](job_run&) {}}.run(
        stop.get_token());
  });
  EXPECT_EQ(run.wait_for(20s), std::future_status::ready);
  stop.request_stop();
  EXPECT_EQ(caught<query_error>([&] { run.get(); }).sqlstate(), "42501");
}

TEST_F(job_worker_test, an_empty_handler_is_refused) {
  const auto refused = caught<invalid_argument>([&] {
    job_worker{db_, options(), job_worker::handler{}};
  });
  EXPECT_EQ(refused.argument(), "job_worker::handler");
}

TEST(job_worker_schema_test, below_0100_a_worker_ends_with_an_error) {
  const auto options = test::empty_database_options();
  up_options as_alembic_makes_it;
  as_alembic_makes_it.to = 4;
  migrator{options}.up(as_alembic_makes_it);
  const job_worker worker{database::open(options), {.job_types = {"t"}}, [](job_run&) {}};
  EXPECT_EQ(caught<migration_error>([&] { worker.run({}); }).code(), errc::migration_pending);
}

// --- waking up -------------------------------------------------------------------------------

TEST_F(job_worker_test, no_new_job_waits_for_a_poll_whoever_inserts_it) {
  counter done;
  auto how = listening();
  how.concurrency = 2;
  running worker{db_, how, [&](job_run&) { done.add(); }};
  // While the worker begins to listen, claims, works and waits.
  std::vector<std::jthread> creators;
  for (int creator = 0; creator < 2; ++creator) {
    creators.emplace_back([&, creator] {
      for (int i = 0; i < 50; ++i) {
        creator == 0 ? static_cast<void>(add())
                     : static_cast<void>(db_.execute(insert_by_hand, {"y"}));
      }
    });
  }
  creators.clear();
  EXPECT_TRUE(done.reaches(100));
  for (int i = 1; i <= 10; ++i) {  // one at a time, with the worker asleep in between
    add();
    ASSERT_TRUE(done.reaches(100 + i));
  }
}

TEST_F(job_worker_test, a_job_that_came_while_nobody_listened_is_found_when_somebody_does) {
  counter done;
  running worker{db_, listening(), [&](job_run&) { done.add(); }};
  std::optional<std::int32_t> listener = 0;
  for (int i = 1; i <= 5; ++i) {
    const auto ended = listener.value();
    ASSERT_TRUE(eventually([&] {
      listener = db_.maybe<std::int32_t>(another_listener, {ended});
      return listener.has_value();
    }));
    db_.with_transaction([&](transaction& tx) {
      ASSERT_TRUE(tx.one<bool>(end_session, {*listener}));
      database::jobs(tx).create({.job_type = "t", .target_id = "x"});
    });
    ASSERT_TRUE(done.reaches(i));
  }
}

/// Creates a job each time that a claim has looked for jobs, before its caller knows the answer.
class late_creator final : public interceptor {
 public:
  late_creator(database_options where, int jobs)
      : beside_{database::open(std::move(where))}, left_{jobs} {}
  void on_finish(const statement_event& event) override {
    if (event.name != "job.claim" || left_-- <= 0) return;
    beside_.jobs().create({.job_type = "t", .target_id = "late"});
  }

 private:
  database beside_;
  std::atomic<int> left_;
};

TEST_F(job_worker_test, a_job_that_a_claim_has_just_missed_wakes_the_worker) {
  constexpr int jobs = 100;
  auto options = made_;
  options.interceptors.push_back(std::make_shared<late_creator>(made_, jobs));
  counter done;
  auto how = listening();
  how.concurrency = 8;  // a claim that fills all slots asks again anyway
  running worker{database::open(options), how, [&](job_run&) { done.add(); }};
  EXPECT_TRUE(done.reaches(jobs));
}

TEST_F(job_worker_test, jobs_of_other_types_wake_nobody) {
  running worker{db_, listening(), [](job_run&) {}};
  ASSERT_TRUE(eventually([&] { return db_.one<std::int64_t>(listeners) == 1; }));
  const auto claims = [&] {
    const auto seen = db_.metrics().snapshot();
    const auto* q = seen.query("job.claim");
    return q == nullptr ? 0U : q->count;
  };
  ASSERT_TRUE(eventually([&] { return claims() >= 1; }));
  add();
  ASSERT_TRUE(all_are(job_status::completed, 1));
  const auto before = claims();
  for (int i = 0; i < 20; ++i) db_.jobs().create({.job_type = "u", .target_id = "x"});
  add();
  ASSERT_TRUE(all_are(job_status::completed, 2));
  EXPECT_LE(claims(), before + 4) << "one to find the job, and one more when its slot is free";
}

TEST_F(job_worker_test, polls_where_it_is_not_told) {
  auto how = options();
  how.listen = false;
  counter done;
  running worker{db_, how, [&](job_run&) { done.add(); }};
  for (int i = 1; i <= 3; ++i) {
    add();
    ASSERT_TRUE(done.reaches(i));
  }
  EXPECT_EQ(db_.one<std::int64_t>(listeners), 0);
}

TEST_F(job_worker_test, polls_behind_a_pooler) {
  auto pooled = database::open(test::pooler().options(made_.name));
  counter done;
  running worker{pooled, options(), [&](job_run&) { done.add(); }};
  for (int i = 1; i <= 3; ++i) {
    add();
    ASSERT_TRUE(done.reaches(i));
  }
}

}  // namespace
}  // namespace soundhash::db
