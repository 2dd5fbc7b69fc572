#include "repository/list_cursor.hpp"

#include <cstdint>
#include <limits>
#include <optional>
#include <set>
#include <string>
#include <tuple>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <soundhash/db/core/error.hpp>
#include <soundhash/db/core/timestamp.hpp>

namespace soundhash::db {
namespace {

constexpr std::string_view alphabet =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

const list_scope list{"test.list", 7, "hash"};
const timestamp some_time{std::chrono::microseconds{1'700'000'000'123'456}};

TEST(list_cursor_test, gives_back_the_keys_of_its_row) {
  const auto at = list.at(std::optional{some_time}, 0.1, -5);
  EXPECT_FALSE(at.at_start());
  EXPECT_EQ((list.open<std::optional<timestamp>, double, std::int32_t>(at)),
            (std::tuple{std::optional{some_time}, 0.1, -5}));
}

TEST(list_cursor_test, a_key_may_be_null) {
  const auto at = list.at(std::optional<timestamp>{}, std::numeric_limits<std::int32_t>::max());
  EXPECT_EQ((list.open<std::optional<timestamp>, std::int32_t>(at)),
            (std::tuple{std::optional<timestamp>{}, std::numeric_limits<std::int32_t>::max()}));
}

TEST(list_cursor_test, the_beginning_has_no_keys) {
  EXPECT_FALSE(list.open<std::int32_t>(cursor{}));
  EXPECT_FALSE(list.open<std::int32_t>(cursor{""}));
  EXPECT_EQ(list.id_after(cursor{}), 0);
}

TEST(list_cursor_test, is_a_text_for_urls) {
  const auto text = list.at(some_time, -5).text();
  EXPECT_EQ(text.find_first_not_of(alphabet), std::string::npos) << text;
  EXPECT_EQ(list.id_after(cursor{list.at(9).text()}), 9);
}

TEST(list_cursor_test, every_changed_character_is_noticed) {
  const auto text = list.at(some_time, -5).text();
  for (std::size_t i = 0; i < text.size(); ++i) {
    for (const char c : alphabet) {
      if (c == text[i]) continue;
      auto changed = text;
      changed[i] = c;
      EXPECT_THROW((void)(list.open<timestamp, std::int32_t>(cursor{changed})), invalid_argument)
          << changed;
    }
  }
}

TEST(list_cursor_test, what_is_no_cursor_is_refused) {
  const auto text = list.at(some_time, -5).text();
  for (const auto& wrong : {text.substr(1), text.substr(0, text.size() - 1), text + "A", "=" + text,
                            std::string{"x"}, std::string{"' OR 1"}, std::string(100'000, 'A')}) {
    try {
      (void)list.open<timestamp, std::int32_t>(cursor{wrong});
      ADD_FAILURE() << wrong;
    } catch (const invalid_argument& e) {
      EXPECT_EQ(e.argument(), "after");
      EXPECT_EQ(e.sent(), sent::no);
    }
  }
}

TEST(list_cursor_test, other_keys_than_the_lists_are_refused) {
  EXPECT_THROW((void)list.open<std::int32_t>(list.at(some_time)), invalid_argument);
  EXPECT_THROW((void)list.open<std::int32_t>(list.at(1, 2)), invalid_argument);
  EXPECT_THROW((void)(list.open<std::int32_t, std::int32_t>(list.at(1))), invalid_argument);
  EXPECT_THROW((void)list.open<std::int32_t>(list.at(std::optional<std::int32_t>{})),
               invalid_argument);
}

TEST(list_cursor_test, belongs_to_the_list_and_its_arguments) {
  const auto at = list.at(9);
  for (const auto& other : {list_scope{"test.other", 7, "hash"}, list_scope{"test.list", 8, "hash"},
                            list_scope{"test.list", 7, "hast"}, list_scope{"test.list", 7},
                            list_scope{"test.list", 7, "has", "h"}}) {
    EXPECT_THROW((void)other.id_after(at), invalid_argument);
  }
  EXPECT_EQ((list_scope{"test.list", 7, std::string{"hash"}}.id_after(at)), 9);
}

TEST(list_cursor_test, an_argument_may_be_a_list) {
  using texts = std::vector<std::string>;
  const auto at = list_scope{"test.list", texts{"ab", "c"}}.at(9);
  for (const auto& other : {texts{}, texts{"ab"}, texts{"a", "bc"}, texts{"ab", "c", ""}}) {
    EXPECT_THROW((void)(list_scope{"test.list", other}.id_after(at)), invalid_argument);
  }
  EXPECT_EQ((list_scope{"test.list", texts{"ab", "c"}}.id_after(at)), 9);
}

TEST(list_cursor_test, a_page_goes_on_when_it_is_full) {
  const auto at = [](int last) { return list.at(last); };
  const auto full = page_of(std::vector{1, 2, 3}, 3, at);
  ASSERT_TRUE(full.next);
  EXPECT_EQ(list.id_after(*full.next), 3);
  EXPECT_EQ(full.size(), 3U);
  EXPECT_FALSE(page_of(std::vector{1, 2}, 3, at).next);
  EXPECT_FALSE(page_of(std::vector<int>{}, 3, at).next);
}

}  // namespace
}  // namespace soundhash::db
