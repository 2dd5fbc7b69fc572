#include <type_traits>

#include <gtest/gtest.h>

#include <soundhash/db/core/query.hpp>

namespace soundhash::db {
namespace {

constexpr query writes{"tag.create", "INSERT INTO tags (label) VALUES ($1)"};
constexpr query reads{"Tag_1.find-all", "SELECT 1", access::read_only};
constexpr query longest{"abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyz.0123456789",
                        "SELECT 1"};

static_assert(writes.access() == access::write,
              "a statement changes rows unless its author says no");
static_assert(reads.access() == access::read_only);
static_assert(longest.name().size() == 63, "63 bytes are allowed");
// SQL is never put together from values: only literals make a query.
static_assert(!std::is_constructible_v<query, const char*, const char*>);
static_assert(!std::is_constructible_v<query, std::string_view, std::string_view>);

TEST(query, keeps_its_texts_without_their_terminators) {
  EXPECT_EQ(writes.name(), "tag.create");
  EXPECT_EQ(writes.sql(), "INSERT INTO tags (label) VALUES ($1)");
  EXPECT_EQ(reads.name(), "Tag_1.find-all");
}

}  // namespace
}  // namespace soundhash::db
