#include <chrono>
#include <cstdint>
#include <functional>
#include <future>
#include <memory>
#include <pqxx/pqxx>
#include <source_location>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include <soundhash/db.hpp>
#include <soundhash/db/native.hpp>

#include "support/captured_log.hpp"
#include "support/eventually.hpp"
#include "support/test_database.hpp"

/// The pool on real sessions.
namespace soundhash::db {
namespace {

using namespace std::chrono_literals;

constexpr query pid{"test.pid", "SELECT pg_backend_pid()", access::read_only};
constexpr query shown{"test.shown", "SELECT current_setting('application_name')",
                      access::read_only};
constexpr query rename{"test.rename", "SELECT set_config('application_name', $1, false)"};
constexpr query wrong{"test.wrong", "SELECT no_such_column"};
constexpr query sessions{"test.sessions",
                         "SELECT count(*) FROM pg_stat_activity WHERE application_name = $1",
                         access::read_only};

database_options small(std::size_t size) {
  auto options = test::empty_database_options();
  options.pool.size = size;
  options.pool.max_overflow = 0;
  return options;
}

std::int64_t sessions_named(const std::string& name) {
  static auto db = database::open(test::server().options());
  return db.one<std::int64_t>(sessions, {name});
}

TEST(pool, on_connect_prepares_every_session) {
  auto options = small(2);
  options.hooks.on_connect = [](hooked_session& session) {
    session.execute(rename, {"from-hook"});
    EXPECT_GT(session.backend_pid(), 0);
    EXPECT_EQ(session.parameter("application_name"), "from-hook");
  };
  auto db = database::open(options);
  const auto held = db.acquire();
  EXPECT_EQ(db.one<std::string>(shown), "from-hook");
}

TEST(pool, an_on_connect_that_fails_is_the_error_of_the_call) {
  auto options = small(2);
  options.hooks.on_connect = [](hooked_session& session) { session.execute(wrong); };
  auto db = database::open(options);
  try {
    (void)db.one<std::int32_t>(pid);
    FAIL() << "no error";
  } catch (const query_error& problem) {
    EXPECT_EQ(problem.sqlstate(), "42703");
  }
  EXPECT_EQ(db.pool_stats().idle, 0u);
}

TEST(pool, on_acquire_and_on_release_see_the_session_of_each_call) {
  auto options = small(1);
  std::vector<int> acquired;
  std::vector<int> released;
  options.hooks.on_acquire = [&](hooked_session& s) { acquired.push_back(s.backend_pid()); };
  options.hooks.on_release = [&](hooked_session& s) { released.push_back(s.backend_pid()); };
  auto db = database::open(options);
  const auto session = db.one<std::int32_t>(pid);
  EXPECT_EQ(acquired, std::vector<int>{session});
  EXPECT_EQ(released, std::vector<int>{session});
}

TEST(pool, what_on_acquire_throws_reaches_the_caller) {
  auto options = small(1);
  options.hooks.on_acquire = [](hooked_session&) { throw std::runtime_error{"not now"}; };
  auto db = database::open(options);
  EXPECT_THROW((void)db.acquire(), std::runtime_error);
  EXPECT_TRUE(test::eventually([&] { return db.pool_stats().closing == 0; }));
  EXPECT_EQ(db.pool_stats().used, 0u);
}

TEST(pool, can_be_resized_while_it_is_used) {
  auto options = small(3);
  options.application_name = "resized";
  auto db = database::open(options);
  std::vector<pooled_connection> held;
  for (int i = 0; i < 3; ++i) held.push_back(db.acquire());
  db.resize_pool(1, 0);
  held.pop_back();
  held.pop_back();
  EXPECT_TRUE(test::eventually([&] { return sessions_named("resized") == 1; }));
  db.resize_pool(2, 0);
  EXPECT_NO_THROW((void)db.acquire());
  EXPECT_EQ(db.pool_stats().limit, 2u);
  EXPECT_THROW(db.resize_pool(0, 0), config_error);
}

TEST(pool, min_idle_sessions_are_there_before_the_first_call) {
  auto options = small(3);
  options.application_name = "warm";
  options.pool.min_idle = 2;
  auto db = database::open(options);
  EXPECT_TRUE(test::eventually([&] { return sessions_named("warm") == 2; }));
}

TEST(pool, a_native_call_is_cut_at_the_deadline_of_its_acquire) {
  auto db = database::open(small(1));
  db.warm_up();  // connecting shall not cost of the deadline
  auto lease = db.acquire({.until = deadline::in(200ms)});
  pqxx::nontransaction tx{native(lease)};
  const auto began = deadline::clock::now();
  EXPECT_THROW(tx.exec("SELECT pg_sleep(60)"), std::exception);
  EXPECT_LT(deadline::clock::now() - began, 10s);
}

TEST(pool, a_guard_can_be_moved) {
  auto db = database::open(small(1));
  auto lease = db.acquire({.until = deadline::in(1h)});
  lease.guard(deadline::in(100ms));
  pqxx::nontransaction tx{native(lease)};
  EXPECT_THROW(tx.exec("SELECT pg_sleep(60)"), std::exception);
}

TEST(pool, close_cuts_who_still_holds_a_session) {
  auto db = database::open(small(1));
  auto lease = db.acquire();
  auto call = std::async(std::launch::async, [&] {
    pqxx::nontransaction tx{native(lease)};
    tx.exec("SELECT pg_sleep(60)");
  });
  db.close(deadline::in(100ms));
  EXPECT_THROW(call.get(), std::exception);
}

TEST(pool, a_lease_that_is_held_too_long_is_logged_with_its_place) {
  const test::captured_log log;
  auto options = small(1);
  options.pool.leak_after = 1ms;
  auto db = database::open(options);
  const auto line = std::source_location::current().line() + 1;
  const auto held = db.acquire();
  const auto place = "pool_test.cpp:" + std::to_string(line);
  EXPECT_TRUE(test::eventually([&] { return log.text().find(place) != std::string::npos; }))
      << log.text();
  EXPECT_EQ(db.pool_stats().leaks, 1u);
}

TEST(pool, a_stream_that_is_held_too_long_is_logged_with_its_query) {
  constexpr query series{"test.series", "SELECT generate_series(1, 2)", access::read_only};
  const test::captured_log log;
  auto options = small(1);
  options.pool.leak_after = 1ms;
  auto db = database::open(options);
  auto rows = db.stream<std::int32_t>(series);
  EXPECT_TRUE(test::eventually([&] {
    return log.text().find("acquired by query \"test.series\" is held") != std::string::npos;
  })) << log.text();
  for (auto row = rows.begin(); row != rows.end(); ++row) continue;
  const auto line = std::source_location::current().line() + 1;
  const auto held = db.acquire();
  const auto place = "pool_test.cpp:" + std::to_string(line);
  EXPECT_TRUE(test::eventually([&] { return log.text().find(place) != std::string::npos; }))
      << "the next lease is no query's: " << log.text();
}

TEST(pool, late_cancel_never_hits_the_next_holder) {
  constexpr query slow{"test.slow", "SELECT pg_sleep(60)", access::read_only};
  auto db = database::open(small(1));
  for (int round = 0; round < 20; ++round) {
    std::stop_source stop;
    auto stopped = std::async(std::launch::async, [&] {
      (void)db.all<std::string>(slow, {}, {.until = {}, .stop = stop.get_token()});
    });
    while (db.pool_stats().used == 0) std::this_thread::yield();
    stop.request_stop();
    EXPECT_THROW(stopped.get(), cancelled);
    EXPECT_GT(db.one<std::int32_t>(pid), 0);
  }
}

}  // namespace
}  // namespace soundhash::db
