#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <mutex>
#include <random>
#include <stop_token>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include <soundhash/db.hpp>
#include <soundhash/db/migrate/migrator.hpp>
#include <soundhash/db/testing/private_postgres.hpp>

#include "support/eventually.hpp"
#include "support/sql.hpp"
#include "testing/child_process.hpp"
#include "testing/temporary_directory.hpp"

/// Workers that are killed, and a server that is: every job is done once, and none is lost.
namespace soundhash::db {
namespace {

using namespace std::chrono_literals;
using std::chrono::milliseconds;
namespace fs = std::filesystem;

/// Remembers each change of a job's status and each token, and what handlers did.
constexpr auto make_witness = R"sql(
CREATE TABLE changes (job_id int, was text, is_now text);
CREATE TABLE tokens (job_id int, token bigint);
CREATE TABLE results (job_id int, token bigint);
CREATE INDEX ON changes (job_id);
CREATE INDEX ON tokens (job_id);
CREATE INDEX ON results (job_id);
CREATE FUNCTION note_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN INSERT INTO changes VALUES (NEW.id, OLD.status, NEW.status); RETURN NULL; END $$;
CREATE FUNCTION note_token() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN INSERT INTO tokens VALUES (NEW.job_id, NEW.token); RETURN NULL; END $$;
CREATE TRIGGER note_change AFTER UPDATE ON processing_jobs FOR EACH ROW
    WHEN (OLD.status IS DISTINCT FROM NEW.status) EXECUTE FUNCTION note_change();
CREATE TRIGGER note_token AFTER INSERT OR UPDATE OF token ON soundhash_job_leases FOR EACH ROW
    EXECUTE FUNCTION note_token();
)sql";

/// Jobs that break a rule, each with the rule.
constexpr auto broken_rules = R"sql(
SELECT 'not ended: ' || id::text || ' ' || status FROM processing_jobs
    WHERE status NOT IN ('completed', 'cancelled')
UNION ALL SELECT 'not completed exactly once: ' || j.id::text FROM processing_jobs AS j
    WHERE (SELECT count(*) FROM changes AS c WHERE c.job_id = j.id AND c.is_now = 'completed')
          <> CASE j.status WHEN 'completed' THEN 1 ELSE 0 END
UNION ALL SELECT 'changed after its end: ' || job_id::text FROM changes
    WHERE was IN ('completed', 'cancelled')
UNION ALL SELECT 'counted as a retry: ' || id::text FROM processing_jobs WHERE retry_count <> 0
UNION ALL SELECT 'results are not of one run: ' || j.id::text FROM processing_jobs AS j
    WHERE (SELECT count(*) FROM results AS r WHERE r.job_id = j.id)
          <> CASE WHEN j.status = 'completed' AND j.id % 2 = 0 THEN 1 ELSE 0 END
UNION ALL SELECT 'a result of a lost lease: ' || r.job_id::text FROM results AS r
    WHERE r.token <> (SELECT max(t.token) FROM tokens AS t WHERE t.job_id = r.job_id))sql";

constexpr query add_jobs{
    "test.add_jobs",
    "INSERT INTO processing_jobs (job_type, status, target_id, created_at, progress, retry_count, "
    "max_retries) SELECT 't', 'pending', n::text, clock_timestamp(), 0, 0, 3 "
    "FROM generate_series(1, $1) AS n"};
constexpr query add_result{"test.add_result", "INSERT INTO results VALUES ($1, $2)"};

bool full() {
  return std::getenv("SOUNDHASH_TEST_FULL") != nullptr;
}

milliseconds setting(const char* name) {
  const char* value = std::getenv(name);
  return milliseconds{value == nullptr ? 0 : std::stol(value)};
}

/// Takes that long, unless it is asked to stop.
void take_time(const job_run& run, milliseconds span) {
  std::mutex mutex;
  std::condition_variable_any never;
  std::unique_lock lock{mutex};
  never.wait_for(lock, run.stop(), span, [] { return false; });
}

/// Every other job writes a result, in one transaction with its completion.
void do_job(database& db, job_run& run, milliseconds span) {
  take_time(run, span);
  if (run.job().id % 2 != 0) return;
  db.with_transaction([&](transaction& tx) {
    tx.execute(add_result, {run.job().id, run.lease().token});
    run.complete(tx);
  });
}

/// Not a test: what the processes run that the test starts. Ends at SIGTERM.
TEST(job_worker_process, DISABLED_works_until_it_is_told_to_end) {
  sigset_t wanted;
  sigemptyset(&wanted);
  sigaddset(&wanted, SIGTERM);
  pthread_sigmask(SIG_BLOCK, &wanted, nullptr);
  auto db = database::open(database_options::from_env());
  const job_worker worker{
      db,
      {.job_types = {"t"}, .concurrency = 8, .lease = setting("TEST_LEASE"), .grace = 0ms},
      [&](job_run& run) { do_job(db, run, setting("TEST_JOB_TIME")); }};
  std::jthread working{[&](const std::stop_token& stop) { worker.run(stop); }};
  int received = 0;
  sigwait(&wanted, &received);
}

struct proportions {
  int jobs;
  milliseconds job_time;
  milliseconds lease;
  milliseconds between_kills;
  int kills;
};

class job_worker_kill_test : public ::testing::Test {
 protected:
  job_worker_kill_test() {
    migrator{options_}.up();
    test::execute(options_, make_witness);
  }

  std::unique_ptr<testing::child_process> new_worker(const proportions& how) {
    return std::make_unique<testing::child_process>(testing::child_command{
        .arguments = {fs::read_symlink("/proc/self/exe"), "--gtest_also_run_disabled_tests",
                      "--gtest_filter=job_worker_process.*", "--gtest_brief=1"},
        .environment = {"DATABASE_HOST=" + options_.host,
                        "DATABASE_PORT=" + std::to_string(options_.port),
                        "DATABASE_NAME=" + options_.name, "DATABASE_USER=" + options_.user,
                        "TEST_LEASE=" + std::to_string(how.lease.count()),
                        "TEST_JOB_TIME=" + std::to_string(how.job_time.count())},
        .directory = files_.path(),
        .output = log(),
        .user = std::nullopt});
  }
  fs::path log() const { return files_.path() / "log"; }
  std::string log_text() const {
    std::ifstream in{log()};
    return {std::istreambuf_iterator{in}, {}};
  }
  std::int64_t left() {
    auto jobs = db_.jobs();
    return jobs.count_by_status(job_status::pending) + jobs.count_by_status(job_status::running);
  }
  /// Looks now and then, since looking takes time from the workers. False when a worker ends
  /// before, or it takes too long.
  bool all_jobs_end(testing::child_process& worker) {
    for (const auto until = deadline::in(120s); left() > 0;) {
      if (until.passed() || worker.wait_for(100ms)) return false;
    }
    return true;
  }
  /// Cancels some jobs, and remembers those that it has cancelled.
  void cancel_some(const proportions& how) {
    std::uniform_int_distribution<std::int32_t> any{1, how.jobs};
    for (int i = 0; i < 3; ++i) {
      const auto id = any(random_);
      if (db_.jobs().cancel(id)) cancelled_.push_back(id);
    }
  }

  testing::private_postgres server_;
  database_options options_ = server_.options();
  database db_ = database::open(options_);
  testing::temporary_directory files_{"soundhash-jobs-", std::nullopt};
  std::minstd_rand random_{4711};
  std::vector<std::int32_t> cancelled_;
};

TEST_F(job_worker_kill_test, four_processes_that_are_killed_complete_each_job_once) {
  const proportions how =
      full() ? proportions{20'000, 120ms, 2s, 1s, 60} : proportions{900, 100ms, 500ms, 250ms, 8};
  db_.execute(add_jobs, {how.jobs});
  test::execute(options_, "ANALYZE processing_jobs");  // as autovacuum will, in a minute
  std::vector<std::unique_ptr<testing::child_process>> workers(4);
  for (auto& one : workers) one = new_worker(how);
  ASSERT_TRUE(test::eventually([&] { return left() < how.jobs; })) << log_text();
  for (int kill = 0; kill < how.kills; ++kill) {
    auto& victim = workers[static_cast<std::size_t>(kill) % workers.size()];
    EXPECT_FALSE(victim->wait_for(how.between_kills)) << "it ended by itself\n" << log_text();
    cancel_some(how);
    victim->signal(SIGKILL);
    EXPECT_EQ(victim->wait(), 128 + SIGKILL);
    victim = new_worker(how);
  }
  EXPECT_GT(left(), 0) << "the jobs ended before the last kill";
  EXPECT_TRUE(all_jobs_end(*workers[0])) << log_text();
  for (auto& one : workers) one->signal(SIGTERM);
  for (auto& one : workers) EXPECT_EQ(one->wait(), 0) << log_text();

  EXPECT_EQ(test::query_text(options_, broken_rules), "");
  for (const auto id : cancelled_) {
    EXPECT_EQ(db_.jobs().find(id).value().status, job_status::cancelled);
  }
  EXPECT_FALSE(cancelled_.empty());
  const auto interrupted =
      test::query_text(options_,
                       "SELECT count(*)::text FROM changes WHERE was = 'running' AND is_now = "
                       "'pending'");
  EXPECT_GE(std::stoi(interrupted), how.kills) << "too few kills hit a job";
  RecordProperty("interrupted", interrupted);
}

TEST(job_worker_restart_test, a_worker_outlives_a_crash_of_the_server) {
  // durable: what the server acknowledged must survive its crash.
  testing::private_postgres server{{.durable = true}};
  const auto options = server.options();
  migrator{options}.up();
  test::execute(options, make_witness);
  auto db = database::open(options);
  constexpr int jobs = 300;
  db.execute(add_jobs, {jobs});
  std::atomic<int> runs{0};
  const job_worker worker{
      db,
      {.job_types = {"t"}, .concurrency = 4, .lease = 1s, .retry = job_backoff{.first = 10ms}},
      [&](job_run& run) {
        ++runs;
        do_job(db, run, 1ms);
      }};
  std::jthread working{[&](const std::stop_token& stop) { worker.run(stop); }};
  ASSERT_TRUE(test::eventually([&] { return runs > 50; }));
  server.kill_immediately();
  server.start();
  // Beside the pool, which may not know yet that the server is back.
  EXPECT_TRUE(test::eventually([&] {
    return test::query_text(options,
                            "SELECT count(*)::text FROM processing_jobs "
                            "WHERE status = 'completed'") == std::to_string(jobs) + "\n";
  }));
  working.request_stop();
  working.join();
  // A handler that met the crash has failed, which is a retry.
  test::execute(options, "UPDATE processing_jobs SET retry_count = 0");
  EXPECT_EQ(test::query_text(options, broken_rules), "");
}

}  // namespace
}  // namespace soundhash::db
