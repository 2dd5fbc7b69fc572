#include <atomic>
#include <chrono>
#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include <soundhash/db/core/error.hpp>
#include <soundhash/db/database.hpp>
#include <soundhash/db/testing/private_postgres.hpp>

#include "support/eventually.hpp"
#include "support/sql.hpp"

/// A server that crashes and comes back while it is used, and backends that are terminated.
namespace soundhash::db {
namespace {

using namespace std::chrono_literals;

constexpr int threads = 4;
constexpr query insert{"test.insert", "INSERT INTO numbers VALUES ($1)"};
constexpr query read{"test.read", "SELECT count(*) FROM numbers", access::read_only};
constexpr query sleep{"test.sleep", "SELECT pg_sleep($1)", access::read_only};

enum class outcome : std::uint8_t { stored, not_stored, in_doubt };

class restart : public ::testing::Test {
 protected:
  restart() {
    options_.application_name = "restart test";
    options_.pool.size = threads;
    options_.pool.max_overflow = 0;
    test::execute(options_, "CREATE TABLE numbers (n int PRIMARY KEY)");
  }

  std::string on_server(const std::string& sql) {
    auto observer = options_;
    observer.application_name = "observer";
    return test::query_text(observer, sql);
  }
  /// Our sessions, as the server counts them.
  std::size_t sessions() {
    return std::stoul(
        on_server("SELECT count(*)::text FROM pg_stat_activity "
                  "WHERE application_name = 'restart test'"));
  }
  static std::size_t own_count(database& db) {
    const auto pool = db.pool_stats();
    return pool.idle + pool.used + pool.connecting + pool.closing;
  }

  static outcome store(database& db, int n, bool in_transaction) {
    try {
      if (in_transaction) {
        db.with_transaction([&](transaction& tx) { tx.execute(insert, {n}); });
      } else {
        db.execute(insert, {n});
      }
      return outcome::stored;
    } catch (const commit_in_doubt&) {
      return outcome::in_doubt;
    } catch (const connection_error&) {
      return outcome::not_stored;
    } catch (const pool_error&) {
      return outcome::not_stored;
    }
  }

  // durable: what the server acknowledged must survive its crash, or there is no truth to compare.
  testing::private_postgres server_{{.durable = true}};
  database_options options_ = server_.options();
};

TEST_F(restart, under_load_every_statement_reports_its_true_outcome) {
  auto db = database::open(options_);
  std::map<int, outcome> reported[threads];
  std::atomic<int> stored{0};
  {
    std::vector<std::jthread> writers;
    for (int t = 0; t < threads; ++t) {
      writers.emplace_back([&, t](const std::stop_token& stop) {
        for (int n = t; !stop.stop_requested(); n += threads) {
          const auto what = store(db, n, n % 2 == 0);
          reported[t].emplace(n, what);
          if (what == outcome::stored) ++stored;
        }
      });
    }
    ASSERT_TRUE(test::eventually([&] { return stored > 200; }));
    server_.kill_immediately();
    server_.start();
    const int before = stored;
    EXPECT_TRUE(test::eventually([&] { return stored > before + 200; })) << "no recovery";
  }

  std::set<int> truth;
  for (const auto n :
       db.all<std::int32_t>(query{"test.all", "SELECT n FROM numbers", access::read_only})) {
    truth.insert(n);
  }
  int disturbed = 0;
  for (const auto& of_thread : reported) {
    for (const auto& [n, what] : of_thread) {
      if (what != outcome::in_doubt) {
        EXPECT_EQ(truth.contains(n), what == outcome::stored) << "row " << n;
      }
      if (what != outcome::stored) ++disturbed;
    }
  }
  EXPECT_GT(disturbed, 0) << "the crash hit nobody";
  EXPECT_TRUE(test::eventually([&] { return sessions() == own_count(db); })) << "a leaked session";
  EXPECT_LE(own_count(db), static_cast<std::size_t>(threads));
}

/// They have ended when the statement returns: a backend that only will end soon looks alive.
TEST_F(restart, terminated_idle_backends_are_transparent_for_reads) {
  auto db = database::open(options_);
  {
    std::vector<std::jthread> together;
    for (int t = 0; t < threads; ++t) together.emplace_back([&] { db.execute(sleep, {0.2}); });
  }
  ASSERT_EQ(db.pool_stats().idle, static_cast<std::size_t>(threads));
  on_server(
      "SELECT pg_terminate_backend(pid, 60000)::text FROM pg_stat_activity "
      "WHERE application_name = 'restart test'");
  for (int i = 0; i < 2 * threads; ++i) EXPECT_EQ(db.one<std::int64_t>(read), 0);
  EXPECT_EQ(db.metrics().snapshot().query("test.read")->rows, 2U * threads);
  EXPECT_TRUE(test::eventually([&] { return sessions() == own_count(db); }));
}

TEST_F(restart, reads_work_at_once_after_an_orderly_restart) {
  auto db = database::open(options_);
  EXPECT_EQ(db.one<std::int64_t>(read), 0);
  server_.restart();
  EXPECT_EQ(db.one<std::int64_t>(read), 0);
}

TEST_F(restart, a_transaction_across_a_restart_is_rolled_back) {
  auto db = database::open(options_);
  auto tx = db.begin();
  tx.execute(insert, {1});
  server_.kill_immediately();
  server_.start();
  EXPECT_THROW(tx.execute(insert, {2}), connection_error);
  EXPECT_THROW(tx.commit(), transaction_error);
  EXPECT_EQ(db.one<std::int64_t>(read), 0);
}

}  // namespace
}  // namespace soundhash::db
