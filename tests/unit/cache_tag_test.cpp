#include <string>
#include <vector>

#include <gtest/gtest.h>

#include <soundhash/db/core/cache_tag.hpp>

namespace soundhash::db {
namespace {

std::vector<std::string> texts(const tag_set& set) {
  std::vector<std::string> found;
  for (const auto& tag : set.tags()) found.push_back(tag.text());
  return found;
}

TEST(cache_tag_test, a_tag_names_a_table_a_list_or_a_row) {
  EXPECT_EQ(cache_tag::all_of("videos").text(), "videos/*");
  EXPECT_EQ(cache_tag::any_of("videos").text(), "videos/?");
  EXPECT_EQ(cache_tag::row("videos", "id", -5).text(), "videos/id=-5");
  EXPECT_EQ(cache_tag::row("videos", "video_id", "a/b=c").text(), "videos/video_id=a/b=c");
  EXPECT_EQ(cache_tag::row("videos", "video_id", "a/b").table(), "videos");
}

TEST(cache_tag_test, a_set_keeps_each_tag_once_and_sorted) {
  tag_set set{tag_set::mode::write};
  set.add_row("videos", "id", 7);
  set.add_any("videos");
  set.add_row("channels", "id", 7);
  set.add_row("videos", "id", 7);
  EXPECT_EQ(texts(set), (std::vector<std::string>{"channels/id=7", "videos/?", "videos/id=7"}));
}

TEST(cache_tag_test, all_of_a_table_covers_what_a_write_changed_in_it) {
  tag_set set{tag_set::mode::write};
  set.add_row("videos", "id", 7);
  set.add_row("videos_old", "id", 7);
  set.add_row("videos-old", "id", 7);
  set.add_all("videos");
  set.add_row("videos", "id", 8);
  set.add_any("videos");
  EXPECT_EQ(texts(set),
            (std::vector<std::string>{"videos/*", "videos-old/id=7", "videos_old/id=7"}));
}

TEST(cache_tag_test, too_many_rows_of_a_write_are_all_of_the_table) {
  tag_set set{tag_set::mode::write};
  set.add_any("videos");
  for (std::size_t i = 0; i < tag_set::most_rows; ++i) set.add_row("videos", "id", i);
  EXPECT_EQ(set.size(), tag_set::most_rows + 1);
  set.add_row("videos", "id", tag_set::most_rows);
  EXPECT_EQ(texts(set), std::vector<std::string>{"videos/*"});
}

// Every write drops the table's lists, but only an unknown one drops all of it.
TEST(cache_tag_test, too_many_rows_of_a_read_are_a_list_of_the_table) {
  tag_set set{tag_set::mode::read};
  for (std::size_t i = 0; i < tag_set::most_rows + 2; ++i) set.add_row("videos", "id", i);
  EXPECT_EQ(texts(set), std::vector<std::string>{"videos/?"});
}

TEST(cache_tag_test, a_set_that_ignores_stays_empty) {
  tag_set set{tag_set::mode::ignore};
  set.add(cache_tag::all_of("videos"));
  set.add_row("videos", "id", 7);
  EXPECT_TRUE(set.empty());
}

}  // namespace
}  // namespace soundhash::db
