#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <soundhash/db.hpp>
#include <soundhash/db/migrate/migrator.hpp>

#include "conninfo_from_options.hpp"
#include "driver/connection.hpp"
#include "support/caught.hpp"
#include "support/eventually.hpp"
#include "support/private_pgbouncer.hpp"
#include "support/sql.hpp"
#include "support/tcp_proxy.hpp"
#include "support/test_database.hpp"

// What is particular to PgBouncer in transaction mode. That the repositories work through it, their
// own tests show: ctest runs them once more as pgbouncer.*.

namespace soundhash::db {
namespace {

using namespace std::chrono_literals;
using test::caught;
using ::testing::AllOf;
using ::testing::Each;
using ::testing::HasSubstr;
using ::testing::StartsWith;

constexpr query settings_now{
    "test.settings",
    "SELECT concat_ws(' | ', current_setting('statement_timeout'), "
    "current_setting('search_path'), current_setting('client_connection_check_interval'))",
    access::read_only};
constexpr query limit_now{"test.limit",
                          "SELECT setting::int4 FROM pg_settings WHERE name = 'statement_timeout'",
                          access::read_only};
constexpr query insert_note{"test.insert_note", "INSERT INTO notes (body) VALUES ($1)"};
constexpr query count_notes{"test.count_notes", "SELECT count(*) FROM notes", access::read_only};
constexpr query insert_slowly{"test.insert_slowly",
                              "WITH slept AS MATERIALIZED (SELECT pg_sleep(2)) "
                              "INSERT INTO notes SELECT 'slow' FROM slept"};
constexpr query read_slowly{"test.read_slowly", "SELECT pg_sleep(60)", access::read_only};
constexpr query activity{"test.activity",
                         "SELECT query FROM pg_stat_activity WHERE pid = pg_backend_pid()",
                         access::read_only};
constexpr query vacuum{"test.vacuum", "VACUUM notes"};
constexpr query disguised_copy{"test.copy", "/* /* */ */ COPY notes TO STDOUT"};

const std::string commit_message{"COMMIT\0", 7};

deadline soon() {
  return deadline::in(30s);
}

/// Another client of the same pooler: it sends no settings, so it sees what the sessions hold.
std::unique_ptr<driver::connection> stranger(const database_options& pooled) {
  auto where = session_conninfo(pooled);
  where.settings.clear();
  return driver::connection::open(where, soon());
}

/// Without a deadline, which would set a limit of its own.
std::string only_cell(driver::connection& on, std::string_view sql) {
  const auto rows = on.run({.name = {}, .sql = sql, .access = access::read_only});
  return rows[0][0].as<std::string>();
}

class pgbouncer_test : public ::testing::Test {
 protected:
  pgbouncer_test() { test::execute(direct_, "CREATE TABLE notes (body text)"); }

  database open() const { return database::open(pooled_); }

  /// By the server itself.
  [[nodiscard]] std::string stored() const {
    return test::query_text(direct_, "SELECT body FROM notes ORDER BY body");
  }

  /// What both sessions of the pooler hold, as two strangers see it. Two transactions at once
  /// cannot share a session.
  [[nodiscard]] std::vector<std::string> left_behind(std::string_view sql) const {
    const auto one = stranger(pooled_);
    const auto two = stranger(pooled_);
    one->command("BEGIN", soon());
    two->command("BEGIN", soon());
    std::vector<std::string> seen{only_cell(*one, sql), only_cell(*two, sql)};
    one->command("ROLLBACK", soon());
    two->command("ROLLBACK", soon());
    return seen;
  }

  database_options direct_ = test::empty_database_options();
  test::private_pgbouncer pooler_{direct_};
  database_options pooled_ = pooler_.options(direct_.name);
};

// Settings

TEST_F(pgbouncer_test, settings_hold_for_every_statement) {
  pooled_.schema = "sounds";
  pooled_.statement_timeout = 12'345ms;
  const std::string expected = "12345ms | sounds, pg_temp | 2s";
  auto db = open();
  EXPECT_EQ(db.one<std::string>(settings_now), expected);
  auto tx = db.begin();
  EXPECT_EQ(tx.one<std::string>(settings_now), expected);
  EXPECT_EQ(tx.one<std::string>(settings_now), expected);
}

TEST_F(pgbouncer_test, unqualified_names_are_those_of_the_schema) {
  test::execute(direct_,
                "CREATE SCHEMA sounds; CREATE TABLE sounds.notes (body text);"
                "INSERT INTO sounds.notes VALUES ('a'), ('b')");
  pooled_.schema = "sounds";
  auto db = open();
  EXPECT_EQ(db.one<std::int64_t>(count_notes), 2);
  db.execute(insert_note, {"c"});
  EXPECT_EQ(db.one<std::int64_t>(count_notes), 3);
  EXPECT_EQ(stored(), "");
}

TEST_F(pgbouncer_test, settings_hold_after_a_savepoint_is_rolled_back) {
  pooled_.schema = "sounds";
  auto db = open();
  auto tx = db.begin();
  const auto give_up = [](transaction& inner) {
    EXPECT_THAT(inner.one<std::string>(settings_now), HasSubstr("sounds"));
    throw std::runtime_error{"given up"};
  };
  // BEGIN travels with SAVEPOINT, so that the settings are set inside of it and go with it.
  EXPECT_THROW(tx.savepoint(give_up), std::runtime_error);
  EXPECT_EQ(tx.one<std::string>(settings_now), "30s | sounds, pg_temp | 2s");
}

TEST_F(pgbouncer_test, a_shorter_deadline_limits_one_statement) {
  auto db = open();
  EXPECT_LE(db.one<std::int32_t>(limit_now, {}, {.until = deadline::in(5s)}), 5'000);
  EXPECT_EQ(db.one<std::int32_t>(limit_now), 30'000);
  auto tx = db.begin();
  EXPECT_LE(tx.one<std::int32_t>(limit_now, {}, {.until = deadline::in(5s)}), 5'000);
  EXPECT_EQ(tx.one<std::int32_t>(limit_now), 30'000);
}

TEST_F(pgbouncer_test, the_deadline_ends_a_statement_and_the_session_lives) {
  auto db = open();
  db.warm_up();  // connecting shall not cost of the deadline
  const auto e = caught<timeout_error>(
      [&] { (void)db.one<std::string>(read_slowly, {}, {.until = deadline::in(300ms)}); });
  EXPECT_EQ(e.code(), errc::statement_deadline);
  EXPECT_TRUE(e.connection_usable());
  EXPECT_EQ(db.one<std::int64_t>(count_notes), 0);
  EXPECT_EQ(db.pool_stats().connects, 1U);
}

TEST_F(pgbouncer_test, everything_of_a_first_statement_is_one_round_trip) {
  test::tcp_proxy link{pooled_};
  auto by_link = link.options();
  by_link.pooler = pooler_mode::transaction;
  auto db = database::open(by_link);
  db.warm_up();
  const auto before = link.round_trips();
  EXPECT_EQ(db.one<std::int64_t>(count_notes), 0);
  EXPECT_EQ(link.round_trips() - before, 1) << "settings and statement, never prepared";
  auto tx = db.begin();
  tx.execute(insert_note, {"a"});
  EXPECT_EQ(link.round_trips() - before, 2) << "BEGIN, settings and statement";
  tx.commit();
  EXPECT_EQ(link.round_trips() - before, 3);
}

TEST_F(pgbouncer_test, statements_have_their_name_in_a_comment) {
  auto db = open();
  for (int i = 0; i < 2; ++i) {
    EXPECT_THAT(db.one<std::string>(activity), StartsWith("/* test.activity */ SELECT"));
  }
}

TEST_F(pgbouncer_test, a_time_zone_that_is_not_utc_is_refused) {
  test::execute(direct_, "ALTER DATABASE " + direct_.name + " SET timezone = 'Europe/Berlin'");
  const auto e = caught<connection_error>([&] { open().warm_up(); });
  EXPECT_EQ(e.code(), errc::configuration);
  EXPECT_THAT(e.what(), HasSubstr("Europe/Berlin"));
  pooled_.require_utc = false;
  EXPECT_NO_THROW(open().warm_up());
}

TEST_F(pgbouncer_test, the_mode_is_right_behind_a_pooler_in_session_mode_too) {
  const test::private_pgbouncer sessions{direct_, {{"pool_mode", "session"}}};
  auto db = database::open(sessions.options(direct_.name));
  db.with_transaction([&](transaction& tx) { tx.execute(insert_note, {"a"}); });
  EXPECT_EQ(db.one<std::string>(settings_now), "30s | public, pg_temp | 2s");
  EXPECT_EQ(stored(), "a\n");
}

// Load

/// Reads, writes, transactions that end in every way, short deadlines and savepoints.
void run_one_of_each(database& db, int number) {
  const auto body = std::to_string(number);
  switch (number % 5) {
    case 0:
      (void)db.one<std::int64_t>(count_notes);
      break;
    case 1:
      db.execute(insert_note, {body}, {.until = deadline::in(20s)});
      break;
    case 2:
      db.with_transaction([&](transaction& tx) {
        (void)tx.one<std::int32_t>(limit_now, {}, {.until = deadline::in(20s)});
        tx.execute(insert_note, {body});
      });
      break;
    case 3: {
      auto tx = db.begin();
      tx.execute(insert_note, {body});
      tx.rollback();
      break;
    }
    default: {
      auto tx = db.begin();  // left open: the pool rolls it back
      tx.execute(insert_note, {body});
    }
  }
}

TEST_F(pgbouncer_test, ten_thousand_operations_of_eight_threads_share_two_sessions) {
  constexpr int threads = 8;
  constexpr int calls = 1'250;
  pooled_.schema = "public";
  pooled_.statement_timeout = 29'000ms;
  pooled_.slow_query = 1min;  // a busy machine shall not fill the log
  auto db = open();
  std::atomic<int> errors{0};
  {
    std::vector<std::jthread> workers;
    for (int t = 0; t < threads; ++t) {
      workers.emplace_back([&, t] {
        for (int i = 0; i < calls; ++i) {
          try {
            run_one_of_each(db, t * calls + i);
          } catch (const std::exception& e) {
            if (++errors <= 3) ADD_FAILURE() << e.what();
          }
        }
      });
    }
  }
  EXPECT_EQ(errors, 0);
  EXPECT_TRUE(test::eventually([&] { return db.pool_stats().rollbacks_on_return == 2'000; }));
  EXPECT_EQ(db.one<std::int64_t>(count_notes), 4'000);
  EXPECT_GT(db.pool_stats().connects, 2U);
  EXPECT_EQ(test::query_text(direct_,
                             "SELECT count(*)::text FROM pg_stat_activity "
                             "WHERE datname = current_database() AND pid <> pg_backend_pid()"),
            "2\n");
  EXPECT_THAT(left_behind(settings_now.sql()), Each("0 | \"$user\", public | 0"));
  EXPECT_THAT(left_behind("SELECT count(*)::text FROM pg_prepared_statements"), Each("0"));
}

TEST_F(pgbouncer_test, a_strangers_settings_do_not_reach_us) {
  const auto one = stranger(pooled_);
  const auto two = stranger(pooled_);
  for (auto* each : {one.get(), two.get()}) each->command("BEGIN", soon());
  for (auto* each : {one.get(), two.get()}) {
    each->command("SET statement_timeout = 77000; SET search_path = nowhere", soon());
    each->command("COMMIT", soon());
  }
  ASSERT_THAT(left_behind(settings_now.sql()), Each("77s | nowhere | 0"))
      << "the pooler does not clean up";
  EXPECT_EQ(open().one<std::string>(settings_now), "30s | public, pg_temp | 2s");
}

// Transactions

TEST_F(pgbouncer_test, an_abandoned_transaction_is_rolled_back) {
  auto db = open();
  db.begin().execute(insert_note, {"left open"});
  EXPECT_TRUE(test::eventually([&] { return db.pool_stats().rollbacks_on_return == 1; }));
  EXPECT_EQ(db.pool_stats().used, 0U);
  EXPECT_EQ(db.one<std::int64_t>(count_notes), 0);
  EXPECT_EQ(test::query_text(direct_,
                             "SELECT count(*)::text FROM pg_stat_activity "
                             "WHERE state LIKE 'idle in transaction%'"),
            "0\n");
}

TEST_F(pgbouncer_test, a_commit_in_doubt_resolves) {
  test::tcp_proxy link{pooled_};
  auto by_link = link.options();
  by_link.pooler = pooler_mode::transaction;
  auto db = database::open(by_link);
  const auto commit_in_vain = [&](std::string_view body) {
    auto tx = db.begin({.track_outcome = true});
    tx.execute(insert_note, {body});
    return caught<commit_in_doubt>([&] { tx.commit(); });
  };
  link.lose_answer(commit_message);
  EXPECT_EQ(commit_in_vain("arrived").resolve(20s), commit_outcome::committed);
  link.lose_request(commit_message);
  EXPECT_EQ(commit_in_vain("lost").resolve(20s), commit_outcome::rolled_back);
  EXPECT_EQ(stored(), "arrived\n");
}

// The pooler says FATAL, too, but does not know what became of the statement.
TEST_F(pgbouncer_test, a_write_that_the_pooler_gave_up_is_in_doubt) {
  const test::private_pgbouncer impatient{direct_, {{"query_timeout", "1"}}};
  auto db = database::open(impatient.options(direct_.name));
  const auto e = caught<commit_in_doubt>([&] { db.execute(insert_slowly); });
  EXPECT_THAT(e.what(), HasSubstr("query timeout"));
  EXPECT_FALSE(e.connection_usable());
  const auto read = caught<connection_error>([&] { (void)db.one<std::string>(read_slowly); });
  EXPECT_EQ(read.code(), errc::lost);
  EXPECT_EQ(read.sqlstate(), "08P01");
}

TEST_F(pgbouncer_test, a_write_whose_end_the_server_announced_is_lost_and_not_in_doubt) {
  auto db = open();
  const std::jthread terminator{[&] {
    test::eventually([&] {
      return test::query_text(direct_,
                              "SELECT pg_terminate_backend(pid)::text FROM pg_stat_activity "
                              "WHERE wait_event = 'PgSleep' AND datname = current_database()") ==
             "true\n";
    });
  }};
  const auto e = caught<connection_error>([&] { db.execute(insert_slowly); });
  EXPECT_EQ(e.code(), errc::lost);
  EXPECT_EQ(e.sqlstate(), "57P01");
  EXPECT_EQ(stored(), "");
}

// Health

TEST_F(pgbouncer_test, a_ping_reaches_the_server) {
  const auto session = test::connect(pooled_);
  EXPECT_TRUE(session->ping(soon()));
  EXPECT_TRUE(session->is_behind_pooler(soon()));
  EXPECT_FALSE(test::connect(direct_)->is_behind_pooler(soon()));
}

TEST_F(pgbouncer_test, a_disguised_copy_leaves_the_pooler_in_order) {
  auto db = open();
  for (int i = 0; i < 4; ++i) {  // more often than there are sessions
    const auto e = caught<commit_in_doubt>([&] { db.execute(disguised_copy); });
    EXPECT_THAT(e.what(), AllOf(HasSubstr("test.copy"), HasSubstr("COPY")));
    EXPECT_FALSE(e.connection_usable());
  }
  EXPECT_EQ(db.one<std::int64_t>(count_notes), 0);
}

// What is refused

TEST_F(pgbouncer_test, what_needs_a_session_is_refused_before_it_is_sent) {
  constexpr std::array refused{
      std::pair{query{"test.set", "SET statement_timeout = 0"}, "uses SET,"},
      std::pair{query{"test.listen", "LISTEN jobs"}, "uses LISTEN,"},
      std::pair{query{"test.lock", "SELECT pg_advisory_lock(1)"},
                "uses an advisory lock of the session,"},
      std::pair{query{"test.temp", "CREATE TEMP TABLE t (n int)"}, "uses a temporary table"}};
  auto db = open();
  for (const auto& [statement, need] : refused) {
    for (int i = 0; i < 2; ++i) {
      const auto e = caught<connection_error>([&] { db.execute(statement); });
      EXPECT_EQ(e.code(), errc::refused_behind_pooler);
      EXPECT_EQ(e.sent(), sent::no);
      EXPECT_FALSE(e.retryable());
      EXPECT_TRUE(e.connection_usable());
      EXPECT_EQ(e.query_name(), statement.name());
      EXPECT_THAT(e.what(), AllOf(HasSubstr(need), HasSubstr("SOUNDHASH_DB_POOLER=transaction"),
                                  HasSubstr("SET LOCAL")));
    }
  }
  EXPECT_EQ(db.pool_stats().connects, 1U);
  EXPECT_EQ(test::query_text(direct_,
                             "SELECT count(*)::text FROM pg_locks "
                             "WHERE locktype = 'advisory'"),
            "0\n");
}

TEST_F(pgbouncer_test, what_refuses_a_transaction_block_is_refused_by_the_server) {
  auto db = open();
  const auto e = caught<query_error>([&] { db.execute(vacuum); });
  EXPECT_EQ(e.sqlstate(), "25001");
  EXPECT_TRUE(e.connection_usable());
}

TEST_F(pgbouncer_test, without_the_mode_the_error_names_it) {
  pooled_.pooler = pooler_mode::none;
  const auto e = caught<connection_error>([&] { open().warm_up(); });
  EXPECT_EQ(e.code(), errc::refused_behind_pooler);
  EXPECT_FALSE(e.retryable());
  EXPECT_THAT(e.what(), AllOf(HasSubstr("unsupported startup parameter"),
                              HasSubstr("set SOUNDHASH_DB_POOLER=transaction")));
}

TEST_F(pgbouncer_test, without_the_mode_a_pooler_that_ignores_settings_is_noticed) {
  const test::private_pgbouncer silent{direct_, {{"ignore_startup_parameters", "options"}}};
  auto options = silent.options(direct_.name);
  options.pooler = pooler_mode::none;
  // One connection in a thousand has a number that a server could have; hardly five of them.
  std::vector<std::string> messages;
  for (int i = 0; i < 5; ++i) {
    try {
      database::open(options).warm_up();
    } catch (const connection_error& e) {
      EXPECT_EQ(e.code(), errc::refused_behind_pooler);
      messages.emplace_back(e.what());
    }
  }
  ASSERT_FALSE(messages.empty());
  EXPECT_THAT(messages, Each(AllOf(HasSubstr("drops the settings"),
                                   HasSubstr("set SOUNDHASH_DB_POOLER=transaction"))));
}

TEST_F(pgbouncer_test, migrations_are_refused_whatever_the_mode) {
  const test::private_pgbouncer silent{direct_, {{"ignore_startup_parameters", "options"}}};
  for (auto options : {pooled_, silent.options(direct_.name)}) {
    for (const auto mode : {pooler_mode::none, pooler_mode::transaction}) {
      options.pooler = mode;
      const auto e = caught<connection_error>([&] { migrator{options}.up(); });
      EXPECT_EQ(e.code(), errc::refused_behind_pooler);
      EXPECT_THAT(e.what(),
                  AllOf(HasSubstr("migrations need a direct connection"), HasSubstr("--dsn")));
    }
  }
  direct_.pooler = pooler_mode::transaction;
  EXPECT_NO_THROW(static_cast<void>(migrator{direct_}.status()))
      << "a direct connection is one, whatever is set";
}

// Connecting

TEST_F(pgbouncer_test, a_pooler_without_its_server_is_not_ready) {
  auto gone = direct_;
  gone.host += "/gone";
  const test::private_pgbouncer alone{gone, {{"client_login_timeout", "1"}}};
  const auto e = caught<connection_error>([&] { test::connect(alone.options(direct_.name)); });
  EXPECT_EQ(e.code(), errc::not_ready);
  EXPECT_TRUE(e.retryable());
}

TEST_F(pgbouncer_test, wrong_names_are_no_matter_of_time) {
  pooled_.name = "no_such_database";
  const auto unknown = caught<connection_error>([&] { test::connect(pooled_); });
  EXPECT_EQ(unknown.code(), errc::configuration);
  EXPECT_FALSE(unknown.retryable());
  pooled_.name = direct_.name;
  pooled_.user = "no_such_role";
  const auto nobody = caught<connection_error>([&] { test::connect(pooled_); });
  EXPECT_EQ(nobody.code(), errc::authentication);
  EXPECT_FALSE(nobody.retryable());
}

}  // namespace
}  // namespace soundhash::db
