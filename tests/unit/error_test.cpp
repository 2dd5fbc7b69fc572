#include <chrono>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <soundhash/db/core/error.hpp>

namespace soundhash::db {
namespace {

using namespace std::chrono_literals;
using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

template <class E>
constexpr bool is_noexcept_copyable =
    std::is_nothrow_copy_constructible_v<E>&& std::is_nothrow_copy_assignable_v<E>;

static_assert(is_noexcept_copyable<connection_error>);
static_assert(is_noexcept_copyable<pool_error>);
static_assert(is_noexcept_copyable<timeout_error>);
static_assert(is_noexcept_copyable<query_error>);
static_assert(is_noexcept_copyable<constraint_violation>);
static_assert(is_noexcept_copyable<transaction_error>);
static_assert(is_noexcept_copyable<commit_in_doubt>);
static_assert(is_noexcept_copyable<decode_error>);
static_assert(is_noexcept_copyable<invalid_argument>);
static_assert(is_noexcept_copyable<cardinality_error>);
static_assert(is_noexcept_copyable<cancelled>);
static_assert(is_noexcept_copyable<config_error>);
static_assert(is_noexcept_copyable<migration_error>);

TEST(errc, every_code_has_a_name_of_its_own) {
  std::set<std::string_view> names;
  const int last = static_cast<int>(errc::migration_mismatch);
  for (int code = 0; code <= last; ++code) names.insert(to_string(static_cast<errc>(code)));
  EXPECT_EQ(names.size(), static_cast<std::size_t>(last) + 1);
  EXPECT_FALSE(names.contains("unknown"));
  EXPECT_EQ(to_string(static_cast<errc>(last + 1)), "unknown");
}

TEST(errc, names_are_those_of_the_enumerators) {
  for (const auto& [code, name] : {std::pair{errc::refused, "refused"},
                                   {errc::authentication, "authentication"},
                                   {errc::lost, "lost"},
                                   {errc::pool_timeout, "pool_timeout"},
                                   {errc::deadline_exceeded, "deadline_exceeded"},
                                   {errc::statement_timeout, "statement_timeout"},
                                   {errc::statement_deadline, "statement_deadline"},
                                   {errc::query_cancelled, "query_cancelled"},
                                   {errc::constraint, "constraint"},
                                   {errc::rolled_back, "rolled_back"},
                                   {errc::unannounced, "unannounced"},
                                   {errc::commit_in_doubt, "commit_in_doubt"},
                                   {errc::several_rows, "several_rows"},
                                   {errc::migration_mismatch, "migration_mismatch"}}) {
    EXPECT_EQ(to_string(code), name);
  }
}

TEST(sent, has_names) {
  EXPECT_EQ(to_string(sent::no), "no");
  EXPECT_EQ(to_string(sent::maybe), "maybe");
  EXPECT_EQ(to_string(sent::yes), "yes");
}

TEST(error, carries_its_details_through_copies) {
  auto original =
      std::make_unique<query_error>("what and where", error_details{.code = errc::server_error,
                                                                    .sent = sent::yes,
                                                                    .retryable = true,
                                                                    .connection_usable = false,
                                                                    .sqlstate = "42P01",
                                                                    .query_name = "tag.find",
                                                                    .constraint = {}});
  const error copy = *original;
  original.reset();
  EXPECT_STREQ(copy.what(), "what and where");
  EXPECT_EQ(copy.code(), errc::server_error);
  EXPECT_EQ(copy.sent(), sent::yes);
  EXPECT_TRUE(copy.retryable());
  EXPECT_FALSE(copy.connection_usable());
  EXPECT_EQ(copy.sqlstate(), "42P01");
  EXPECT_EQ(copy.query_name(), "tag.find");
}

TEST(constraint_violation, tells_the_kind_by_sqlstate) {
  for (const auto& [state, kind] : {std::pair{"23505", constraint_kind::unique},
                                    {"23503", constraint_kind::foreign_key},
                                    {"23502", constraint_kind::not_null},
                                    {"23514", constraint_kind::check},
                                    {"23P01", constraint_kind::exclusion},
                                    {"23001", constraint_kind::other}}) {
    const constraint_violation e{"m",
                                 {.code = errc::constraint, .sqlstate = state, .constraint = "c"}};
    EXPECT_EQ(e.kind(), kind) << state;
    EXPECT_EQ(e.constraint(), "c");
  }
}

TEST(commit_in_doubt, asks_its_resolver_and_never_guesses) {
  std::chrono::milliseconds asked{};
  const commit_in_doubt tracked{"m",
                                {.code = errc::commit_in_doubt},
                                {.backend_pid = 4711, .transaction_id = "815"},
                                [&](std::chrono::milliseconds limit) {
                                  asked = limit;
                                  return commit_outcome::committed;
                                }};
  const auto copy = tracked;
  EXPECT_EQ(copy.backend_pid(), 4711);
  EXPECT_EQ(copy.transaction_id(), "815");
  EXPECT_EQ(copy.resolve(250ms), commit_outcome::committed);
  EXPECT_EQ(asked, 250ms);
  const commit_in_doubt untracked{"m", {.code = errc::commit_in_doubt}};
  EXPECT_EQ(untracked.resolve(250ms), commit_outcome::unknown);
  EXPECT_EQ(untracked.backend_pid(), 0);
  EXPECT_EQ(untracked.transaction_id(), "");
}

TEST(cardinality_error, tells_none_from_several) {
  const cardinality_error none{"tag.find", 0};
  EXPECT_EQ(none.code(), errc::no_row);
  EXPECT_THAT(none.what(), HasSubstr("\"tag.find\" returned no row"));
  const cardinality_error several{"tag.find", 3};
  EXPECT_EQ(several.code(), errc::several_rows);
  EXPECT_THAT(several.what(), HasSubstr("3 rows"));
  EXPECT_EQ(several.sent(), sent::yes);
}

TEST(invalid_argument, names_argument_and_row) {
  const invalid_argument e{"title", "is too long", 17};
  EXPECT_EQ(e.argument(), "title");
  EXPECT_EQ(e.row(), 17U);
  EXPECT_EQ(e.sent(), sent::no);
  EXPECT_STREQ(e.what(), "title of row 17: is too long");
}

TEST(config_error, names_variable_problem_and_accepted_form) {
  const config_error e{"DATABASE_PORT", "is not a number", "1 to 65535"};
  EXPECT_EQ(e.variable(), "DATABASE_PORT");
  EXPECT_EQ(e.code(), errc::configuration);
  EXPECT_STREQ(e.what(), "DATABASE_PORT: is not a number; accepted: 1 to 65535");
}

TEST(sanitize, escapes_control_characters_and_keeps_the_rest) {
  EXPECT_EQ(sanitize("a\nb\r\x1b[31m\x7f\t"), "a\\x0ab\\x0d\\x1b[31m\\x7f\\x09");
  EXPECT_EQ(sanitize(std::string_view{"a\0b", 3}), "a\\x00b");
  EXPECT_EQ(sanitize("Größe"), "Größe");
}

TEST(sanitize, cuts_after_the_cap) {
  EXPECT_EQ(sanitize("abcdef", 6), "abcdef");
  EXPECT_EQ(sanitize("abcdefg", 6), "abcdef…");
  EXPECT_EQ(sanitize("abc", 0), "…");
  EXPECT_EQ(sanitize("", 0), "");
}

TEST(sanitize, never_cuts_a_character_in_two) {
  // "ö" has two bytes: the cap falls between them.
  const auto cut = sanitize("aöb", 2);
  EXPECT_THAT(cut, AllOf(HasSubstr("…"), Not(HasSubstr("\xc3…"))));
}

}  // namespace
}  // namespace soundhash::db
