#include <chrono>
#include <csignal>
#include <cstdint>
#include <future>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include <gtest/gtest.h>
#include <sys/types.h>

#include <soundhash/db/core/error.hpp>
#include <soundhash/db/database.hpp>

#include "support/caught.hpp"
#include "support/eventually.hpp"
#include "support/sql.hpp"
#include "support/test_database.hpp"

/// A server that neither answers nor hangs up: every call ends by its deadline.
namespace soundhash::db {
namespace {

using namespace std::chrono_literals;
using test::caught;

constexpr query read{"test.read", "SELECT count(*) FROM numbers", access::read_only};
constexpr query insert{"test.insert", "INSERT INTO numbers VALUES ($1)"};
constexpr query backend_pid{"test.backend", "SELECT pg_backend_pid()", access::read_only};

constexpr auto limit = 400ms;
constexpr auto tolerance = 250ms;

call_options bounded() {
  return {.until = deadline::in(limit), .stop = {}};
}

/// The exception of type E that `run` throws by the deadline, and not much before it.
template <class E, class F>
E caught_in_time(F&& run) {
  const auto began = deadline::clock::now();
  auto e = caught<E>(std::forward<F>(run));
  const auto took = deadline::clock::now() - began;
  EXPECT_GE(took, limit - 5ms);
  EXPECT_LE(took, limit + tolerance);
  return e;
}

/// Lets a process that was stopped run again, whatever the test does.
class stopped_process {
 public:
  explicit stopped_process(pid_t pid) : pid_{pid} { EXPECT_EQ(::kill(pid, SIGSTOP), 0); }
  ~stopped_process() { ::kill(pid_, SIGCONT); }
  stopped_process(const stopped_process&) = delete;
  stopped_process& operator=(const stopped_process&) = delete;

 private:
  pid_t pid_;
};

class paused_server {
 public:
  paused_server() { test::server().pause(); }
  ~paused_server() { test::server().resume(); }
  paused_server(const paused_server&) = delete;
  paused_server& operator=(const paused_server&) = delete;
};

/// Stops the whole server, or only the backend that serves us.
enum class stop : std::uint8_t { server, backend };

class silent_server : public ::testing::Test {
 protected:
  silent_server() {
    test::execute(options_, "CREATE TABLE numbers (n int)");
    options_.pool.size = 1;
    options_.pool.max_overflow = 0;
    db_ = std::make_unique<database>(database::open(options_));
    // Everything prepared, so that the calls under test are the first that meet the silence.
    db_->execute(insert, {0});
    static_cast<void>(db_->one<std::int64_t>(read));
    backend_ = db_->one<std::int32_t>(backend_pid);
  }

  void silence(stop which) {
    if (which == stop::server) {
      server_ = std::make_unique<paused_server>();
    } else {
      process_ = std::make_unique<stopped_process>(backend_);
    }
  }
  void end_silence() {
    server_.reset();
    process_.reset();
  }

  /// Everything works again, on a connection that is not the one that was silent.
  void expect_recovery() {
    end_silence();
    EXPECT_NE(db_->one<std::int32_t>(backend_pid), backend_);
    EXPECT_EQ(db_->pool_stats().used, 0U);
  }

  database_options options_ = test::empty_database_options();
  std::unique_ptr<database> db_;
  pid_t backend_ = 0;
  std::unique_ptr<paused_server> server_;
  std::unique_ptr<stopped_process> process_;
};

class stopped_server : public silent_server, public ::testing::WithParamInterface<stop> {
 protected:
  void silence() { silent_server::silence(GetParam()); }
};

INSTANTIATE_TEST_SUITE_P(fault, stopped_server, ::testing::Values(stop::server, stop::backend),
                         [](const auto& tested) {
                           return tested.param == stop::server ? "server" : "backend";
                         });

TEST_P(stopped_server, a_read_ends_by_its_deadline) {
  silence();
  const auto e = caught_in_time<timeout_error>(
      [&] { static_cast<void>(db_->one<std::int64_t>(read, {}, bounded())); });
  EXPECT_EQ(e.code(), errc::deadline_exceeded);
  EXPECT_EQ(e.sent(), sent::maybe);
  EXPECT_FALSE(e.connection_usable());
  expect_recovery();
}

TEST_P(stopped_server, a_write_ends_by_its_deadline_in_doubt) {
  silence();
  const auto e = caught_in_time<commit_in_doubt>([&] { db_->execute(insert, {1}, bounded()); });
  EXPECT_EQ(e.code(), errc::commit_in_doubt);
  EXPECT_EQ(e.query_name(), "test.insert");
  expect_recovery();
}

TEST_P(stopped_server, a_statement_of_a_transaction_ends_by_its_deadline) {
  {
    auto tx = db_->begin();
    tx.execute(insert, {1});
    silence();
    const auto e = caught_in_time<timeout_error>([&] { tx.execute(insert, {2}, bounded()); });
    EXPECT_EQ(e.code(), errc::deadline_exceeded);
    EXPECT_EQ(e.sent(), sent::maybe);
    EXPECT_EQ(caught<transaction_error>([&] { tx.commit(); }).code(), errc::rolled_back);
  }
  expect_recovery();
  EXPECT_EQ(db_->one<std::int64_t>(read), 1);
}

TEST_P(stopped_server, the_first_statement_of_a_transaction_ends_by_its_deadline) {
  {
    auto tx = db_->begin();
    silence();
    const auto e = caught_in_time<timeout_error>([&] { tx.execute(insert, {1}, bounded()); });
    EXPECT_EQ(e.code(), errc::deadline_exceeded);
  }
  expect_recovery();
}

TEST_P(stopped_server, commit_ends_by_its_deadline_in_doubt) {
  {
    auto tx = db_->begin({.until = deadline::in(limit)});
    tx.execute(insert, {1});
    silence();
    const auto began = deadline::clock::now();
    const auto e = caught<commit_in_doubt>([&] { tx.commit(); });
    EXPECT_LE(deadline::clock::now() - began, limit + tolerance);
    EXPECT_EQ(e.sent(), sent::maybe);
  }
  expect_recovery();
}

TEST_P(stopped_server, a_savepoint_ends_by_the_deadline_of_its_transaction) {
  {
    auto tx = db_->begin({.until = deadline::in(limit)});
    tx.execute(insert, {1});
    silence();
    const auto began = deadline::clock::now();
    EXPECT_THROW(tx.savepoint([](transaction&) {}), timeout_error);
    EXPECT_LE(deadline::clock::now() - began, limit + tolerance);
  }
  expect_recovery();
}

TEST_P(stopped_server, a_call_that_finds_no_free_connection_ends_by_its_deadline) {
  auto tx = db_->begin();
  tx.execute(insert, {1});
  silence();
  auto elsewhere = std::async(std::launch::async, [&] {
    return caught_in_time<pool_error>(
        [&] { static_cast<void>(db_->one<std::int64_t>(read, {}, bounded())); });
  });
  const auto e = elsewhere.get();
  EXPECT_EQ(e.code(), errc::pool_timeout);
  EXPECT_EQ(e.sent(), sent::no);
  EXPECT_TRUE(e.retryable());
  end_silence();
  tx.commit();
}

TEST_P(stopped_server, rollback_never_throws_and_frees_the_connection) {
  {
    auto tx = db_->begin();
    tx.execute(insert, {1});
    silence();
    const auto began = deadline::clock::now();
    tx.rollback();
    EXPECT_LE(deadline::clock::now() - began, 2s + tolerance);
  }
  EXPECT_TRUE(test::eventually([&] { return db_->pool_stats().used == 0; }));
  expect_recovery();
  EXPECT_EQ(db_->one<std::int64_t>(read), 1);
}

TEST_P(stopped_server, an_abandoned_transaction_does_not_wait_for_the_server) {
  auto tx = std::make_unique<transaction>(db_->begin());
  tx->execute(insert, {1});
  silence();
  const auto began = deadline::clock::now();
  tx.reset();
  EXPECT_LE(deadline::clock::now() - began, tolerance);
  // The pool gives its ROLLBACK two seconds, on a thread of its own.
  EXPECT_TRUE(test::eventually([&] { return db_->pool_stats().closed_broken == 1; }, 5s));
  expect_recovery();
}

TEST_F(silent_server, a_connect_ends_by_the_deadline_of_the_call) {
  auto fresh = database::open(options_);
  const paused_server silent;
  const auto e = caught_in_time<pool_error>(
      [&] { static_cast<void>(fresh.one<std::int64_t>(read, {}, bounded())); });
  EXPECT_EQ(e.code(), errc::pool_timeout);
  EXPECT_EQ(e.sent(), sent::no);
}

TEST_F(silent_server, a_connect_ends_by_its_own_timeout) {
  options_.pool.connect_timeout = limit;
  options_.pool.fail_fast_after = 0ms;
  auto fresh = database::open(options_);
  const paused_server silent;
  const auto e =
      caught_in_time<connection_error>([&] { static_cast<void>(fresh.one<std::int64_t>(read)); });
  EXPECT_EQ(e.code(), errc::connect_timeout);
  EXPECT_TRUE(e.retryable());
}

}  // namespace
}  // namespace soundhash::db
