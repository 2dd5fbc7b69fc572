#include "driver/server_error.hpp"

#include <chrono>
#include <ostream>
#include <string>
#include <string_view>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <soundhash/db/core/error.hpp>

#include "support/caught.hpp"
#include "support/sql.hpp"
#include "support/test_database.hpp"

namespace soundhash::db {
namespace {

using namespace std::chrono_literals;
using test::caught;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

deadline soon() {
  return deadline::in(30s);
}

/// A row of the table in error.hpp that the server can cause in a living session.
struct server_case {
  std::string sqlstate;
  errc code;
  bool retryable;
};

void PrintTo(const server_case& row, std::ostream* out) {
  *out << row.sqlstate << " as " << to_string(row.code);
}

/// One database for all tests: none leaves anything behind.
const database_options& shared_database() {
  static const auto options = test::empty_database_options();
  return options;
}

class server_error_test : public ::testing::TestWithParam<server_case> {
 protected:
  /// Raises the SQLSTATE with everything that a server can send along.
  void raise() const {
    const std::string sql = "DO $$ BEGIN RAISE EXCEPTION 'canary words' USING ERRCODE = '" +
                            GetParam().sqlstate +
                            "', CONSTRAINT = 'the_constraint', DETAIL = 'Key (id)=(canary)', "
                            "HINT = 'canary'; END $$";
    session_->run({.name = "test.raise", .sql = sql, .until = {}});
  }

  template <class E>
  void expect_thrown() const {
    const auto e = caught<E>([&] { raise(); });
    EXPECT_EQ(e.code(), GetParam().code);
    EXPECT_EQ(e.sent(), sent::yes);
    EXPECT_EQ(e.retryable(), GetParam().retryable);
    EXPECT_TRUE(e.connection_usable());
    EXPECT_EQ(e.sqlstate(), GetParam().sqlstate);
    EXPECT_EQ(e.query_name(), "test.raise");
    EXPECT_THAT(e.what(), AllOf(HasSubstr("test.raise"), HasSubstr(GetParam().sqlstate),
                                HasSubstr("raised by a function"), Not(HasSubstr("canary"))));
    EXPECT_TRUE(session_->usable());
  }

  std::unique_ptr<driver::connection> session_ = test::connect(shared_database());
};

TEST_P(server_error_test, has_the_type_and_code_of_the_table) {
  switch (GetParam().code) {
    case errc::constraint:
      return expect_thrown<constraint_violation>();
    case errc::serialization:
    case errc::deadlock:
      return expect_thrown<transaction_error>();
    default:
      return expect_thrown<query_error>();
  }
}

INSTANTIATE_TEST_SUITE_P(
    table, server_error_test,
    ::testing::Values(server_case{"23505", errc::constraint, false},
                      server_case{"23503", errc::constraint, false},
                      server_case{"23502", errc::constraint, false},
                      server_case{"23514", errc::constraint, false},
                      server_case{"23P01", errc::constraint, false},
                      server_case{"23001", errc::constraint, false},
                      server_case{"40001", errc::serialization, true},
                      server_case{"40P01", errc::deadlock, true},
                      server_case{"57014", errc::query_cancelled, false},
                      server_case{"25006", errc::server_error, false},
                      // As severity ERROR these end no session, whatever their class.
                      server_case{"53300", errc::server_error, false},
                      server_case{"57P01", errc::server_error, false},
                      server_case{"57P03", errc::server_error, false},
                      server_case{"08006", errc::server_error, false},
                      server_case{"28P01", errc::server_error, false},
                      server_case{"26000", errc::server_error, false},
                      server_case{"0A000", errc::server_error, false},
                      server_case{"40003", errc::server_error, false},
                      server_case{"42P01", errc::server_error, false},
                      server_case{"55P03", errc::server_error, false},
                      server_case{"P0001", errc::server_error, false},
                      server_case{"XX000", errc::server_error, false}),
    [](const auto& tested) { return "sqlstate_" + tested.param.sqlstate; });

/// Violations of real constraints, each with a bound value that must not show.
class constraint_test : public ::testing::Test {
 protected:
  constraint_test() {
    session_->command(
        "CREATE TEMP TABLE parents (name text CONSTRAINT parents_name PRIMARY KEY);"
        "CREATE TEMP TABLE children ("
        "  parent text CONSTRAINT children_parent REFERENCES parents,"
        "  required text NOT NULL,"
        "  short text CONSTRAINT children_short CHECK (length(short) < 3),"
        "  lonely text, CONSTRAINT children_lonely EXCLUDE (lonely WITH =));"
        "INSERT INTO parents VALUES ('canary');"
        "INSERT INTO children VALUES (NULL, '', NULL, 'canary')",
        soon());
  }

  constraint_violation violate(std::string_view sql, const params& values = {"canary"}) {
    return caught<constraint_violation>([&] {
      session_->run({.name = "test.violate", .sql = sql, .values = &values, .until = {}});
    });
  }

  static void expect(const constraint_violation& e, constraint_kind kind, std::string_view name) {
    EXPECT_EQ(e.kind(), kind);
    EXPECT_EQ(e.constraint(), name);
    EXPECT_EQ(e.code(), errc::constraint);
    EXPECT_THAT(e.what(), AllOf(HasSubstr("test.violate"), Not(HasSubstr("canary"))));
  }

  std::unique_ptr<driver::connection> session_ = test::connect(shared_database());
};

TEST_F(constraint_test, unique) {
  expect(violate("INSERT INTO parents VALUES ($1)"), constraint_kind::unique, "parents_name");
}
TEST_F(constraint_test, foreign_key) {
  expect(violate("INSERT INTO children VALUES ($1 || '2', '')"), constraint_kind::foreign_key,
         "children_parent");
}
TEST_F(constraint_test, not_null_names_the_column) {
  expect(violate("INSERT INTO children VALUES ($1, NULL)"), constraint_kind::not_null, "required");
}
TEST_F(constraint_test, check) {
  expect(violate("INSERT INTO children VALUES (NULL, '', $1)"), constraint_kind::check,
         "children_short");
}
TEST_F(constraint_test, exclusion) {
  expect(violate("INSERT INTO children VALUES (NULL, '', NULL, $1)"), constraint_kind::exclusion,
         "children_lonely");
}

/// Errors whose primary message repeats the value.
class quoted_value : public ::testing::TestWithParam<std::string_view> {};

TEST_P(quoted_value, is_in_no_message) {
  const auto session = test::connect(shared_database());
  const params values{"canary"};
  const auto e = caught<query_error>([&] {
    session->run({.name = "test.quote", .sql = GetParam(), .values = &values, .until = {}});
  });
  EXPECT_THAT(e.what(), Not(HasSubstr("canary")));
  EXPECT_TRUE(session->usable());
}

INSTANTIATE_TEST_SUITE_P(statements, quoted_value,
                         ::testing::Values("SELECT ($1::text)::int", "SELECT $1::int",
                                           "SELECT $1::timestamp", "SELECT ($1::text)::jsonb",
                                           "SELECT ($1::text)::uuid", "SELECT ($1::text)::int[]",
                                           "SELECT ($1::text)::inet", "SELECT to_date($1, 'YYYY')",
                                           "SELECT set_config('work_mem', $1, true)",
                                           "SELECT to_tsquery($1 || ' (')",
                                           "SELECT ($1::text)::regclass"));

TEST(server_error, a_failed_assertion_does_not_show_its_text) {
  const auto session = test::connect(shared_database());
  const auto e = caught<query_error>(
      [&] { session->command("DO $$ BEGIN ASSERT false, 'canary'; END $$", soon()); });
  EXPECT_EQ(e.sqlstate(), "P0004");
  EXPECT_THAT(e.what(), Not(HasSubstr("canary")));
}

TEST(server_error, numbers_in_data_errors_are_not_shown) {
  const auto session = test::connect(shared_database());
  const params values{1987654321};
  const auto e = caught<query_error>([&] {
    session->run(
        {.name = "test.chr", .sql = "SELECT chr($1::int)", .values = &values, .until = {}});
  });
  EXPECT_THAT(e.what(), Not(HasSubstr("1987654321")));
}

TEST(server_error, says_which_identifier_a_statement_got_wrong) {
  const auto session = test::connect(shared_database());
  const auto e = caught<query_error>(
      [&] { session->run({.name = "test.typo", .sql = "SELECT * FROM vidoes", .until = {}}); });
  EXPECT_THAT(e.what(), HasSubstr("relation \"vidoes\" does not exist"));
}

TEST(server_error, text_of_the_server_cannot_forge_a_log_line_and_is_capped) {
  const auto session = test::connect(shared_database());
  const auto e = caught<query_error>(
      [&] { session->command("SELECT 'two\nlines" + std::string(5000, 'x') + "'::int", soon()); });
  const std::string_view message = e.what();
  EXPECT_THAT(std::string{message}, HasSubstr("two\\x0alines"));
  EXPECT_LT(message.size(), 700U);
}

TEST(server_error, several_rows_of_one_command_stop_at_the_first_error) {
  const auto session = test::connect(shared_database());
  const auto e = caught<query_error>(
      [&] { session->command("SELECT 1; SELECT 1 / 0; SELECT no_such_column", soon()); });
  EXPECT_EQ(e.sqlstate(), "22012");
}

}  // namespace
}  // namespace soundhash::db
