#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <gtest/gtest.h>

#include <soundhash/db/core/error.hpp>
#include <soundhash/db/core/param.hpp>

namespace soundhash::db {
namespace {

std::string_view text(const params& values, std::size_t i) {
  return {values[i].data, values[i].size};
}

TEST(params, scalars_travel_as_terminated_text) {
  const params values{true,
                      std::int16_t{-7},
                      42,
                      std::int64_t{1} << 40,
                      0.5,
                      "literal",
                      std::string{"string"},
                      std::string_view{"view"}};
  ASSERT_EQ(values.size(), 8U);
  constexpr std::array expected{"t",   "-7",      "42",     "1099511627776",
                                "0.5", "literal", "string", "view"};
  for (std::size_t i = 0; i < expected.size(); ++i) {
    EXPECT_FALSE(values[i].binary) << i;
    EXPECT_EQ(text(values, i), expected[i]);
    EXPECT_EQ(values[i].data[values[i].size], '\0') << i;
  }
}

TEST(params, null_has_no_data) {
  const params values{std::optional<int>{}, std::optional<std::string>{"there"},
                      std::optional<bytes>{}};
  ASSERT_EQ(values.size(), 3U);
  EXPECT_EQ(values[0].data, nullptr);
  EXPECT_EQ(text(values, 1), "there");
  EXPECT_EQ(values[2].data, nullptr);
}

TEST(params, an_empty_text_is_not_null) {
  const params values{""};
  EXPECT_NE(values[0].data, nullptr);
  EXPECT_EQ(values[0].size, 0U);
}

TEST(params, bytes_and_arrays_travel_in_binary) {
  const bytes raw{std::byte{0}, std::byte{1}};
  const std::vector<std::int32_t> ids{1, 2};
  const params values{raw, ids, std::span<const std::int32_t>{ids}};
  EXPECT_TRUE(values[0].binary);
  EXPECT_EQ(text(values, 0), std::string_view("\0\1", 2));
  EXPECT_TRUE(values[1].binary);
  EXPECT_EQ(text(values, 1), text(values, 2));
  EXPECT_EQ(values[1].size, 5U * 4 + 2 * 8);
}

TEST(params, a_text_with_a_nul_is_refused_by_position) {
  const std::string bad("ab\0cd", 5);
  try {
    const params values{1, "fine", bad};
    FAIL() << "accepted";
  } catch (const invalid_argument& e) {
    EXPECT_EQ(e.argument(), "$3");
    EXPECT_EQ(e.code(), errc::invalid_argument);
    EXPECT_EQ(e.sent(), sent::no);
    EXPECT_EQ(std::string_view{e.what()}.find("ab"), std::string_view::npos) << e.what();
  }
}

TEST(params, a_refused_value_leaves_the_others_as_they_were) {
  params values{1};
  EXPECT_THROW(values.append(std::string(1, '\0')), invalid_argument);
  values.append("two");
  ASSERT_EQ(values.size(), 2U);
  EXPECT_EQ(text(values, 0), "1");
  EXPECT_EQ(text(values, 1), "two");
}

TEST(params, keeps_its_own_copy) {
  std::string value = "before";
  const params values{value};
  value = "after!";
  EXPECT_EQ(text(values, 0), "before");
}

}  // namespace
}  // namespace soundhash::db
