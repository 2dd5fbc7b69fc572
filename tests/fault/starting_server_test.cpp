#include <chrono>
#include <csignal>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <future>
#include <optional>

#include <gtest/gtest.h>
#include <sys/types.h>

#include <soundhash/db/core/error.hpp>
#include <soundhash/db/database.hpp>
#include <soundhash/db/testing/private_postgres.hpp>

#include "conninfo_from_options.hpp"
#include "driver/connection.hpp"
#include "support/eventually.hpp"

/// A server that runs and answers, but lets nobody in yet (57P03).
namespace soundhash::db {
namespace {

using namespace std::chrono_literals;

constexpr query one{"test.one", "SELECT 1", access::read_only};

/// A server in recovery, which lasts until it is told to end.
class starting_server : public ::testing::Test {
 protected:
  starting_server() {
    server_.stop();
    std::ofstream{data() / "standby.signal"};
    // start() returns when the server is ready.
    starting_ = std::async(std::launch::async, [this] { server_.start(); });
  }
  ~starting_server() override {
    if (starting_.valid()) end_recovery();
  }

  std::filesystem::path data() const { return std::filesystem::path{options_.host} / "data"; }

  /// As pg_ctl promote does.
  void end_recovery() {
    pid_t postmaster = 0;
    std::ifstream{data() / "postmaster.pid"} >> postmaster;
    std::ofstream{data() / "promote"};
    ASSERT_GT(postmaster, 1);
    ASSERT_EQ(::kill(postmaster, SIGUSR1), 0);
    starting_.get();
  }

  /// What connecting comes to; nullopt when it succeeds.
  std::optional<connection_error> failure() const {
    try {
      driver::connection::open(session_conninfo(options_), deadline::in(10s));
      return std::nullopt;
    } catch (const connection_error& e) {
      return e;
    }
  }
  bool lets_nobody_in() const {
    const auto e = failure();
    return e && e->code() == errc::not_ready;
  }

  testing::private_postgres server_{{.settings = {{"hot_standby", "off"}}}};
  database_options options_ = server_.options();
  std::future<void> starting_;
};

TEST_F(starting_server, is_not_ready) {
  ASSERT_TRUE(test::eventually([&] { return lets_nobody_in(); }));
  const auto e = failure();
  ASSERT_TRUE(e);
  EXPECT_EQ(e->code(), errc::not_ready);
  EXPECT_EQ(e->sqlstate(), "57P03");
  EXPECT_EQ(e->sent(), sent::no);
  EXPECT_TRUE(e->retryable());
  end_recovery();
  EXPECT_FALSE(failure());
}

TEST_F(starting_server, is_waited_for_within_the_fail_fast_time) {
  ASSERT_TRUE(test::eventually([&] { return lets_nobody_in(); }));
  options_.pool.fail_fast_after = 20s;
  auto db = database::open(options_);
  auto call = std::async(std::launch::async, [&] { return db.one<std::int32_t>(one); });
  ASSERT_TRUE(test::eventually([&] { return db.pool_stats().connect_failures >= 2; }));
  end_recovery();
  EXPECT_EQ(call.get(), 1);
}

TEST_F(starting_server, is_reported_when_it_stays_so) {
  ASSERT_TRUE(test::eventually([&] { return lets_nobody_in(); }));
  options_.pool.fail_fast_after = 50ms;
  auto db = database::open(options_);
  try {
    static_cast<void>(db.one<std::int32_t>(one));
    FAIL() << "nobody was let in";
  } catch (const connection_error& e) {
    EXPECT_EQ(e.code(), errc::not_ready);
    EXPECT_EQ(e.sqlstate(), "57P03");
  }
}

}  // namespace
}  // namespace soundhash::db
