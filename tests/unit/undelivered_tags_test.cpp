#include "cache/undelivered_tags.hpp"

#include <string>
#include <string_view>
#include <vector>

#include <gtest/gtest.h>

namespace soundhash::db {
namespace {

bool holds(const undelivered_tags& those, std::string_view tag) {
  return those.hold({&tag, 1});
}

tag_order drop(std::string tag) {
  return {std::move(tag), tag_act::drop, 0};
}

TEST(undelivered_tags, hold_a_tag_until_it_is_delivered) {
  undelivered_tags those;
  EXPECT_TRUE(those.empty());
  EXPECT_FALSE(holds(those, "a"));
  const auto sent = those.add({drop("a"), drop("c")});
  EXPECT_FALSE(those.empty());
  EXPECT_TRUE(holds(those, "a"));
  EXPECT_FALSE(holds(those, "b"));
  EXPECT_TRUE(holds(those, "c"));
  those.delivered(sent);
  EXPECT_TRUE(those.empty());
  EXPECT_FALSE(holds(those, "a"));
}

TEST(undelivered_tags, hand_out_what_failed_once_until_it_fails_again) {
  undelivered_tags those;
  const auto sent = those.add({drop("a")});
  EXPECT_TRUE(those.take_failed(10).empty()) << "it is being sent";
  those.failed(sent);
  const auto again = those.take_failed(10);
  EXPECT_EQ(again.orders(), std::vector{drop("a")});
  EXPECT_TRUE(those.take_failed(10).empty());
  EXPECT_TRUE(holds(those, "a"));
  those.failed(again);
  those.delivered(those.take_failed(10));
  EXPECT_TRUE(those.empty());
}

TEST(undelivered_tags, hand_out_no_more_than_asked_for) {
  undelivered_tags those;
  those.failed(those.add({drop("a"), drop("b"), drop("c")}));
  EXPECT_EQ(those.take_failed(2).orders().size(), 2U);
  EXPECT_EQ(those.take_failed(2).orders().size(), 1U);
}

TEST(undelivered_tags, an_earlier_delivery_does_not_answer_for_a_later_write) {
  undelivered_tags those;
  const auto first = those.add({drop("a")});
  const auto second = those.add({drop("a")});
  those.delivered(first);
  EXPECT_TRUE(holds(those, "a"));
  those.failed(second);
  EXPECT_TRUE(holds(those, "a"));
  EXPECT_EQ(those.take_failed(10).orders().size(), 1U);
}

TEST(undelivered_tags, a_later_delivery_answers_for_an_earlier_write) {
  undelivered_tags those;
  const auto first = those.add({drop("a")});
  those.delivered(those.add({drop("a")}));
  those.failed(first);
  EXPECT_TRUE(those.empty());
}

TEST(undelivered_tags, a_settlement_replaces_the_mark_of_its_change_alone) {
  undelivered_tags those;
  those.failed(those.add({{"a", tag_act::mark, 1}}));
  those.failed(those.add({{"a", tag_act::mark, 2}}));
  those.delivered(those.add({{"a", tag_act::settle, 1}}));
  EXPECT_TRUE(holds(those, "a"));
  EXPECT_EQ(those.take_failed(10).orders(), (std::vector<tag_order>{{"a", tag_act::mark, 2}}));
}

TEST(undelivered_tags, too_many_become_the_global_one_which_holds_all) {
  undelivered_tags those;
  for (std::size_t i = 0; i < undelivered_tags::most; ++i) {
    those.failed(those.add({drop("tag" + std::to_string(i))}));
  }
  EXPECT_FALSE(holds(those, "other"));
  const auto last = those.add({drop("one more")});
  EXPECT_TRUE(holds(those, "other"));
  EXPECT_EQ(those.size(), 1U);
  those.delivered(last);
  EXPECT_TRUE(holds(those, "other"));
  const auto all = those.take_failed(10);
  EXPECT_EQ(all.orders(), std::vector{drop("*")});
  those.delivered(all);
  EXPECT_FALSE(holds(those, "other"));
}

TEST(undelivered_tags, a_mark_among_too_many_marks_all) {
  undelivered_tags those;
  those.failed(those.add({{"a", tag_act::mark, 7}}));
  for (std::size_t i = 0; i < undelivered_tags::most; ++i) {
    those.failed(those.add({drop("tag" + std::to_string(i))}));
  }
  EXPECT_EQ(those.take_failed(10).orders(),
            (std::vector<tag_order>{drop("*"), {"*", tag_act::mark, 0}}));
}

TEST(undelivered_tags, without_memory_hold_all_until_the_global_one_is_delivered) {
  undelivered_tags those;
  those.lose();
  EXPECT_FALSE(those.empty());
  EXPECT_TRUE(holds(those, "a"));
  const auto all = those.take_failed(10);
  EXPECT_EQ(all.orders(), std::vector{drop("*")});
  EXPECT_TRUE(holds(those, "a"));
  those.delivered(all);
  EXPECT_FALSE(holds(those, "a"));
}

}  // namespace
}  // namespace soundhash::db
