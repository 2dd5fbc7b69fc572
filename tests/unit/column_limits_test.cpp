#include "repository/column_limits.hpp"

#include <cmath>
#include <limits>
#include <string>

#include <gtest/gtest.h>

#include <soundhash/db/core/error.hpp>

namespace soundhash::db::limits {
namespace {

constexpr text_column title{"title", 5};

TEST(utf8_length, counts_characters_and_not_bytes) {
  EXPECT_EQ(utf8_length(""), 0U);
  EXPECT_EQ(utf8_length("abc"), 3U);
  EXPECT_EQ(utf8_length("\u00e9\u20ac\U0001F3B5"), 3U);
}

TEST(utf8_length, accepts_the_borders_of_each_range) {
  for (const char* text : {"\xC2\x80", "\xDF\xBF", "\xE0\xA0\x80", "\xED\x9F\xBF", "\xEE\x80\x80",
                           "\xEF\xBF\xBF", "\xF0\x90\x80\x80", "\xF4\x8F\xBF\xBF"}) {
    EXPECT_EQ(utf8_length(text), 1U) << text;
  }
}

TEST(utf8_length, refuses_what_is_not_utf8) {
  for (const char* text : {"\x80",              // continuation without lead
                           "\xC3",              // cut off
                           "\xE2\x82",          // cut off
                           "\xC0\xAF",          // overlong
                           "\xE0\x9F\xBF",      // overlong
                           "\xF0\x8F\xBF\xBF",  // overlong
                           "\xED\xA0\x80",      // surrogate
                           "\xF4\x90\x80\x80",  // above U+10FFFF
                           "\xF5\x80\x80\x80", "\xFF", "\xE2\x28\xA1", "\xE2\x82\x28"}) {
    EXPECT_EQ(utf8_length(text), std::nullopt) << text;
  }
}

TEST(column_limits, take_as_many_characters_as_the_column) {
  EXPECT_NO_THROW(check(title, "\u00e9\u00e9\u00e9\u00e9\u00e9"));
  EXPECT_THROW(check(title, "abcdef"), invalid_argument);
  EXPECT_NO_THROW(check({"description"}, std::string(100'000, 'x')));
}

TEST(column_limits, name_the_column_and_the_row) {
  try {
    check(title, "abcdef", 7);
    FAIL() << "nothing was thrown";
  } catch (const invalid_argument& refused) {
    EXPECT_EQ(refused.argument(), "title");
    EXPECT_EQ(refused.row(), 7U);
    EXPECT_EQ(refused.sent(), sent::no);
  }
}

TEST(column_limits, never_repeat_the_value) {
  try {
    check(title, "confidential");
    FAIL() << "nothing was thrown";
  } catch (const invalid_argument& refused) {
    EXPECT_EQ(std::string{refused.what()}.find("confidential"), std::string::npos);
  }
}

TEST(column_limits, refuse_nul_bytes) {
  EXPECT_THROW(check(title, std::string_view{"a\0b", 3}), invalid_argument);
}

TEST(column_limits, refuse_invalid_utf8) {
  EXPECT_THROW(check(title, "\xFF"), invalid_argument);
}

TEST(column_limits, pass_over_what_is_not_set) {
  EXPECT_NO_THROW(check_if_set(title, std::nullopt));
  EXPECT_THROW(check_if_set(title, std::string{"abcdef"}), invalid_argument);
}

TEST(column_limits, take_finite_numbers_only) {
  EXPECT_NO_THROW(check_finite("duration", -1.5));
  EXPECT_NO_THROW(check_finite("duration", std::nullopt));
  EXPECT_THROW(check_finite("duration", std::nan("")), invalid_argument);
  EXPECT_THROW(check_finite("duration", std::numeric_limits<double>::infinity()), invalid_argument);
}

TEST(column_limits, include_both_ends_of_a_range) {
  EXPECT_NO_THROW(check_range("progress", 0.0, 0.0, 1.0));
  EXPECT_NO_THROW(check_range("progress", 1.0, 0.0, 1.0));
  EXPECT_THROW(check_range("progress", 1.01, 0.0, 1.0), invalid_argument);
  EXPECT_THROW(check_range("progress", std::nan(""), 0.0, 1.0), invalid_argument);
  EXPECT_NO_THROW(check_at_least("n_fft", 1, 1));
  EXPECT_THROW(check_at_least("n_fft", 0, 1), invalid_argument);
}

TEST(column_limits, let_a_call_ask_for_1_to_10000_rows) {
  EXPECT_NO_THROW(check_limit(1));
  EXPECT_NO_THROW(check_limit(10'000));
  EXPECT_THROW(check_limit(0), invalid_argument);
  EXPECT_THROW(check_limit(10'001), invalid_argument);
  EXPECT_THROW(check_limit(-1), invalid_argument);
}

}  // namespace
}  // namespace soundhash::db::limits
