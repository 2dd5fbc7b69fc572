#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <future>
#include <iostream>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/types.h>
#include <unistd.h>

#include <soundhash/db/core/error.hpp>
#include <soundhash/db/database.hpp>
#include <soundhash/db/testing/private_postgres.hpp>

#include "support/caught.hpp"
#include "support/eventually.hpp"
#include "support/sql.hpp"
#include "support/tcp_proxy.hpp"

/// A server that refuses, forbids, stalls or crashes, and the way back to service.
namespace soundhash::db {
namespace {

using namespace std::chrono_literals;
using test::caught;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr query read{"server.read", "SELECT count(*) FROM numbers", access::read_only};
constexpr query insert{"server.insert", "INSERT INTO numbers VALUES ($1)"};
constexpr query backend_pid{"server.backend", "SELECT pg_backend_pid()", access::read_only};
constexpr query sleep{"server.sleep", "SELECT pg_sleep($1)", access::read_only};

/// What the library promises, from the moment at which the server is well again.
constexpr auto back_in_service = 2s;
constexpr std::string_view our_name = "server faults";

call_options within(std::chrono::milliseconds limit) {
  return {.until = deadline::in(limit), .stop = {}};
}

class server_faults : public ::testing::Test {
 protected:
  explicit server_faults(testing::private_postgres_options wanted = {})
      : server_{std::move(wanted)}, options_{server_.options()} {
    observer_ = test::connect(options_);
    run("CREATE TABLE numbers (n int)");
    options_.application_name = our_name;
    options_.pool.size = 4;
    options_.pool.max_overflow = 0;
  }

  /// On a session that was there before any fault.
  std::string ask(const std::string& sql) { return test::query_text(*observer_, sql); }
  void run(const std::string& sql) { observer_->command(sql, deadline::in(30s)); }

  std::size_t sessions() {
    return std::stoul(ask("SELECT count(*)::text FROM pg_stat_activity WHERE application_name = '" +
                          std::string{our_name} + "'"));
  }
  void terminate_sessions() {
    run("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = '" +
        std::string{our_name} + "'");
  }

  /// All of the pool at work at the same time, which opens all connections.
  void fill(database& db) {
    std::vector<std::future<void>> together;
    for (std::size_t i = 0; i < *options_.pool.size; ++i) {
      together.push_back(std::async(std::launch::async, [&] { db.execute(sleep, {0.1}); }));
    }
    for (auto& each : together) each.get();
  }

  /// The whole pool serves soon, and the server sees no session that we do not.
  void expect_full_service(database& db) {
    const auto well = deadline::clock::now();
    EXPECT_TRUE(test::eventually([&] {
      try {
        fill(db);
        return true;
      } catch (const error&) {
        return false;
      }
    }));
    EXPECT_LE(deadline::clock::now() - well, back_in_service);
    EXPECT_TRUE(test::eventually([&] {
      const auto pool = db.pool_stats();
      return pool.closing + pool.connecting == 0 && sessions() == pool.idle + pool.used;
    })) << "the server has "
        << sessions() << " sessions";
  }

  testing::private_postgres server_;
  database_options options_;
  std::unique_ptr<driver::connection> observer_;
};

// No slot left

class full_server : public server_faults {
 protected:
  full_server() : server_faults{{.max_connections = 8}} {}

  void take_all_slots() {
    auto other = options_;
    other.application_name = "hog";
    try {
      for (;;) hogs_.push_back(test::connect(other));
    } catch (const connection_error& e) {
      EXPECT_EQ(e.code(), errc::too_many_connections);
    }
  }

  std::vector<std::unique_ptr<driver::connection>> hogs_;
};

TEST_F(full_server, says_so_and_serves_when_a_slot_is_free) {
  take_all_slots();
  auto db = database::open(options_);
  const auto e = caught<connection_error>([&] { db.execute(read); });
  EXPECT_EQ(e.code(), errc::too_many_connections);
  EXPECT_EQ(e.sqlstate(), "53300");
  EXPECT_EQ(e.sent(), sent::no);
  EXPECT_TRUE(e.retryable());
  EXPECT_THAT(e.what(), HasSubstr("max_connections"));
  hogs_.clear();
  expect_full_service(db);
}

TEST_F(full_server, leaves_the_pool_what_it_has) {
  auto db = database::open(options_);
  const auto session = db.one<std::int32_t>(backend_pid);
  take_all_slots();
  {
    auto tx = db.begin();
    EXPECT_EQ(tx.one<std::int32_t>(backend_pid), session);
    auto elsewhere = std::async(std::launch::async, [&] {
      return caught<pool_error>([&] { db.execute(read, {}, within(500ms)); });
    });
    const auto e = elsewhere.get();
    EXPECT_EQ(e.code(), errc::pool_timeout);
    EXPECT_THAT(e.what(), HasSubstr("max_connections"));
    tx.commit();
  }
  EXPECT_EQ(db.one<std::int32_t>(backend_pid), session);
  EXPECT_LE(db.pool_stats().connect_failures, 50U) << "a storm";
  hogs_.clear();
  expect_full_service(db);
}

// Passwords

class guarded_server : public server_faults {
 protected:
  guarded_server() : server_faults{{.tcp = true, .password = secret{"old-canary"}}} {
    options_.host = "127.0.0.1";
    options_.port = server_.tcp_options().port;
  }

  std::size_t refusals_in_log() {
    std::ifstream log{server_.log()};
    std::size_t count = 0;
    for (std::string line; std::getline(log, line);) {
      if (line.find("password authentication failed") != std::string::npos) ++count;
    }
    return count;
  }
};

TEST_F(guarded_server, is_not_stormed_with_a_wrong_password) {
  options_.password = secret{"wrong-canary"};
  auto db = database::open(options_);
  std::atomic<int> calls{0};
  {
    const auto until = deadline::in(2s);
    std::vector<std::jthread> callers;
    for (int t = 0; t < 4; ++t) {
      callers.emplace_back([&] {
        while (!until.passed()) {
          const auto e = caught<connection_error>([&] { db.execute(read); });
          EXPECT_EQ(e.code(), errc::authentication);
          EXPECT_THAT(e.what(), AllOf(HasSubstr("127.0.0.1"), HasSubstr("postgres"),
                                      Not(HasSubstr("canary"))));
          ++calls;
          std::this_thread::sleep_for(1ms);
        }
      });
    }
  }
  std::cout << "[ REFUSALS ] " << refusals_in_log() << " of " << calls << " calls\n";
  EXPECT_GT(calls, 100);
  EXPECT_EQ(refusals_in_log(), db.pool_stats().connect_failures);
  // Four at once, then after 50 ms, 100 ms, 200 ms … of which each draws a part.
  EXPECT_LE(refusals_in_log(), 25U) << "in two seconds, " << calls << " calls";
}

TEST_F(guarded_server, may_change_the_password_while_we_are_connected) {
  auto db = database::open(options_);
  fill(db);
  run("ALTER ROLE postgres PASSWORD 'new-canary'");
  EXPECT_EQ(db.one<std::int64_t>(read), 0) << "sessions that are there stay";

  terminate_sessions();
  ASSERT_TRUE(test::eventually([&] { return sessions() == 0; }));
  std::optional<connection_error> refused;
  EXPECT_TRUE(test::eventually([&] {
    try {
      db.execute(read);
    } catch (const connection_error& e) {
      refused = e;
    }
    return refused && refused->code() == errc::authentication;
  }));
  EXPECT_THAT(refused->what(), Not(HasSubstr("canary")));
  auto renewed = options_;
  renewed.password = secret{"new-canary"};
  EXPECT_EQ(database::open(renewed).one<std::int64_t>(read), 0);

  run("ALTER ROLE postgres PASSWORD 'old-canary'");
  expect_full_service(db);
}

// Read-only

TEST_F(server_faults, a_primary_that_becomes_read_only_costs_the_session_and_comes_back) {
  auto db = database::open(options_);
  db.execute(insert, {1});
  const auto session = db.one<std::int32_t>(backend_pid);
  run("SET default_transaction_read_only = off");  // the observer's own way back
  run("ALTER SYSTEM SET default_transaction_read_only = on");
  run("SELECT pg_reload_conf()");
  std::optional<connection_error> refused;
  // The server tells its sessions when it gets to it.
  EXPECT_TRUE(test::eventually([&] {
    try {
      db.execute(insert, {2});
    } catch (const connection_error& e) {
      refused = e;
    }
    return refused.has_value();
  }));
  EXPECT_EQ(refused->code(), errc::demoted_primary);
  EXPECT_EQ(refused->sqlstate(), "25006");
  EXPECT_EQ(refused->sent(), sent::yes);
  EXPECT_FALSE(refused->connection_usable());
  EXPECT_TRUE(refused->retryable());
  const auto next_session = db.one<std::int32_t>(backend_pid);
  EXPECT_NE(next_session, session) << "reads go on, on another session";

  auto tx = db.begin({.read_only = true});
  const auto e = caught<query_error>([&] { tx.execute(insert, {3}); });
  EXPECT_EQ(e.sqlstate(), "25006");
  EXPECT_TRUE(e.connection_usable()) << "who declared it read-only does not learn of a demotion";
  tx.rollback();

  run("ALTER SYSTEM RESET default_transaction_read_only");
  run("SELECT pg_reload_conf()");
  const auto well = deadline::clock::now();
  EXPECT_TRUE(test::eventually([&] {
    try {
      db.execute(insert, {4});
      return true;
    } catch (const connection_error&) {
      return false;
    }
  }));
  EXPECT_LE(deadline::clock::now() - well, back_in_service);
  expect_full_service(db);
}

// Stopped and killed

TEST_F(server_faults, a_stopped_postmaster_only_stops_new_connections) {
  options_.pool.connect_timeout = 1s;
  auto db = database::open(options_);
  EXPECT_EQ(db.one<std::int64_t>(read), 0);
  ASSERT_EQ(::kill(server_.pid(), SIGSTOP), 0);
  {
    auto tx = db.begin();
    EXPECT_EQ(tx.one<std::int64_t>(read), 0) << "what is connected works";
    auto elsewhere = std::async(std::launch::async, [&] {
      return caught<pool_error>([&] { db.execute(read, {}, within(400ms)); });
    });
    EXPECT_EQ(elsewhere.get().code(), errc::pool_timeout);
    tx.commit();
  }
  EXPECT_EQ(db.one<std::int64_t>(read), 0);
  ASSERT_EQ(::kill(server_.pid(), SIGCONT), 0);
  expect_full_service(db);
}

TEST_F(server_faults, one_stopped_backend_does_not_hold_up_the_others) {
  auto db = database::open(options_);
  fill(db);
  const auto victim = db.one<std::int32_t>(backend_pid);
  ASSERT_EQ(::kill(victim, SIGSTOP), 0);
  int late = 0;
  for (int i = 0; i < 8; ++i) {
    try {
      EXPECT_EQ(db.one<std::int64_t>(read, {}, within(400ms)), 0);
    } catch (const timeout_error& e) {
      EXPECT_EQ(e.code(), errc::deadline_exceeded);
      ++late;
    }
  }
  EXPECT_EQ(late, 1) << "only the call that met the stopped one";
  ASSERT_EQ(::kill(victim, SIGCONT), 0);
  expect_full_service(db);
}

TEST_F(server_faults, a_killed_backend_takes_the_server_down_and_all_comes_back) {
  auto db = database::open(options_);
  fill(db);
  run("CHECKPOINT");  // the private server commits before it writes: the table would be gone
  const auto victim = db.one<std::int32_t>(backend_pid);
  ASSERT_EQ(::kill(victim, SIGKILL), 0);
  // "Well" is when the server accepts again: another client finds out.
  ASSERT_TRUE(test::eventually([&] { return !observer_->quiet(); })) << "the observer's session";
  ASSERT_TRUE(test::eventually([&] {
    try {
      observer_ = test::connect(server_.options());
      return true;
    } catch (const connection_error&) {
      return false;
    }
  }));
  expect_full_service(db);
  for (int i = 0; i < 8; ++i) EXPECT_EQ(db.one<std::int64_t>(read), 0);
}

// Growth

std::size_t entries_of(const char* directory) {
  const std::filesystem::directory_iterator all{directory};
  return static_cast<std::size_t>(std::distance(begin(all), end(all)));
}

std::size_t resident_kib() {
  std::ifstream statm{"/proc/self/statm"};
  std::size_t total = 0;
  std::size_t resident = 0;
  statm >> total >> resident;
  return resident * static_cast<std::size_t>(::sysconf(_SC_PAGESIZE)) / 1024;
}

/// What a process must not pile up.
struct held {
  std::size_t threads = entries_of("/proc/self/task");
  std::size_t descriptors = entries_of("/proc/self/fd");
};

/// Threads of a pool start when there is work for one more; this many at most.
constexpr std::size_t workers = 8;

TEST_F(server_faults, many_faults_leave_nothing_behind) {
  const int faults = std::getenv("SOUNDHASH_TEST_FULL") == nullptr ? 120 : 1000;
  test::tcp_proxy link{options_};
  auto linked = link.options();
  linked.application_name = our_name;
  auto db = database::open(linked);
  std::chrono::nanoseconds longest{};
  const auto disturb = [&](int i) {
    if (i % 2 == 0) {
      terminate_sessions();
    } else {
      link.cut();
    }
    const auto well = deadline::clock::now();
    EXPECT_TRUE(test::eventually([&] {
      try {
        db.execute(read);
        return true;
      } catch (const error&) {
        return false;
      }
    }));
    longest = std::max(longest, deadline::clock::now() - well);
  };
  for (int i = 0; i < 20; ++i) disturb(i);
  expect_full_service(db);
  const held before;
  const auto resident_before = resident_kib();
  const auto closed_before = db.pool_stats().closed_broken;
  for (int i = 0; i < faults; ++i) disturb(i);
  expect_full_service(db);
  EXPECT_GE(db.pool_stats().closed_broken - closed_before, static_cast<std::size_t>(faults) / 2);
  EXPECT_TRUE(test::eventually([&] {
    const held after;
    return after.threads <= before.threads + workers && after.descriptors <= before.descriptors;
  })) << "threads "
      << before.threads << " -> " << held{}.threads << ", descriptors " << before.descriptors
      << " -> " << held{}.descriptors;
  EXPECT_LE(longest, back_in_service);
  const auto resident = resident_kib();
  EXPECT_LE(resident, resident_before + 16 * 1024);
  std::cout << "[ GROWTH   ] " << faults << " faults: " << held{}.threads << " threads, "
            << held{}.descriptors << " descriptors, resident " << resident_before << " -> "
            << resident << " KiB, back after "
            << std::chrono::duration_cast<std::chrono::milliseconds>(longest).count()
            << " ms at most\n";
}

}  // namespace
}  // namespace soundhash::db
