#include "driver/statement_cache.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <soundhash/db/core/error.hpp>

namespace soundhash::db::driver {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

TEST(statement_cache, knows_what_was_added) {
  statement_cache cache;
  EXPECT_EQ(cache.find("a", "SELECT 1"), nullptr);
  cache.add("a", statement_cache::text_of("a", "SELECT 1"));
  ASSERT_NE(cache.find("a", "SELECT 1"), nullptr);
  EXPECT_EQ(*cache.find("a", "SELECT 1"), "/* a */ SELECT 1");
  EXPECT_EQ(cache.find("b", "SELECT 1"), nullptr);
}

TEST(statement_cache, refuses_another_text_for_a_name) {
  statement_cache cache;
  cache.add("a", statement_cache::text_of("a", "SELECT 1"));
  for (const char* sql : {"SELECT 2", "SELECT 11", "ECT 1", ""}) {
    EXPECT_THROW(static_cast<void>(cache.find("a", sql)), invalid_argument) << sql;
  }
}

TEST(statement_cache, forgets_what_is_stale_when_asked_and_tells_it_once) {
  statement_cache cache;
  cache.add("a", statement_cache::text_of("a", "SELECT 1"));
  cache.add("b", statement_cache::text_of("b", "SELECT 2"));
  cache.mark_stale("a");
  cache.mark_stale("never added");
  EXPECT_NE(cache.find("a", "SELECT 1"), nullptr);
  EXPECT_THAT(cache.take_stale(), ElementsAre("a", "never added"));
  EXPECT_EQ(cache.find("a", "SELECT 1"), nullptr);
  EXPECT_NE(cache.find("b", "SELECT 2"), nullptr);
  EXPECT_THAT(cache.take_stale(), IsEmpty());
}

}  // namespace
}  // namespace soundhash::db::driver
