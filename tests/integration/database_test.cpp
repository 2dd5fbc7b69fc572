#include <chrono>
#include <cstdint>
#include <future>
#include <memory>
#include <pqxx/nontransaction>
#include <pqxx/transaction>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <soundhash/db/core/error.hpp>
#include <soundhash/db/database.hpp>
#include <soundhash/db/native.hpp>

#include "support/captured_log.hpp"
#include "support/caught.hpp"
#include "support/eventually.hpp"
#include "support/sql.hpp"
#include "support/test_database.hpp"

namespace soundhash::db {
namespace {

using namespace std::chrono_literals;
using test::captured_log;
using test::caught;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr query setting{"test.setting", "SELECT current_setting($1)", access::read_only};
constexpr query sleep{"test.sleep", "SELECT pg_sleep($1)", access::read_only};
constexpr query insert{"test.insert", "INSERT INTO notes (body) VALUES ($1)"};
constexpr query count_notes{"test.count", "SELECT count(*) FROM notes", access::read_only};
constexpr query series{"test.series", "SELECT generate_series(1, 20)", access::read_only};
constexpr query own_activity{"test.activity",
                             "SELECT application_name || ': ' || query FROM pg_stat_activity "
                             "WHERE pid = pg_backend_pid()",
                             access::read_only};

class database_test : public ::testing::Test {
 protected:
  database_test() { test::execute(options_, "CREATE TABLE notes (body text UNIQUE)"); }

  std::string setting_of(std::string_view name) {
    return database::open(options_).one<std::string>(setting, {name});
  }

  database_options options_ = test::empty_database_options();
};

// Options

TEST_F(database_test, opening_connects_to_nothing) {
  options_.name = "no_such_database";
  auto db = database::open(options_);
  EXPECT_EQ(db.pool_stats().connects, 0U);
  EXPECT_THROW(db.warm_up(), connection_error);
}

TEST_F(database_test, sessions_have_the_settings_of_the_options) {
  options_.statement_timeout = 12'345ms;
  options_.schema = "sounds";
  options_.application_name = "the application";
  EXPECT_EQ(setting_of("statement_timeout"), "12345ms");
  EXPECT_EQ(setting_of("search_path"), "sounds, pg_temp");
  EXPECT_EQ(setting_of("application_name"), "the application");
  EXPECT_EQ(setting_of("client_encoding"), "UTF8");
}

TEST_F(database_test, unqualified_names_are_those_of_the_schema) {
  test::execute(options_,
                "CREATE SCHEMA sounds; CREATE TABLE sounds.notes (body text);"
                "INSERT INTO sounds.notes VALUES ('a'), ('b')");
  options_.schema = "sounds";
  EXPECT_EQ(database::open(options_).one<std::int64_t>(count_notes), 2);
}

TEST_F(database_test, a_statement_is_known_to_the_server_by_its_name) {
  options_.application_name = "the application";
  auto db = database::open(options_);
  EXPECT_THAT(db.one<std::string>(own_activity),
              ::testing::StartsWith("the application: /* test.activity */ SELECT"));
}

TEST_F(database_test, the_statement_timeout_is_enforced) {
  options_.statement_timeout = 100ms;
  auto db = database::open(options_);
  const auto e = caught<timeout_error>([&] { db.execute(sleep, {60}); });
  EXPECT_EQ(e.code(), errc::statement_timeout);
}

TEST_F(database_test, without_a_statement_timeout_a_deadline_still_ends_a_call) {
  options_.statement_timeout = 0ms;
  auto db = database::open(options_);
  db.warm_up();  // connecting shall not cost of the deadline
  const auto e = caught<timeout_error>(
      [&] { db.execute(sleep, {60}, {.until = deadline::in(100ms), .stop = {}}); });
  EXPECT_EQ(e.code(), errc::statement_deadline);
}

TEST_F(database_test, opening_with_a_cache_connects_to_nothing) {
  options_.cache.enabled = true;
  options_.cache.name_space = "known";
  options_.cache.near_cache.entries = 10;
  const auto db = database::open(options_);
  EXPECT_EQ(db.pool_stats().connects, 0U);
  EXPECT_TRUE(db.cache().enabled());
}

TEST_F(database_test, options_out_of_range_are_refused_when_opening) {
  options_.pool.size = 0;
  EXPECT_THROW(static_cast<void>(database::open(options_)), config_error);
}

TEST_F(database_test, keeps_the_options_it_was_opened_with) {
  options_.application_name = "kept";
  EXPECT_EQ(database::open(options_).options().application_name, "kept");
}

// Warm-up

TEST_F(database_test, warm_up_connects_once) {
  auto db = database::open(options_);
  db.warm_up();
  db.warm_up();
  EXPECT_EQ(db.pool_stats().connects, 1U);
  EXPECT_EQ(db.pool_stats().idle, 1U);
}

TEST_F(database_test, warm_up_refuses_a_server_whose_clock_is_not_utc) {
  test::execute(options_, "ALTER DATABASE " + options_.name + " SET timezone = 'Europe/Berlin'");
  auto db = database::open(options_);
  const auto e = caught<connection_error>([&] { db.warm_up(); });
  EXPECT_EQ(e.code(), errc::configuration);
  EXPECT_FALSE(e.retryable());
  EXPECT_THAT(e.what(), AllOf(HasSubstr("Europe/Berlin"), HasSubstr("SOUNDHASH_DB_REQUIRE_UTC")));
  options_.require_utc = false;
  database::open(options_).warm_up();
}

TEST_F(database_test, other_names_of_utc_are_utc) {
  // Zulu and Universal are in a package of their own on Debian 13.
  for (const std::string zone : {"Etc/UTC", "GMT", "Etc/UCT"}) {
    test::execute(options_, "ALTER DATABASE " + options_.name + " SET timezone = '" + zone + "'");
    database::open(options_).warm_up();
  }
}

// Cardinality

TEST_F(database_test, one_and_maybe_insist_on_their_number_of_rows) {
  static constexpr query none{"test.none", "SELECT 1 WHERE false", access::read_only};
  auto db = database::open(options_);
  EXPECT_EQ(caught<cardinality_error>([&] { static_cast<void>(db.one<int>(none)); }).code(),
            errc::no_row);
  EXPECT_EQ(db.maybe<int>(none), std::nullopt);
  for (const auto& several :
       {caught<cardinality_error>([&] { static_cast<void>(db.one<int>(series)); }),
        caught<cardinality_error>([&] { static_cast<void>(db.maybe<int>(series)); })}) {
    EXPECT_EQ(several.code(), errc::several_rows);
    EXPECT_THAT(several.what(), HasSubstr("20 rows"));
  }
  EXPECT_EQ(db.all<int>(series).size(), 20U);
}

TEST_F(database_test, atomically_is_one_transaction) {
  auto db = database::open(options_);
  EXPECT_THROW(db.atomically([](executor& inside) {
    inside.execute(insert, {"a"});
    inside.execute(insert, {"a"});
  }),
               constraint_violation);
  EXPECT_EQ(db.one<std::int64_t>(count_notes), 0);
}

// Logging

TEST_F(database_test, echo_logs_statements_without_their_values) {
  const captured_log log;
  options_.echo = true;
  auto db = database::open(options_);
  db.with_transaction([](transaction& tx) { tx.execute(insert, {"canary"}); });
  EXPECT_THROW(db.execute(insert, {"canary"}), constraint_violation);
  EXPECT_THAT(log.text(),
              AllOf(HasSubstr("test.insert"), HasSubstr("INSERT INTO notes"), HasSubstr("tx.begin"),
                    HasSubstr("tx.commit"), HasSubstr("23505"), Not(HasSubstr("canary"))));
}

TEST_F(database_test, without_echo_quick_statements_are_not_logged) {
  const captured_log log;
  options_.slow_query = 10s;
  auto db = database::open(options_);
  db.execute(insert, {"quiet"});
  EXPECT_EQ(log.text(), "");
}

TEST_F(database_test, slow_statements_are_logged_without_their_values) {
  const captured_log log;
  options_.slow_query = 50ms;
  auto db = database::open(options_);
  static constexpr query slow{"test.slow", "SELECT pg_sleep(0.06), $1::text", access::read_only};
  db.execute(slow, {"canary"});
  EXPECT_THAT(log.text(), AllOf(HasSubstr("warning slow statement test.slow"),
                                HasSubstr("SELECT pg_sleep(0.06)"), Not(HasSubstr("canary"))));
  EXPECT_EQ(db.metrics().snapshot().slow_queries, 1U);
}

// Metrics

TEST_F(database_test, metrics_are_those_of_what_ran) {
  options_.slow_query = 40ms;
  auto db = database::open(options_);
  for (const auto* body : {"a", "b", "c"}) db.execute(insert, {body});
  EXPECT_THROW(db.execute(insert, {"a"}), constraint_violation);
  db.execute(sleep, {0.05});
  db.with_transaction([](transaction& tx) { tx.execute(insert, {"d"}); });
  EXPECT_EQ(db.all<int>(series).size(), 20U);

  const auto seen = db.metrics().snapshot();
  EXPECT_EQ(seen.total_queries, 7U);
  EXPECT_EQ(seen.slow_queries, 1U);
  EXPECT_EQ(seen.errors, 1U);
  EXPECT_GT(seen.total_duration, 0.05);
  EXPECT_LT(seen.total_duration, 10);
  EXPECT_DOUBLE_EQ(seen.average_duration, seen.total_duration / 7);
  EXPECT_DOUBLE_EQ(seen.slow_query_percentage, 100.0 / 7);
  const auto* inserts = seen.query("test.insert");
  ASSERT_NE(inserts, nullptr);
  EXPECT_EQ(inserts->count, 5U);
  EXPECT_EQ(inserts->rows, 4U);
  EXPECT_EQ(inserts->errors_by_sqlstate, (std::map<std::string, std::uint64_t>{{"23505", 1}}));
  EXPECT_EQ(seen.query("test.series")->rows, 20U);
  EXPECT_EQ(seen.query("tx.begin")->count, 1U);
  EXPECT_EQ(seen.query("tx.commit")->count, 1U);
  EXPECT_EQ(seen.query("tx.commit")->kind, statement_kind::transaction);
}

TEST_F(database_test, metrics_hold_the_figures_of_the_pool) {
  auto db = database::open(options_);
  db.warm_up();
  const auto text = prometheus_text(db.metrics().totals());
  EXPECT_THAT(text, AllOf(HasSubstr("db_client_connection_count{state=\"idle\"} 1"),
                          HasSubstr("db_client_connection_created_total 1"),
                          HasSubstr("db_client_connection_max 30")));
}

class faulty final : public interceptor {
 public:
  void on_start(const statement_event&) override { throw std::runtime_error{"start"}; }
  void on_finish(const statement_event& event) override {
    finished.emplace_back(event.name);
    throw 42;
  }
  std::vector<std::string> finished;
};

TEST_F(database_test, an_interceptor_that_throws_is_counted_and_ignored) {
  const auto watcher = std::make_shared<faulty>();
  options_.interceptors = {watcher};
  auto db = database::open(options_);
  EXPECT_EQ(db.execute(insert, {"a"}), 1U);
  EXPECT_THROW(db.execute(insert, {"a"}), constraint_violation);
  EXPECT_EQ(watcher->finished, (std::vector<std::string>{"test.insert", "test.insert"}));
  EXPECT_EQ(db.metrics().snapshot().interceptor_failures, 4U);
}

// Native connections

TEST_F(database_test, libpqxx_runs_on_a_pooled_connection) {
  auto db = database::open(options_);
  int pid = 0;
  {
    auto lease = db.acquire();
    pid = lease.backend_pid();
    pqxx::work tx{native(lease)};
    tx.exec("INSERT INTO notes VALUES ('native')");
    tx.commit();
  }
  EXPECT_EQ(db.one<std::int64_t>(count_notes), 1);
  EXPECT_EQ(db.acquire().backend_pid(), pid);
}

TEST_F(database_test, a_native_transaction_left_open_is_rolled_back) {
  auto db = database::open(options_);
  {
    auto lease = db.acquire();
    pqxx::nontransaction open{native(lease)};
    open.exec("BEGIN");
    open.exec("INSERT INTO notes VALUES ('left open')");
  }
  ASSERT_TRUE(test::eventually([&] { return db.pool_stats().rollbacks_on_return == 1; }));
  EXPECT_EQ(db.one<std::int64_t>(count_notes), 0);
  EXPECT_EQ(db.pool_stats().connects, 1U);
}

TEST_F(database_test, a_discarded_connection_does_not_come_back) {
  auto db = database::open(options_);
  auto lease = db.acquire();
  const int pid = lease.backend_pid();
  lease.discard();
  { const auto ended = std::move(lease); }
  EXPECT_NE(db.acquire().backend_pid(), pid);
}

// Handles and the end

TEST_F(database_test, copies_share_one_pool) {
  auto db = database::open(options_);
  auto copy = db;
  db.warm_up();
  copy.execute(insert, {"by the copy"});
  EXPECT_EQ(copy.pool_stats().connects, 1U);
  EXPECT_EQ(db.metrics().snapshot().total_queries, 1U);
  copy.close();
  EXPECT_EQ(caught<pool_error>([&] { db.execute(count_notes); }).code(), errc::pool_closed);
}

TEST_F(database_test, close_ends_every_session_on_the_server) {
  options_.application_name = "closing";
  auto db = database::open(options_);
  db.warm_up();
  const auto observer = test::connect(test::server().options());
  const auto sessions = [&] {
    return test::query_text(*observer,
                            "SELECT count(*)::text FROM pg_stat_activity "
                            "WHERE application_name = 'closing'");
  };
  ASSERT_EQ(sessions(), "1\n");
  db.close();
  EXPECT_TRUE(test::eventually([&] { return sessions() == "0\n"; }));
}

TEST_F(database_test, close_logs_and_cuts_who_still_holds_a_connection) {
  const captured_log log;
  auto db = database::open(options_);
  auto lease = db.acquire();
  db.close(deadline::in(10ms));
  EXPECT_THAT(log.text(), HasSubstr("is held for"));
  const auto use = [&] { pqxx::nontransaction{native(lease)}.exec("SELECT 1"); };
  EXPECT_THROW(use(), std::exception);
}

TEST_F(database_test, close_fails_those_who_wait) {
  options_.pool.size = 1;
  options_.pool.max_overflow = 0;
  auto db = database::open(options_);
  auto lease = db.acquire();
  auto waiting = std::async(std::launch::async, [&] {
    return caught<pool_error>([&] { db.execute(count_notes); }).code();
  });
  ASSERT_TRUE(test::eventually([&] { return db.pool_stats().waiting == 1; }));
  db.close(deadline::in(1ms));
  EXPECT_EQ(waiting.get(), errc::pool_closed);
}

TEST_F(database_test, a_transaction_may_outlive_its_database) {
  auto tx = database::open(options_).begin();
  tx.execute(insert, {"late"});
  tx.commit();
  EXPECT_EQ(database::open(options_).one<std::int64_t>(count_notes), 1);
}

}  // namespace
}  // namespace soundhash::db
