#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <soundhash/db/core/error.hpp>
#include <soundhash/db/database.hpp>
#include <soundhash/db/testing/private_postgres.hpp>

#include "support/caught.hpp"
#include "support/eventually.hpp"

/// Nobody listens: calls fail fast, with the cause, and recover by themselves.
namespace soundhash::db {
namespace {

using namespace std::chrono_literals;
using test::caught;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr query one{"test.one", "SELECT 1", access::read_only};
constexpr query write{"test.write", "CREATE TABLE IF NOT EXISTS t ()"};

std::chrono::nanoseconds time_of(const auto& run) {
  const auto began = deadline::clock::now();
  run();
  return deadline::clock::now() - began;
}

class no_server : public ::testing::Test {
 protected:
  no_server() {
    options_ = server_.tcp_options();
    options_.password = secret{password_};
  }

  connection_error failure_of(database& db) {
    return caught<connection_error>([&] { db.execute(one); });
  }

  const std::string password_ = "password-canary";
  testing::private_postgres server_{{.tcp = true, .password = secret{password_}}};
  database_options options_;
};

TEST_F(no_server, the_first_call_fails_soon_and_says_where_and_why) {
  server_.stop();
  auto db = database::open(options_);
  const auto took = time_of([&] {
    const auto e = failure_of(db);
    EXPECT_EQ(e.code(), errc::refused);
    EXPECT_EQ(e.sent(), sent::no);
    EXPECT_TRUE(e.retryable());
    EXPECT_THAT(e.what(), AllOf(HasSubstr("127.0.0.1:" + std::to_string(options_.port)),
                                HasSubstr("refused"), Not(HasSubstr("canary"))));
  });
  EXPECT_GE(took, 900ms) << "a server that restarts gets the time to";
  EXPECT_LE(took, 1500ms);
}

TEST_F(no_server, later_calls_fail_at_once) {
  server_.stop();
  auto db = database::open(options_);
  failure_of(db);
  for (int i = 0; i < 20; ++i) {
    EXPECT_LE(time_of([&] { EXPECT_EQ(failure_of(db).code(), errc::refused); }), 100ms);
  }
  EXPECT_LE(time_of([&] { EXPECT_THROW(db.execute(write), connection_error); }), 100ms);
  EXPECT_LE(time_of([&] { EXPECT_THROW(static_cast<void>(db.begin()), connection_error); }), 100ms);
}

TEST_F(no_server, a_short_deadline_comes_before_the_verdict) {
  server_.stop();
  auto db = database::open(options_);
  const auto took = time_of([&] {
    const auto e = caught<pool_error>(
        [&] { db.execute(one, {}, {.until = deadline::in(200ms), .stop = {}}); });
    EXPECT_EQ(e.code(), errc::pool_timeout);
    EXPECT_THAT(e.what(), AllOf(HasSubstr("last connect error"), HasSubstr("refused"),
                                Not(HasSubstr("canary"))));
  });
  EXPECT_LE(took, 450ms);
}

TEST_F(no_server, calls_work_again_soon_after_it_came_back) {
  server_.stop();
  auto db = database::open(options_);
  failure_of(db);
  server_.start();
  const auto back = deadline::clock::now();
  EXPECT_TRUE(test::eventually(
      [&] {
        try {
          db.execute(one);
          return true;
        } catch (const connection_error&) {
          return false;
        }
      },
      10s));
  EXPECT_LE(deadline::clock::now() - back, 2s);
  db.execute(one);
}

TEST_F(no_server, a_server_that_goes_away_is_told_apart_from_one_that_never_was) {
  auto db = database::open(options_);
  db.execute(one);
  server_.stop();
  EXPECT_EQ(failure_of(db).code(), errc::refused);
  server_.start();
  EXPECT_TRUE(test::eventually([&] {
    try {
      db.execute(one);
      return true;
    } catch (const connection_error&) {
      return false;
    }
  }));
}

TEST_F(no_server, a_wrong_password_fails_at_once_without_a_second_try) {
  options_.password = secret{"wrong-canary"};
  auto db = database::open(options_);
  const auto took = time_of([&] {
    const auto e = failure_of(db);
    EXPECT_EQ(e.code(), errc::authentication);
    EXPECT_FALSE(e.retryable());
    EXPECT_THAT(e.what(), Not(HasSubstr("canary")));
  });
  EXPECT_LE(took, 900ms);
  EXPECT_EQ(db.pool_stats().connect_failures, 1U);
}

}  // namespace
}  // namespace soundhash::db
