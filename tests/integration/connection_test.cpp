#include "driver/connection.hpp"

#include <chrono>
#include <csignal>
#include <cstdint>
#include <future>
#include <pqxx/except>
#include <pqxx/nontransaction>
#include <stop_token>
#include <string>
#include <string_view>
#include <thread>
#include <utility>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>

#include <soundhash/db/core/error.hpp>
#include <soundhash/db/native.hpp>

#include "conninfo_from_options.hpp"
#include "support/caught.hpp"
#include "support/eventually.hpp"
#include "support/sql.hpp"
#include "support/tcp_proxy.hpp"
#include "support/test_database.hpp"

namespace soundhash::db {
namespace {

using namespace std::chrono_literals;
using driver::statement;
using driver::transaction_status;
using test::caught;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

deadline soon() {
  return deadline::in(30s);
}

class connection_test : public ::testing::Test {
 protected:
  std::unique_ptr<driver::connection> connect() const { return test::connect(options_); }

  void execute(std::string_view sql) const { test::execute(options_, sql); }

  /// How the backend of a session stands: true once it sleeps in pg_sleep.
  bool sleeps(int pid) const {
    return test::eventually([&] {
      return test::query_text(options_, "SELECT wait_event FROM pg_stat_activity WHERE pid = " +
                                            std::to_string(pid)) == "PgSleep\n";
    });
  }

  database_options options_ = test::empty_database_options();
};

std::string only_cell(driver::connection& on, std::string_view sql, deadline until = {}) {
  const auto rows = on.run({.name = {}, .sql = sql, .access = access::read_only, .until = until});
  return rows[0][0].as<std::string>();
}

// Statements

TEST_F(connection_test, runs_a_statement_and_knows_its_session) {
  const auto session = connect();
  const params values{20, "text"};
  const auto rows = session->run({.name = "test.echo",
                                  .sql = "SELECT $1::int4 + 1 AS n, $2 AS t",
                                  .values = &values,
                                  .until = soon()});
  ASSERT_EQ(rows.size(), 1U);
  EXPECT_EQ(rows.query_name(), "test.echo");
  EXPECT_EQ(rows[0][0].as<std::int32_t>(), 21);
  EXPECT_EQ(rows[0][1].as<std::string>(), "text");
  EXPECT_EQ(std::to_string(session->backend_pid()),
            only_cell(*session, "SELECT pg_backend_pid()::text"));
  EXPECT_GE(session->server_version(), 140000);
  EXPECT_EQ(session->parameter("TimeZone"), "UTC");
  EXPECT_EQ(session->parameter("no_such_parameter"), "");
}

TEST_F(connection_test, counts_the_rows_that_a_write_touched) {
  const auto session = connect();
  session->command("CREATE TABLE t (n int)", soon());
  EXPECT_EQ(
      session
          ->run({.name = {}, .sql = "INSERT INTO t SELECT generate_series(1, 7)", .until = soon()})
          .affected(),
      7U);
  EXPECT_EQ(session->command("DELETE FROM t WHERE n > 5", soon()), "DELETE 2");
}

TEST_F(connection_test, carries_values_larger_than_any_socket_buffer) {
  const auto session = connect();
  const params values{std::string(20'000'000, 'x')};
  const auto rows = session->run(
      {.name = {}, .sql = "SELECT $1::text || $1::text", .values = &values, .until = soon()});
  EXPECT_EQ(rows[0][0].bytes().size(), 40'000'000U);
}

// Statement cache

TEST_F(connection_test, prepares_a_statement_once) {
  const auto session = connect();
  const statement what{.name = "test.once", .sql = "SELECT 1", .until = soon()};
  driver::timing first;
  driver::timing second;
  session->run(what, &first);
  session->run(what, &second);
  EXPECT_GT(first.prepare, 0ns);
  EXPECT_EQ(second.prepare, 0ns);
  EXPECT_GT(second.execute, 0ns);
  EXPECT_EQ(test::query_text(*session, "SELECT name, statement FROM pg_prepared_statements"),
            "test.once | /* test.once */ SELECT 1\n");
}

TEST_F(connection_test, refuses_one_name_for_two_texts) {
  const auto session = connect();
  session->run({.name = "test.name", .sql = "SELECT 1", .until = soon()});
  const auto e = caught<invalid_argument>(
      [&] { session->run({.name = "test.name", .sql = "SELECT 2", .until = soon()}); });
  EXPECT_THAT(e.what(), HasSubstr("test.name"));
  EXPECT_EQ(e.sent(), sent::no);
  EXPECT_TRUE(session->usable());
  session->run({.name = "test.name", .sql = "SELECT 1", .until = soon()});
}

TEST_F(connection_test, a_statement_that_cannot_be_prepared_is_not_remembered) {
  const auto session = connect();
  const statement what{.name = "test.later", .sql = "SELECT * FROM later", .until = soon()};
  const auto e = caught<query_error>([&] { session->run(what); });
  EXPECT_EQ(e.sqlstate(), "42P01");
  EXPECT_EQ(e.query_name(), "test.later");
  session->command("CREATE TABLE later ()", soon());
  EXPECT_EQ(session->run(what).size(), 0U);
}

TEST_F(connection_test, a_plan_whose_table_changed_is_made_anew) {
  execute("CREATE TABLE t (a int)");
  const auto session = connect();
  const statement what{.name = "test.all", .sql = "SELECT * FROM t", .until = soon()};
  EXPECT_EQ(session->run(what).columns().size(), 1U);
  execute("ALTER TABLE t ADD COLUMN b int");
  EXPECT_EQ(session->run(what).columns().size(), 2U);
  EXPECT_EQ(session->run(what).columns().size(), 2U);
}

TEST_F(connection_test, a_plan_whose_table_changed_is_made_anew_under_a_deadline) {
  execute("CREATE TABLE t (a int)");
  const auto session = connect();
  const auto what = [] {
    return statement{.name = "test.all", .sql = "SELECT * FROM t", .until = deadline::in(10s)};
  };
  EXPECT_EQ(session->run(what()).columns().size(), 1U);
  execute("ALTER TABLE t ADD COLUMN b int");
  EXPECT_EQ(session->run(what()).columns().size(), 2U);
}

TEST_F(connection_test, statements_that_somebody_discarded_are_prepared_again) {
  const auto session = connect();
  const statement what{.name = "test.kept", .sql = "SELECT 1", .until = soon()};
  session->run(what);
  session->command("DISCARD ALL", soon());
  driver::timing again;
  EXPECT_EQ(session->run(what, &again).size(), 1U);
  EXPECT_GT(again.prepare, 0ns);
}

TEST_F(connection_test, a_stale_plan_inside_a_transaction_is_an_error_and_heals_after_it) {
  execute("CREATE TABLE t (a int)");
  const auto session = connect();
  const statement what{.name = "test.all", .sql = "SELECT * FROM t", .until = soon()};
  session->run(what);
  execute("ALTER TABLE t ADD COLUMN b int");
  session->command("BEGIN", soon());
  EXPECT_EQ(caught<query_error>([&] { session->run(what); }).sqlstate(), "0A000");
  session->command("ROLLBACK", soon());
  EXPECT_EQ(session->run(what).columns().size(), 2U);
}

// A pooler's other client, or native code, may have taken the name.
TEST_F(connection_test, a_name_that_the_server_knows_already_is_prepared_anew) {
  const auto session = connect();
  session->command("PREPARE \"test.taken\" AS SELECT 2", soon());
  const statement what{.name = "test.taken", .sql = "SELECT 1", .until = soon()};
  EXPECT_EQ(session->run(what)[0][0].as<std::int32_t>(), 1);
  session->command("DEALLOCATE ALL; PREPARE \"test.later\" AS SELECT 2", soon());
  auto first = statement{.name = "test.later", .sql = "SELECT 1", .begin = "BEGIN"};
  first.until = deadline::in(10s);
  EXPECT_EQ(session->run(first)[0][0].as<std::int32_t>(), 1) << "parsed before BEGIN";
}

TEST_F(connection_test, a_taken_name_inside_a_transaction_may_be_retried_and_heals_after_it) {
  const auto session = connect();
  session->command("PREPARE \"test.taken\" AS SELECT 2", soon());
  const statement what{.name = "test.taken", .sql = "SELECT 1", .until = soon()};
  session->command("BEGIN", soon());
  const auto e = caught<query_error>([&] { session->run(what); });
  EXPECT_EQ(e.sqlstate(), "42P05");
  EXPECT_TRUE(e.retryable());
  EXPECT_TRUE(e.connection_usable());
  session->command("ROLLBACK", soon());
  EXPECT_EQ(session->run(what)[0][0].as<std::int32_t>(), 1);
}

TEST_F(connection_test, a_lost_statement_inside_a_transaction_may_be_retried_and_heals_after_it) {
  const auto session = connect();
  const statement what{.name = "test.kept", .sql = "SELECT 1", .until = soon()};
  session->run(what);
  session->command("BEGIN", soon());
  session->command("DEALLOCATE ALL", soon());
  const auto e = caught<query_error>([&] { session->run(what); });
  EXPECT_EQ(e.sqlstate(), "26000");
  EXPECT_TRUE(e.retryable());
  session->command("ROLLBACK", soon());
  EXPECT_EQ(session->run(what)[0][0].as<std::int32_t>(), 1);
}

// Deadlines

constexpr std::string_view shown_limit =
    "SELECT setting FROM pg_settings WHERE name = 'statement_timeout'";

TEST_F(connection_test, a_shorter_deadline_limits_the_server_for_one_statement) {
  const auto session = connect();
  const auto limit = std::stoi(only_cell(*session, shown_limit, deadline::in(5s)));
  EXPECT_GT(limit, 4'000);
  EXPECT_LE(limit, 5'000);
  EXPECT_EQ(only_cell(*session, shown_limit), "30000");
}

TEST_F(connection_test, a_longer_deadline_leaves_the_server_alone) {
  const auto session = connect();
  EXPECT_EQ(only_cell(*session, shown_limit, deadline::in(1h)), "30000");
}

TEST_F(connection_test, a_shorter_deadline_limits_one_statement_of_a_transaction) {
  const auto session = connect();
  session->command("BEGIN", soon());
  EXPECT_LE(std::stoi(only_cell(*session, shown_limit, deadline::in(5s))), 5'000);
  EXPECT_EQ(only_cell(*session, shown_limit), "30000");
  session->command("COMMIT", soon());
  EXPECT_EQ(only_cell(*session, shown_limit), "30000");
}

TEST_F(connection_test, a_limit_ends_with_its_transaction) {
  const auto session = connect();
  session->command("BEGIN", soon());
  EXPECT_LE(std::stoi(only_cell(*session, shown_limit, deadline::in(5s))), 5'000);
  session->command("ROLLBACK", soon());
  EXPECT_EQ(only_cell(*session, shown_limit), "30000");
}

TEST_F(connection_test, a_rollback_to_a_savepoint_brings_no_old_limit_back) {
  const auto session = connect();
  session->command("BEGIN", soon());
  EXPECT_LE(std::stoi(only_cell(*session, shown_limit, deadline::in(5s))), 5'000);
  session->command("SAVEPOINT s", soon());
  EXPECT_EQ(only_cell(*session, shown_limit), "30000");
  session->command("ROLLBACK TO SAVEPOINT s", soon());
  EXPECT_EQ(only_cell(*session, shown_limit), "30000");
}

TEST_F(connection_test, a_deadline_beyond_what_the_server_can_express_is_no_limit) {
  auto unlimited = options_;
  unlimited.statement_timeout = 0ms;
  const auto session = test::connect(unlimited);
  EXPECT_EQ(only_cell(*session, "SELECT 'fine'", deadline::in(24h * 365)), "fine");
}

TEST_F(connection_test, the_deadline_ends_a_statement_and_the_session_lives) {
  const auto session = connect();
  const auto began = deadline::clock::now();
  const auto e = caught<timeout_error>([&] {
    session->run(
        {.name = "test.sleep", .sql = "SELECT pg_sleep(60)", .until = deadline::in(200ms)});
  });
  EXPECT_LT(deadline::clock::now() - began, 450ms);
  EXPECT_EQ(e.code(), errc::statement_deadline);
  EXPECT_EQ(e.sent(), sent::yes);
  EXPECT_EQ(e.sqlstate(), "57014");
  EXPECT_TRUE(e.connection_usable());
  EXPECT_THAT(e.what(), AllOf(HasSubstr("test.sleep"), HasSubstr("deadline")));
  EXPECT_EQ(only_cell(*session, "SELECT 'alive'"), "alive");
}

TEST_F(connection_test, the_option_ends_a_statement_and_says_so) {
  auto quick = options_;
  quick.statement_timeout = 150ms;
  const auto session = test::connect(quick);
  const auto e = caught<timeout_error>(
      [&] { session->run({.name = {}, .sql = "SELECT pg_sleep(60)", .until = soon()}); });
  EXPECT_EQ(e.code(), errc::statement_timeout);
  EXPECT_EQ(e.sent(), sent::yes);
  EXPECT_THAT(e.what(), HasSubstr("150 ms from DATABASE_STATEMENT_TIMEOUT"));
  EXPECT_TRUE(session->usable());
}

TEST_F(connection_test, somebody_elses_cancel_is_no_timeout) {
  const auto session = connect();
  const int pid = session->backend_pid();
  const std::jthread canceller{[&, pid] {
    if (sleeps(pid)) execute("SELECT pg_cancel_backend(" + std::to_string(pid) + ")");
  }};
  const auto e = caught<query_error>(
      [&] { session->run({.name = {}, .sql = "SELECT pg_sleep(60)", .until = soon()}); });
  EXPECT_EQ(e.code(), errc::query_cancelled);
  EXPECT_EQ(e.sqlstate(), "57014");
  EXPECT_TRUE(session->usable());
}

TEST_F(connection_test, a_deadline_that_has_passed_sends_nothing) {
  const auto session = connect();
  const auto e = caught<timeout_error>(
      [&] { session->run({.name = "test.late", .sql = "SELECT 1", .until = deadline::in(-1ms)}); });
  EXPECT_EQ(e.code(), errc::deadline_exceeded);
  EXPECT_EQ(e.sent(), sent::no);
  EXPECT_TRUE(session->usable());
}

// Stop tokens

TEST_F(connection_test, a_stop_request_ends_a_read_and_its_session) {
  const auto session = connect();
  std::stop_source stop;
  const std::jthread stopper{[&, pid = session->backend_pid()] {
    if (sleeps(pid)) stop.request_stop();
  }};
  const auto e = caught<cancelled>([&] {
    session->run({.name = "test.sleep",
                  .sql = "SELECT pg_sleep(60)",
                  .access = access::read_only,
                  .until = soon(),
                  .stop = stop.get_token()});
  });
  EXPECT_EQ(e.code(), errc::cancelled);
  EXPECT_EQ(e.sent(), sent::maybe);
  EXPECT_FALSE(e.connection_usable());
  EXPECT_FALSE(session->usable());
}

TEST_F(connection_test, a_stop_request_before_sending_costs_nothing) {
  execute("CREATE TABLE t (n int)");
  const auto session = connect();
  std::stop_source stop;
  stop.request_stop();
  const auto e = caught<cancelled>([&] {
    session->run({.name = "test.insert",
                  .sql = "INSERT INTO t VALUES (1)",
                  .until = soon(),
                  .stop = stop.get_token()});
  });
  EXPECT_EQ(e.sent(), sent::no);
  EXPECT_TRUE(e.connection_usable());
  EXPECT_TRUE(session->usable());
}

// Parsing waits for table locks, before the statement itself is sent.
TEST_F(connection_test, a_limit_holds_while_the_statement_is_prepared) {
  execute("CREATE TABLE t (n int)");
  const auto blocker = connect();
  blocker->command("BEGIN; LOCK TABLE t", soon());
  const auto session = connect();
  const auto e = caught<timeout_error>([&] {
    session->run({.name = "test.read",
                  .sql = "SELECT n FROM t",
                  .access = access::read_only,
                  .until = deadline::in(100ms)});
  });
  EXPECT_EQ(e.code(), errc::statement_deadline);
  EXPECT_TRUE(session->usable()) << "the server's own limit came first";
  blocker->command("ROLLBACK", soon());
  session->run({.name = "test.read", .sql = "SELECT n FROM t", .until = soon()});
}

TEST_F(connection_test, a_stop_request_leaves_a_write_in_doubt) {
  const auto session = connect();
  std::stop_source stop;
  const std::jthread stopper{[&, pid = session->backend_pid()] {
    if (sleeps(pid)) stop.request_stop();
  }};
  const auto e = caught<commit_in_doubt>([&] {
    session->run(
        {.name = {}, .sql = "SELECT pg_sleep(60)", .until = soon(), .stop = stop.get_token()});
  });
  EXPECT_EQ(e.sent(), sent::maybe);
  EXPECT_FALSE(session->usable());
}

// Transactions

TEST_F(connection_test, begin_travels_with_the_first_statement) {
  test::tcp_proxy link{options_};
  const auto session = test::connect(link.options());
  const auto before = link.round_trips();
  session->run({.name = {}, .sql = "SELECT 1", .begin = "BEGIN", .until = soon()});
  EXPECT_EQ(link.round_trips() - before, 1);
  EXPECT_EQ(session->status(), transaction_status::in_transaction);
  session->run({.name = {}, .sql = "SELECT 1", .until = deadline::in(5s)});
  EXPECT_EQ(link.round_trips() - before, 2) << "a shorter deadline must not cost a round trip";
  session->command("COMMIT", soon());
  EXPECT_EQ(session->status(), transaction_status::idle);
}

TEST_F(connection_test, a_failed_first_statement_leaves_a_failed_transaction) {
  const auto session = connect();
  EXPECT_THROW(session->run({.name = {}, .sql = "SELECT 1 / 0", .begin = "BEGIN", .until = soon()}),
               query_error);
  EXPECT_EQ(session->status(), transaction_status::failed);
  EXPECT_EQ(session->command("COMMIT", soon()), "ROLLBACK");
}

class deferred_constraint : public connection_test, public ::testing::WithParamInterface<bool> {};

TEST_P(deferred_constraint, that_fails_after_the_command_tag_is_reported) {
  execute(
      "CREATE TABLE parents (id int PRIMARY KEY);"
      "CREATE TABLE children (parent int CONSTRAINT children_parent REFERENCES parents DEFERRABLE "
      "INITIALLY DEFERRED)");
  const auto session = connect();
  const auto until = GetParam() ? deadline::in(5s) : deadline{};
  const auto e = caught<constraint_violation>([&] {
    session->run({.name = "test.insert", .sql = "INSERT INTO children VALUES (1)", .until = until});
  });
  EXPECT_EQ(e.kind(), constraint_kind::foreign_key);
  EXPECT_EQ(e.constraint(), "children_parent");
  EXPECT_EQ(only_cell(*session, "SELECT count(*)::text FROM children"), "0");
}

INSTANTIATE_TEST_SUITE_P(under_a_deadline, deferred_constraint, ::testing::Bool());

// Cutting from another thread

class cutting : public connection_test {
 protected:
  /// Cuts the session once it sleeps in the server; a hang ends with the server's statement.
  std::jthread cut_when_asleep(driver::connection& session) {
    return std::jthread{[this, &session, pid = session.backend_pid()] {
      if (sleeps(pid)) session.cut();
    }};
  }
};

TEST_F(cutting, ends_a_thread_inside_a_statement) {
  const auto session = connect();
  const auto cutter = cut_when_asleep(*session);
  const auto e = caught<connection_error>([&] {
    session->run({.name = {}, .sql = "SELECT pg_sleep(25)", .access = access::read_only});
  });
  EXPECT_EQ(e.code(), errc::lost);
  EXPECT_FALSE(session->usable());
}

TEST_F(cutting, ends_a_thread_inside_a_command) {
  const auto session = connect();
  const auto cutter = cut_when_asleep(*session);
  const auto e =
      caught<commit_in_doubt>([&] { session->command("SELECT pg_sleep(25)", deadline{}); });
  EXPECT_EQ(e.sent(), sent::maybe);
  EXPECT_FALSE(session->usable());
}

TEST_F(cutting, ends_a_thread_blocked_inside_libpqxx) {
  const auto session = connect();
  auto& native = *static_cast<native_connection_type*>(session->native());
  const auto cutter = cut_when_asleep(*session);
  EXPECT_THROW(pqxx::nontransaction{native}.exec("SELECT pg_sleep(25)"), pqxx::broken_connection);
  EXPECT_FALSE(session->usable());
}

TEST_F(cutting, an_idle_session_is_seen_at_its_next_use) {
  const auto session = connect();
  session->cut();
  EXPECT_FALSE(session->quiet());
  EXPECT_FALSE(session->ping(soon()));
  EXPECT_FALSE(session->usable());
  session->cut();
}

// Closing

/// A backend that does not run, so that nobody reads what is sent to it.
class stopped_backend {
 public:
  explicit stopped_backend(int pid) : pid_{pid} { EXPECT_EQ(::kill(pid_, SIGSTOP), 0); }
  ~stopped_backend() { ::kill(pid_, SIGCONT); }
  stopped_backend(const stopped_backend&) = delete;
  stopped_backend& operator=(const stopped_backend&) = delete;

 private:
  int pid_;
};

TEST_F(connection_test, closing_does_not_wait_for_a_server_that_does_not_read) {
  for (const bool idle : {true, false}) {
    auto session = connect();
    if (!idle) session->command("BEGIN", soon());
    const int socket = static_cast<native_connection_type*>(session->native())->sock();
    std::future<void> closed;
    {
      const stopped_backend silent{session->backend_pid()};
      const std::string noise(100'000, '\0');
      while (::send(socket, noise.data(), noise.size(), MSG_DONTWAIT) > 0) {
      }
      closed = std::async(std::launch::async, [&] { session.reset(); });
      EXPECT_EQ(closed.wait_for(10s), std::future_status::ready);
    }
    closed.get();
  }
}

// What a session cannot run

TEST_F(connection_test, copy_is_refused_before_it_is_sent) {
  execute("CREATE TABLE t (n int)");
  const auto session = connect();
  for (const std::string_view sql : {"COPY t FROM STDIN", "-- to us\ncopy t TO\nstdout"}) {
    const auto e = caught<invalid_argument>(
        [&] { session->run({.name = "test.copy", .sql = sql, .until = soon()}); });
    EXPECT_THAT(e.what(), AllOf(HasSubstr("test.copy"), HasSubstr("COPY")));
    EXPECT_EQ(session->status(), transaction_status::idle);
  }
}

constexpr std::string_view disguised_copy =
    "/* /* */ */ COPY (INSERT INTO t VALUES (1) RETURNING n) TO STDOUT";

TEST_F(connection_test, a_disguised_copy_costs_the_session_and_is_in_doubt) {
  execute("CREATE TABLE t (n int)");
  const auto by_run = connect();
  const auto e = caught<commit_in_doubt>(
      [&] { by_run->run({.name = "test.copy", .sql = disguised_copy, .until = soon()}); });
  EXPECT_THAT(e.what(), AllOf(HasSubstr("test.copy"), HasSubstr("COPY")));
  EXPECT_FALSE(by_run->usable());
  const auto by_command = connect();
  EXPECT_THROW(by_command->command(disguised_copy, soon()), commit_in_doubt);
  EXPECT_FALSE(by_command->usable());
}

TEST_F(connection_test, a_disguised_copy_in_a_transaction_did_nothing) {
  execute("CREATE TABLE t (n int)");
  const auto session = connect();
  session->command("BEGIN", soon());
  const auto e = caught<query_error>(
      [&] { session->run({.name = "test.copy", .sql = disguised_copy, .until = soon()}); });
  EXPECT_THAT(e.what(), AllOf(HasSubstr("test.copy"), HasSubstr("COPY")));
  EXPECT_FALSE(e.connection_usable());
}

TEST_F(connection_test, more_values_than_the_protocol_counts_are_refused_before_they_are_sent) {
  const auto session = connect();
  params values;
  for (int i = 0; i < 65535; ++i) values.append(i);
  const statement what{
      .name = "test.many", .sql = "SELECT $1::int4", .values = &values, .until = soon()};
  EXPECT_EQ(caught<query_error>([&] { session->run(what); }).sqlstate(), "08P01")
      << "so many reach the server, which wants one";
  values.append(0);
  EXPECT_THAT(caught<invalid_argument>([&] { session->run(what); }).what(),
              AllOf(HasSubstr("test.many"), HasSubstr("65536"), HasSubstr("65535")));
  EXPECT_EQ(session->status(), transaction_status::idle);
}

// Health

TEST_F(connection_test, notices_that_its_backend_is_gone) {
  const auto session = connect();
  EXPECT_TRUE(session->quiet());
  EXPECT_TRUE(session->ping(soon()));
  execute("SELECT pg_terminate_backend(" + std::to_string(session->backend_pid()) + ")");
  EXPECT_TRUE(test::eventually([&] { return !session->quiet(); }));
  EXPECT_FALSE(session->ping(soon()));
  EXPECT_FALSE(session->usable());
  EXPECT_EQ(session->status(), transaction_status::unknown);
}

TEST_F(connection_test, a_lost_link_names_the_server_and_the_query) {
  test::tcp_proxy link{options_};
  const auto session = test::connect(link.options());
  link.cut();
  ASSERT_TRUE(test::eventually([&] { return !session->quiet(); }));
  const auto e = caught<connection_error>([&] {
    session->run(
        {.name = "test.read", .sql = "SELECT 1", .access = access::read_only, .until = soon()});
  });
  EXPECT_EQ(e.code(), errc::lost);
  EXPECT_TRUE(e.retryable());
  EXPECT_FALSE(e.connection_usable());
  EXPECT_THAT(e.what(), AllOf(HasSubstr("127.0.0.1:" + std::to_string(link.options().port)),
                              HasSubstr("test.read"), Not(HasSubstr("\\x0a"))));
}

TEST_F(connection_test, a_read_under_a_terminated_backend_is_lost_with_its_sqlstate) {
  const auto session = connect();
  const std::jthread terminator{[&, pid = session->backend_pid()] {
    if (sleeps(pid)) execute("SELECT pg_terminate_backend(" + std::to_string(pid) + ")");
  }};
  const auto e = caught<connection_error>([&] {
    session->run(
        {.name = {}, .sql = "SELECT pg_sleep(60)", .access = access::read_only, .until = soon()});
  });
  EXPECT_EQ(e.code(), errc::lost);
  EXPECT_EQ(e.sqlstate(), "57P01");
}

TEST_F(connection_test, a_write_whose_end_the_server_announced_is_lost_and_not_in_doubt) {
  const auto session = connect();
  const std::jthread terminator{[&, pid = session->backend_pid()] {
    if (sleeps(pid)) execute("SELECT pg_terminate_backend(" + std::to_string(pid) + ")");
  }};
  const auto e = caught<connection_error>(
      [&] { session->run({.name = {}, .sql = "SELECT pg_sleep(60)", .until = soon()}); });
  EXPECT_EQ(e.code(), errc::lost);
  EXPECT_EQ(e.sent(), sent::maybe);
}

TEST_F(connection_test, a_closed_session_sends_nothing) {
  const auto session = connect();
  session->abort();
  const auto e = caught<connection_error>(
      [&] { session->run({.name = {}, .sql = "SELECT 1", .until = soon()}); });
  EXPECT_EQ(e.code(), errc::lost);
  EXPECT_EQ(e.sent(), sent::no);
}

TEST_F(connection_test, a_write_on_a_read_only_server_is_a_demoted_primary) {
  execute("ALTER DATABASE " + options_.name + " SET default_transaction_read_only = on");
  const auto session = connect();
  const auto e = caught<connection_error>(
      [&] { session->run({.name = {}, .sql = "CREATE TABLE t ()", .until = soon()}); });
  EXPECT_EQ(e.code(), errc::demoted_primary);
  EXPECT_EQ(e.sqlstate(), "25006");
  EXPECT_EQ(e.sent(), sent::yes);
  EXPECT_FALSE(session->usable());
}

TEST_F(connection_test, a_write_in_a_read_only_transaction_is_an_ordinary_error) {
  const auto session = connect();
  session->command("BEGIN READ ONLY", soon());
  const auto e = caught<query_error>(
      [&] { session->run({.name = {}, .sql = "CREATE TABLE t ()", .until = soon()}); });
  EXPECT_EQ(e.sqlstate(), "25006");
  EXPECT_TRUE(session->usable());
}

// Connecting

connection_error connect_failure_of(const database_options& options,
                                    deadline until = deadline::in(10s)) {
  return caught<connection_error>(
      [&] { driver::connection::open(session_conninfo(options), until); });
}

TEST_F(connection_test, a_port_where_nobody_listens_is_refused) {
  auto nobody = options_;
  {
    const test::tcp_proxy link{options_};
    nobody = link.options();
  }
  const auto e = connect_failure_of(nobody);
  EXPECT_EQ(e.code(), errc::refused);
  EXPECT_EQ(e.sent(), sent::no);
  EXPECT_TRUE(e.retryable());
  EXPECT_THAT(e.what(), AllOf(HasSubstr("127.0.0.1:" + std::to_string(nobody.port)),
                              HasSubstr("DATABASE_PORT")));
}

TEST_F(connection_test, the_next_host_is_tried_when_one_refuses) {
  auto two = options_;
  const auto gone = two.host + "/gone";
  two.host = gone + "," + options_.host;
  EXPECT_TRUE(test::connect(two)->usable());
}

TEST_F(connection_test, an_unknown_database_is_a_matter_of_configuration) {
  auto unknown = options_;
  unknown.name = "no_such_database";
  const auto e = connect_failure_of(unknown);
  EXPECT_EQ(e.code(), errc::configuration);
  EXPECT_EQ(e.sqlstate(), "3D000");
  EXPECT_FALSE(e.retryable());
  EXPECT_THAT(e.what(), AllOf(HasSubstr("no_such_database"), HasSubstr("DATABASE_NAME")));
}

TEST_F(connection_test, an_unknown_keyword_is_a_matter_of_configuration) {
  auto wrong = options_;
  wrong.parameters["no_such_keyword"] = "1";
  const auto e = connect_failure_of(wrong);
  EXPECT_EQ(e.code(), errc::configuration);
  EXPECT_THAT(e.what(), HasSubstr("no_such_keyword"));
}

TEST_F(connection_test, an_unknown_setting_is_a_matter_of_configuration) {
  auto where = session_conninfo(options_);
  where.settings["no_such_setting"] = "1";
  const auto e = caught<connection_error>([&] { driver::connection::open(where, soon()); });
  EXPECT_EQ(e.code(), errc::configuration);
  EXPECT_EQ(e.sqlstate(), "42704");
}

TEST_F(connection_test, a_role_without_a_free_slot_is_too_many_connections) {
  execute("CREATE ROLE crowded LOGIN CONNECTION LIMIT 0");
  auto crowded = options_;
  crowded.user = "crowded";
  const auto e = connect_failure_of(crowded);
  EXPECT_EQ(e.code(), errc::too_many_connections);
  EXPECT_EQ(e.sqlstate(), "53300");
  EXPECT_TRUE(e.retryable());
}

TEST_F(connection_test, an_unknown_role_is_a_matter_of_authentication) {
  auto nobody = options_;
  nobody.user = "no_such_role";
  const auto e = connect_failure_of(nobody);
  EXPECT_EQ(e.code(), errc::authentication);
  EXPECT_EQ(e.sqlstate(), "28000");
  EXPECT_THAT(e.what(), HasSubstr("no_such_role"));
}

TEST_F(connection_test, a_host_without_address_is_a_matter_of_names) {
  auto nowhere = options_;
  nowhere.host = "no-such-host.invalid";
  const auto began = deadline::clock::now();
  const auto e = connect_failure_of(nowhere, deadline::in(2s));
  EXPECT_LT(deadline::clock::now() - began, 2250ms);
  EXPECT_EQ(e.code(), errc::name_resolution);
  EXPECT_THAT(e.what(), HasSubstr("no-such-host.invalid"));
}

TEST(connection_password, is_in_no_message) {
  testing::private_postgres server{{.password = secret{"right-canary"}}};
  EXPECT_TRUE(test::connect(server.options())->usable());
  auto wrong = server.options();
  wrong.password = secret{"wrong-canary"};
  const auto refused = connect_failure_of(wrong);
  EXPECT_EQ(refused.code(), errc::authentication);
  EXPECT_EQ(refused.sqlstate(), "28P01");
  EXPECT_FALSE(refused.retryable());
  EXPECT_THAT(refused.what(), AllOf(HasSubstr("DATABASE_PASSWORD"), Not(HasSubstr("canary"))));
  wrong.password = secret{};
  const auto missing = connect_failure_of(wrong);
  EXPECT_EQ(missing.code(), errc::authentication);
  EXPECT_THAT(missing.what(), HasSubstr("password"));
}

}  // namespace
}  // namespace soundhash::db
