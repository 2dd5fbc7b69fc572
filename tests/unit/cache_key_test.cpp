#include <optional>
#include <random>
#include <set>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "cache/key_space.hpp"
#include "cache/tag_keys.hpp"

namespace soundhash::db {
namespace {

using ::testing::ElementsAre;

constexpr query find{"item.find", "SELECT 1", access::read_only};
constexpr query find_too{"item.find2", "SELECT 1", access::read_only};

std::string key(const params& values) {
  return key_space{"test"}.rows(find, values);
}

TEST(cache_key, names_space_query_and_each_parameter_with_its_length) {
  EXPECT_EQ(key({"a:b", 12, std::optional<int>{}}), "soundhash:test:v:item.find:t3:a:bs2:12n");
}

TEST(cache_key, parameters_that_read_alike_differ) {
  const std::set<std::string> keys{key({"a", "bc"}),
                                   key({"ab", "c"}),
                                   key({"abc"}),
                                   key({"abc", ""}),
                                   key({"", "abc"}),
                                   key({std::optional<std::string>{}}),
                                   key({"NULL"}),
                                   key({""}),
                                   key({}),
                                   key({1}),
                                   key({"1"}),
                                   key({true}),
                                   key({"t"}),
                                   key({"n"}),
                                   key({"t1:1"}),
                                   key({"1", "2"}),
                                   key({"1t1:2"}),
                                   key({bytes{std::byte{'1'}}}),
                                   key({std::vector<int>{1, 2}}),
                                   key({std::vector<std::string>{"1", "2"}}),
                                   key({std::optional<int>{}, std::optional<int>{}})};
  EXPECT_EQ(keys.size(), 21U);
}

TEST(cache_key, equal_parameters_have_equal_keys_everywhere) {
  EXPECT_EQ(key({1, "x"}), key({1, std::string{"x"}}));
  EXPECT_EQ(key({std::optional<int>{5}}), key({5}));
}

TEST(cache_key, queries_and_names_of_spaces_keep_apart) {
  const key_space space{"test"};
  EXPECT_NE(space.rows(find, {1}), space.rows(find_too, {1}));
  EXPECT_NE(space.rows(find, {1}), key_space{"test2"}.rows(find, {1}));
  EXPECT_NE(space.named("item.find:"), space.rows(find, {}));
  EXPECT_FALSE(space.named("x").starts_with(space.tag_prefix()));
}

using list = std::vector<std::optional<std::string>>;

/// Few letters, those of the keys among them, so that many lists nearly look alike.
class similar_lists {
 public:
  list any() {
    list made(random_() % 4);
    for (auto& each : made) each = value();
    return made;
  }
  /// The same letters cut elsewhere, or one value another.
  list like(list other) {
    if (other.empty()) return any();
    auto& some = other[random_() % other.size()];
    auto& next = other[random_() % other.size()];
    if (some && next && !some->empty() && random_() % 2 == 0) {
      next->insert(next->begin(), some->back());
      some->pop_back();
    } else {
      some = value();
    }
    return other;
  }

 private:
  std::optional<std::string> value() {
    if (random_() % 8 == 0) return std::nullopt;
    std::string made(random_() % 4, ' ');
    for (auto& c : made) c = "t:n1"[random_() % 4];
    return made;
  }

  std::mt19937_64 random_{7};
};

std::string key(const list& values) {
  params bound;
  for (const auto& each : values) bound.append(each);
  return key(bound);
}

TEST(cache_key, of_a_million_random_pairs_none_collides) {
  similar_lists lists;
  int different = 0;
  for (int i = 0; i < 1'000'000; ++i) {
    const auto one = lists.any();
    const auto other = lists.like(one);
    different += one == other ? 0 : 1;
    ASSERT_EQ(key(one) == key(other), one == other) << key(one);
  }
  EXPECT_GT(different, 700'000);
}

TEST(cache_key, names_made_of_a_server_are_unambiguous_and_never_configured_ones) {
  const std::set<std::string> names{
      key_space::name_of("7", "a", "b"),    key_space::name_of("7", "a/b", ""),
      key_space::name_of("7", "", "a/b"),   key_space::name_of("7/a", "b", ""),
      key_space::name_of("7", "a%2Fb", ""), key_space::name_of("7", "a:b", "")};
  EXPECT_EQ(names.size(), 6U);
  for (const auto& name : names) {
    EXPECT_TRUE(name.starts_with('@'));
    EXPECT_EQ(name.find(':'), std::string::npos);
  }
}

TEST(cache_key, the_pattern_of_scan_takes_the_prefix_by_letter) {
  EXPECT_EQ(key_space{"a*"}.values_like("x*"), "soundhash:a\\*:[vm]:x*");
  EXPECT_EQ(key_space{key_space::name_of("7", "d", "p")}.values_like("*"),
            "soundhash:@7/d/p:[vm]:*");
}

TEST(cache_key, values_are_told_from_tags) {
  const key_space space{"test"};
  EXPECT_TRUE(space.is_value(space.named("x")));
  EXPECT_TRUE(space.is_value(space.rows(find, {1})));
  EXPECT_FALSE(space.is_value(space.global_tag()));
  EXPECT_FALSE(space.is_value(space.run()));
  EXPECT_FALSE(space.is_value(key_space{"other"}.named("x")));
  EXPECT_FALSE(space.is_value(""));
}

std::vector<std::string> texts_of(const tag_set& tags) {
  const tag_keys keys{key_space{"test"}, tags};
  return {keys.texts().begin(), keys.texts().end()};
}

TEST(tag_keys, begin_with_all_and_with_each_table_as_a_whole) {
  tag_set tags{tag_set::mode::read};
  tags.add_row("videos", "id", 5);
  tags.add_row("videos", "id", 6);
  tags.add_row("channels", "id", 1);
  tags.add_any("match_results");
  EXPECT_THAT(texts_of(tags),
              ElementsAre("*", "channels/*", "channels/id=1", "match_results/*", "match_results/?",
                          "videos/*", "videos/id=5", "videos/id=6"));
  EXPECT_THAT(texts_of(tag_set{tag_set::mode::read}), ElementsAre("*"));
}

TEST(tag_keys, who_depends_on_a_whole_table_depends_on_what_every_write_drops) {
  tag_set tags{tag_set::mode::read};
  tags.add_all("videos");
  EXPECT_THAT(texts_of(tags), ElementsAre("*", "videos/*", "videos/?"));
}

TEST(tag_keys, are_keys_with_the_prefix_of_tags) {
  tag_set tags{tag_set::mode::read};
  tags.add_row("videos", "id", 5);
  const key_space space{"test"};
  const tag_keys keys{space, tags};
  EXPECT_EQ(keys.key(0), space.global_tag());
  EXPECT_EQ(keys.key(1), space.tag(cache_tag::all_of("videos")));
  EXPECT_EQ(keys.key(2), space.tag(cache_tag::row("videos", "id", 5)));
  EXPECT_FALSE(keys.is_of_row(0));
  EXPECT_FALSE(keys.is_of_row(1));
  EXPECT_TRUE(keys.is_of_row(2));
}

}  // namespace
}  // namespace soundhash::db
