#include "migrate/statement_splitter.hpp"

#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <soundhash/db/core/error.hpp>

#include "migrate/concurrent_index.hpp"

namespace soundhash::db::migrate {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

std::vector<std::string> split(std::string_view text) {
  std::vector<std::string> texts;
  for (const auto& statement : split_statements(text)) texts.emplace_back(statement.text);
  return texts;
}

TEST(statement_splitter, cuts_at_semicolons_and_drops_empty_statements) {
  EXPECT_THAT(split(" SELECT 1 ;; SELECT 2\n;\n;SELECT 3"),
              ElementsAre("SELECT 1", "SELECT 2", "SELECT 3"));
  EXPECT_THAT(split(""), IsEmpty());
  EXPECT_THAT(split("-- nothing\n/* at all; */ ;"), IsEmpty());
}

TEST(statement_splitter, keeps_semicolons_in_quotes) {
  EXPECT_THAT(split("SELECT ';', 'it''s;', \"a;\"\";b\"; SELECT 2"),
              ElementsAre("SELECT ';', 'it''s;', \"a;\"\";b\"", "SELECT 2"));
}

TEST(statement_splitter, knows_backslashes_in_escape_strings_only) {
  EXPECT_THAT(split(R"(SELECT E'a\';b'; SELECT 2)"), ElementsAre(R"(SELECT E'a\';b')", "SELECT 2"));
  EXPECT_THAT(split(R"(SELECT 'a\'; SELECT 2)"), ElementsAre(R"(SELECT 'a\')", "SELECT 2"));
  EXPECT_THAT(split(R"(SELECT some'a\'; SELECT 2)"), ElementsAre(R"(SELECT some'a\')", "SELECT 2"));
}

TEST(statement_splitter, keeps_semicolons_in_dollar_quotes) {
  EXPECT_THAT(split("DO $$ BEGIN; END $$; SELECT $x$ a;$$;b $x$; SELECT $1; SELECT a$b$c;SELECT 4"),
              ElementsAre("DO $$ BEGIN; END $$", "SELECT $x$ a;$$;b $x$", "SELECT $1",
                          "SELECT a$b$c", "SELECT 4"));
}

TEST(statement_splitter, skips_comments_also_nested) {
  EXPECT_THAT(split("SELECT 1 -- a; b\n; /* x; /* y; */ z; */ SELECT /* ; */ 2;"),
              ElementsAre("SELECT 1", "SELECT /* ; */ 2"));
}

TEST(statement_splitter, keeps_bodies_of_standard_functions_together) {
  const std::string function =
      "CREATE OR REPLACE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT CASE WHEN true THEN 1 END; "
      "SELECT 2; END";
  EXPECT_THAT(split(function + "; SELECT 3;"), ElementsAre(function, "SELECT 3"));
}

TEST(statement_splitter, does_not_take_begin_elsewhere_for_a_body) {
  EXPECT_THAT(split("BEGIN; SELECT 1; COMMIT"), ElementsAre("BEGIN", "SELECT 1", "COMMIT"));
}

TEST(statement_splitter, keeps_rules_together) {
  const std::string rule = "CREATE RULE r AS ON INSERT TO t DO ALSO (DELETE FROM a; DELETE FROM b)";
  EXPECT_THAT(split(rule + "; SELECT 1"), ElementsAre(rule, "SELECT 1"));
}

TEST(statement_splitter, tells_the_line) {
  const auto statements = split_statements("-- one\nSELECT 1;\n\n  SELECT\n2;");
  ASSERT_EQ(statements.size(), 2U);
  EXPECT_EQ(statements[0].line, 2U);
  EXPECT_EQ(statements[1].line, 4U);
}

TEST(statement_splitter, refuses_what_is_never_closed) {
  for (const auto* text : {"SELECT 1;\nSELECT 'a", "\nSELECT \"a", "\n/* /* */", "\nDO $a$ b $$"}) {
    try {
      split(text);
      FAIL() << text;
    } catch (const migration_error& e) {
      EXPECT_THAT(e.what(), HasSubstr("line 2: ")) << text;
      EXPECT_EQ(e.code(), errc::migration_failed);
    }
  }
}

std::optional<concurrent_index> parse(std::string_view text) {
  return parse_concurrent_index(split_statements(text).at(0));
}

TEST(concurrent_index, reads_create_index) {
  const auto parsed = parse(
      "create unique index concurrently if not exists \"My i\" on only public . videos using btree "
      "(a) where b = ';'");
  ASSERT_TRUE(parsed);
  EXPECT_EQ(parsed->what, concurrent_index::action::create);
  EXPECT_TRUE(parsed->unique);
  EXPECT_EQ(parsed->name, "\"My i\"");
  EXPECT_EQ(parsed->table, "public . videos");
  EXPECT_EQ(parsed->definition, "using btree (a) where b = ';'");
}

TEST(concurrent_index, reads_drop_index) {
  const auto parsed = parse("DROP INDEX CONCURRENTLY IF EXISTS public.i");
  ASSERT_TRUE(parsed);
  EXPECT_EQ(parsed->what, concurrent_index::action::drop);
  EXPECT_EQ(parsed->name, "public.i");
}

TEST(concurrent_index, leaves_other_statements_alone) {
  EXPECT_FALSE(parse("CREATE INDEX i ON t (a)"));
  EXPECT_FALSE(parse("CREATE INDEX CONCURRENTLY ON t (a)"));
  EXPECT_FALSE(parse("DROP INDEX i"));
  EXPECT_FALSE(parse("REINDEX INDEX CONCURRENTLY i"));
}

}  // namespace
}  // namespace soundhash::db::migrate
