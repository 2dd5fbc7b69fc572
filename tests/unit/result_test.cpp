#include <cstdint>
#include <optional>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <soundhash/db/core/error.hpp>
#include <soundhash/db/core/result.hpp>
#include <soundhash/db/core/row_traits.hpp>
#include <soundhash/db/testing/rows.hpp>

namespace soundhash::db {
namespace {

struct artist {
  std::int32_t id = 0;
  std::optional<std::string> name;
};

struct track {
  std::int64_t id = 0;
  std::string title;
  artist by;
};

}  // namespace

template <>
struct row_traits<artist> {
  static constexpr auto columns =
      std::tuple{column{"id", &artist::id}, column{"name", &artist::name}};
};
template <>
struct row_traits<track> {
  static constexpr auto columns = std::tuple{
      column{"id", &track::id}, column{"title", &track::title}, column{"artist.", &track::by}};
};

namespace {

using soundhash::db::testing::rows;
using ::testing::AllOf;
using ::testing::HasSubstr;

/// The message of the decode_error that reading T throws.
template <class F>
std::string message_of(F read) {
  try {
    read();
  } catch (const decode_error& e) {
    EXPECT_EQ(e.code(), errc::decode);
    EXPECT_EQ(e.query_name(), "track.find");
    EXPECT_TRUE(e.connection_usable());
    return e.what();
  }
  ADD_FAILURE() << "no decode_error";
  return {};
}

TEST(row_reader, fills_nested_structs_by_prefix) {
  const auto found = rows{"id", "title", "artist.id", "artist.name"}
                         .add(std::int64_t{7}, "Song", 3, std::optional<std::string>{})
                         .build("track.find");
  const auto read = row_reader<track>{found}(0);
  EXPECT_EQ(read.id, 7);
  EXPECT_EQ(read.title, "Song");
  EXPECT_EQ(read.by.id, 3);
  EXPECT_EQ(read.by.name, std::nullopt);
}

TEST(row_reader, finds_columns_by_name_whatever_their_order_and_company) {
  const auto found = rows{"artist.name", "extra", "artist.id", "title", "id"}
                         .add("Ann", true, 3, "Song", std::int64_t{7})
                         .build("track.find");
  const auto read = row_reader<track>{found}(0);
  EXPECT_EQ(read.id, 7);
  EXPECT_EQ(read.title, "Song");
  EXPECT_EQ(read.by.id, 3);
  EXPECT_EQ(read.by.name, "Ann");
}

TEST(row_reader, names_a_missing_column_with_its_prefix) {
  const auto found =
      rows{"id", "title", "artist.id"}.add(std::int64_t{7}, "Song", 3).build("track.find");
  EXPECT_THAT(message_of([&] { row_reader<track>{found}; }),
              AllOf(HasSubstr("track.find"), HasSubstr("artist.name"), HasSubstr("string"),
                    HasSubstr("no such column")));
}

TEST(row_reader, names_query_column_and_both_types_when_they_do_not_fit) {
  const auto found = rows{"id", "name"}.add(std::int64_t{7}, "Ann").build("track.find");
  EXPECT_THAT(message_of([&] { row_reader<artist>{found}; }),
              AllOf(HasSubstr("\"track.find\""), HasSubstr("\"id\""), HasSubstr("int8"),
                    HasSubstr("int32")));
}

TEST(row_reader, a_type_is_checked_even_without_rows) {
  const result found{"track.find",
                     {{"id", oid::text}, {"name", oid::text}},
                     {},
                     0,
                     result::storage{nullptr, [](void*) {}}};
  EXPECT_THROW(row_reader<artist>{found}, decode_error);
}

TEST(row_reader, names_query_column_and_both_types_of_an_unexpected_null) {
  const auto found =
      rows{"id", "name"}.add(std::optional<std::int32_t>{}, "Ann").build("track.find");
  const row_reader<artist> read{found};
  EXPECT_THAT(message_of([&] { static_cast<void>(read(0)); }),
              AllOf(HasSubstr("\"track.find\""), HasSubstr("\"id\""), HasSubstr("int4"),
                    HasSubstr("int32"), HasSubstr("NULL")));
}

TEST(row_reader, a_single_value_needs_a_single_column) {
  const auto two = rows{"id", "name"}.add(1, "a").build("track.find");
  EXPECT_THAT(message_of([&] { row_reader<std::int32_t>{two}; }), HasSubstr("exactly one column"));
  const auto one = rows{"n"}.add(1).add(2).build("track.find");
  const row_reader<std::int64_t> read{one};
  EXPECT_EQ(read(0), 1);
  EXPECT_EQ(read(1), 2);
}

TEST(result, knows_its_columns_rows_and_cells) {
  const auto found =
      rows{"id", "name"}.add(1, "a").add(2, std::optional<std::string>{}).build("track.find");
  EXPECT_EQ(found.size(), 2U);
  EXPECT_FALSE(found.empty());
  EXPECT_EQ(found.query_name(), "track.find");
  EXPECT_EQ(found.index_of("name"), 1U);
  EXPECT_EQ(found.index_of("nam"), std::nullopt);
  EXPECT_EQ(found[1].size(), 2U);
  EXPECT_TRUE(found[1][1].is_null());
  EXPECT_EQ(found[1][1].bytes(), "");
  EXPECT_EQ(found[0][1].as<std::string>(), "a");
  EXPECT_EQ(found[1][1].as<std::optional<std::string>>(), std::nullopt);
  EXPECT_EQ(found[0][0].column().type, oid::int4);
}

TEST(result, a_field_refuses_null_and_a_wrong_type) {
  const auto found = rows{"name"}.add(std::optional<std::string>{}).build("track.find");
  EXPECT_THAT(message_of([&] { static_cast<void>(found[0][0].as<std::string>()); }),
              AllOf(HasSubstr("name"), HasSubstr("NULL")));
  EXPECT_THAT(message_of([&] { static_cast<void>(found[0][0].as<std::optional<std::int32_t>>()); }),
              AllOf(HasSubstr("text"), HasSubstr("int32")));
}

TEST(result, a_malformed_cell_names_its_place) {
  static constexpr char three[] = {1, 2, 3};
  const result found{
      "track.find", {{"id", oid::int4}}, {{three, 3}}, 0, result::storage{nullptr, [](void*) {}}};
  EXPECT_THAT(
      message_of([&] { static_cast<void>(found[0][0].as<std::int32_t>()); }),
      AllOf(HasSubstr("track.find"), HasSubstr("\"id\""), HasSubstr("cannot be represented")));
}

TEST(result, a_column_name_cannot_forge_a_log_line) {
  const result found{
      "track.find", {{"a\nb", oid::text}}, {}, 0, result::storage{nullptr, [](void*) {}}};
  EXPECT_THAT(message_of([&] { row_reader<std::int32_t>{found}; }), HasSubstr("a\\x0ab"));
}

TEST(result, views_stay_valid_when_it_moves) {
  auto found = rows{"name"}.add("a text beyond the small string buffer").build("track.find");
  const auto before = found[0][0].bytes();
  const auto moved = std::move(found);
  EXPECT_EQ(before.data(), moved[0][0].bytes().data());
  EXPECT_EQ(moved[0][0].as<std::string>(), "a text beyond the small string buffer");
}

TEST(result, frees_what_it_keeps_once) {
  static int freed = 0;
  freed = 0;
  {
    int kept = 0;
    result first{"q", {}, {}, 3, result::storage{&kept, [](void*) { ++freed; }}};
    result second{std::move(first)};
    EXPECT_EQ(second.affected(), 3U);
    EXPECT_EQ(second.size(), 0U);
    EXPECT_EQ(freed, 0);
  }
  EXPECT_EQ(freed, 1);
}

TEST(result, without_rows_is_empty) {
  const result none;
  EXPECT_TRUE(none.empty());
  EXPECT_EQ(none.size(), 0U);
  EXPECT_EQ(none.index_of("id"), std::nullopt);
}

}  // namespace
}  // namespace soundhash::db
