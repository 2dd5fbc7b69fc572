#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <soundhash/db/cache/cache.hpp>
#include <soundhash/db/core/error.hpp>

#include "unit/cached_versions.hpp"

namespace soundhash::db {
namespace {

using namespace test;
using std::chrono::milliseconds;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using fate = fake_redis::fate;

tag_set item(int id) {
  tag_set tags{tag_set::mode::read};
  tags.add_row("items", "id", id);
  return tags;
}

class cache_test : public ::testing::Test {
 protected:
  fake_store redis;
  fake_items items{.versions = {{1, 10}}};
  process one{redis, items};
  std::shared_ptr<read_through> through{one.through};
  cache values{through};
};

TEST_F(cache_test, gives_back_what_was_set_of_any_bytes) {
  const std::string odd{"a\0b\xff", 4};
  EXPECT_TRUE(values.enabled());
  EXPECT_EQ(values.get(odd), std::nullopt);
  EXPECT_TRUE(values.set(odd, odd));
  EXPECT_EQ(values.get(odd), odd);
  EXPECT_TRUE(values.set(odd, ""));
  EXPECT_EQ(values.get(odd), "");
}

TEST_F(cache_test, copies_are_the_same_cache) {
  cache copy{values};
  EXPECT_TRUE(copy.set("k", "v"));
  EXPECT_EQ(values.get("k"), "v");
}

TEST_F(cache_test, a_value_lives_as_long_as_told) {
  EXPECT_TRUE(values.set("k", "v", milliseconds{1000}));
  EXPECT_TRUE(values.set("l", "v"));
  redis.pass(milliseconds{1101});
  EXPECT_EQ(values.get("k"), std::nullopt);
  EXPECT_EQ(values.get("l"), "v");
}

TEST_F(cache_test, reads_many_with_one_question) {
  EXPECT_TRUE(values.set("a", "1"));
  EXPECT_TRUE(values.set("c", "3"));
  const auto calls = one.link->calls.load();
  const std::vector<std::string_view> keys{"a", "b", "c", "", "a"};
  EXPECT_THAT(values.get(keys), ElementsAre("1", std::nullopt, "3", std::nullopt, "1"));
  EXPECT_EQ(one.link->calls, calls + 1);
}

TEST_F(cache_test, deletes_one) {
  EXPECT_TRUE(values.set("a", "1"));
  EXPECT_TRUE(values.set("b", "2"));
  EXPECT_TRUE(values.del("a"));
  EXPECT_EQ(values.get("a"), std::nullopt);
  EXPECT_EQ(values.get("b"), "2");
}

TEST_F(cache_test, who_asks_after_a_deletion_does_not_join_a_load_that_began_before) {
  const call_options in_time{.until = deadline::in(std::chrono::seconds{20})};
  const auto slow = [&] {
    EXPECT_TRUE(values.del("k"));
    std::thread{[&] {
      EXPECT_EQ(values.cached(
                    "k", item(1), milliseconds{0}, [] { return std::string{"new"}; }, in_time),
                "new");
    }}.join();
    return std::string{"old"};
  };
  EXPECT_EQ(values.cached("k", item(1), milliseconds{0}, slow), "old");
  EXPECT_EQ(one.figure_of("soundhash_cache_single_flight_joins_total"), 0);
}

TEST_F(cache_test, clears_all_at_once) {
  process other{redis, items};
  EXPECT_TRUE(values.set("a", "1"));
  EXPECT_EQ(other.read(1), 10);
  items.versions[1] = 11;
  EXPECT_TRUE(values.clear());
  EXPECT_EQ(values.get("a"), std::nullopt);
  EXPECT_EQ(other.read(1), 11);
}

TEST_F(cache_test, clears_by_pattern_over_several_pages_and_only_its_own) {
  process elsewhere{redis, items, {.name_space = "test2"}};
  EXPECT_EQ(elsewhere.read(1), 10);
  redis.put("other:a1", "x");
  for (int i = 0; i < 10; ++i) {
    EXPECT_TRUE(values.set("a" + std::to_string(i), "v"));
    EXPECT_TRUE(values.set("b" + std::to_string(i), "v"));
  }
  const auto calls = one.link->calls.load();
  EXPECT_EQ(values.clear("a?"), 10U);
  EXPECT_EQ(one.link->calls, calls) << "on a connection of its own";
  EXPECT_EQ(values.get("a3"), std::nullopt);
  EXPECT_EQ(values.get("b3"), "v");
  EXPECT_EQ(values.clear("*"), 10U);
  EXPECT_TRUE(redis.text("other:a1"));
  EXPECT_EQ(elsewhere.read(1), 10);
  EXPECT_EQ(items.loads, 1);
}

TEST_F(cache_test, clears_rows_by_the_name_of_their_query) {
  process other{redis, items};
  EXPECT_EQ(other.read(1), 10);
  EXPECT_EQ(values.clear("item.find:*"), 1U);
  items.versions[1] = 11;
  EXPECT_EQ(other.read(1), 11);
}

TEST_F(cache_test, wraps_any_function_and_loads_again_when_a_tag_goes) {
  int loads = 0;
  const auto load = [&] { return "value " + std::to_string(++loads); };
  const auto read = [&] { return values.cached("k", item(1), milliseconds{0}, load); };
  EXPECT_EQ(read(), "value 1");
  EXPECT_EQ(read(), "value 1");
  EXPECT_TRUE(values.invalidate(cache_tag::row("items", "id", 2)));
  EXPECT_EQ(read(), "value 1");
  EXPECT_TRUE(values.invalidate(cache_tag::row("items", "id", 1)));
  EXPECT_EQ(read(), "value 2");
  through->committed(process::changes(1));
  EXPECT_EQ(read(), "value 3");
  EXPECT_EQ(values.cached("k", item(1), milliseconds{0}, load, {.cache = cache_use::refresh}),
            "value 4");
  EXPECT_EQ(read(), "value 4");
}

TEST_F(cache_test, wraps_a_function_whose_value_may_be_absent) {
  int loads = 0;
  const auto load = [&]() -> std::optional<std::string> {
    ++loads;
    return std::nullopt;
  };
  EXPECT_EQ(values.cached("k", item(1), milliseconds{0}, load), std::nullopt);
  EXPECT_EQ(values.cached("k", item(1), milliseconds{0}, load), std::nullopt);
  EXPECT_EQ(loads, 1);
  redis.pass(milliseconds{3301});
  EXPECT_EQ(values.cached("k", item(1), milliseconds{0}, load), std::nullopt);
  EXPECT_EQ(loads, 2);
}

TEST_F(cache_test, an_exception_of_the_function_passes_and_is_not_kept) {
  const auto fails = []() -> std::string { throw 7; };
  EXPECT_THROW(values.cached("k", item(1), milliseconds{0}, fails), int);
  EXPECT_EQ(values.cached("k", item(1), milliseconds{0}, [] { return std::string{"v"}; }), "v");
}

TEST_F(cache_test, functions_that_call_one_another_are_no_deadlock) {
  const auto inner = [] { return std::string{"inner"}; };
  const auto outer = [&] { return values.cached("k", item(1), milliseconds{0}, inner) + "!"; };
  EXPECT_EQ(values.cached("k", item(1), milliseconds{0}, outer), "inner!");
}

TEST_F(cache_test, a_value_that_depends_on_many_rows_goes_with_each_of_them) {
  tag_set tags{tag_set::mode::read};
  for (int id = 0; id < 500; ++id) tags.add_row("items", "id", id);
  int loads = 0;
  const auto read = [&] {
    return values.cached("k", tags, milliseconds{0}, [&] { return std::to_string(++loads); });
  };
  EXPECT_EQ(read(), "1");
  EXPECT_TRUE(values.invalidate(cache_tag::row("items", "id", 400)));
  EXPECT_EQ(read(), "2");
}

TEST_F(cache_test, the_drop_of_many_rows_reaches_each_of_them) {
  int loads = 0;
  const auto read = [&] {
    return values.cached("k", item(400), milliseconds{0}, [&] { return std::to_string(++loads); });
  };
  for (const auto mode : {tag_set::mode::read, tag_set::mode::write}) {
    const auto before = read();
    tag_set tags{mode};
    for (int id = 0; id < 500; ++id) tags.add_row("items", "id", id);
    EXPECT_TRUE(values.invalidate(tags));
    EXPECT_NE(read(), before);
  }
}

TEST_F(cache_test, while_redis_is_away_nothing_is_found_and_functions_are_called) {
  EXPECT_TRUE(values.set("k", "v"));
  one.link->up = false;
  EXPECT_TRUE(values.enabled());
  EXPECT_EQ(values.get("k"), std::nullopt);
  EXPECT_FALSE(values.set("k", "w"));
  EXPECT_FALSE(values.del("k"));
  EXPECT_FALSE(values.invalidate(cache_tag::row("items", "id", 1)));
  EXPECT_EQ(values.cached("k", item(1), milliseconds{0}, [] { return std::string{"x"}; }), "x");
  EXPECT_FALSE(values.clear());
  one.link->up = true;
  EXPECT_EQ(values.get("k"), std::nullopt) << "cleared before it is asked again";
}

TEST_F(cache_test, a_call_without_an_answer_finds_nothing) {
  EXPECT_TRUE(values.set("k", "v"));
  one.link->decide = [](const auto&) { return fate::lost_before; };
  EXPECT_EQ(values.get("k"), std::nullopt);
  EXPECT_FALSE(values.set("k", "w"));
  EXPECT_FALSE(values.del("k"));
}

TEST_F(cache_test, refuses_keys_too_long_or_empty) {
  for (const auto& key : {std::string{}, std::string(1025, 'k')}) {
    EXPECT_FALSE(values.set(key, "v"));
    EXPECT_EQ(values.get(key), std::nullopt);
    EXPECT_FALSE(values.del(key));
    EXPECT_EQ(values.cached(key, item(1), milliseconds{0}, [] { return std::string{"x"}; }), "x");
  }
  EXPECT_TRUE(values.set(std::string(1024, 'k'), "v"));
}

TEST(disabled_cache, keeps_nothing_and_calls_every_function) {
  cache none;
  EXPECT_FALSE(none.enabled());
  EXPECT_FALSE(none.set("k", "v"));
  EXPECT_EQ(none.get("k"), std::nullopt);
  const std::vector<std::string_view> keys{"a", "b"};
  EXPECT_THAT(none.get(keys), ElementsAre(std::nullopt, std::nullopt));
  EXPECT_FALSE(none.del("k"));
  EXPECT_FALSE(none.clear());
  EXPECT_EQ(none.clear("*"), 0U);
  EXPECT_FALSE(none.invalidate(cache_tag::all_of("items")));
  int loads = 0;
  const auto load = [&] { return std::to_string(++loads); };
  EXPECT_EQ(none.cached("k", item(1), milliseconds{0}, load), "1");
  EXPECT_EQ(none.cached("k", item(1), milliseconds{0}, load), "2");
}

}  // namespace
}  // namespace soundhash::db
