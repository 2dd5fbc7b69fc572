#include <cstdint>
#include <optional>
#include <string>
#include <tuple>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <soundhash/db/testing/fake_executor.hpp>

namespace soundhash::db {

namespace {

struct tag {
  std::int32_t id = 0;
  std::string label;
  std::optional<double> weight;
};

constexpr query find_tag{"tag.find", "SELECT id, label, weight FROM tags WHERE label = $1",
                         access::read_only};
constexpr query count_tags{"tag.count", "SELECT count(*) FROM tags", access::read_only};
constexpr query rename_tag{"tag.rename", "UPDATE tags SET label = $2 WHERE id = $1"};

}  // namespace

template <>
struct row_traits<tag> {
  static constexpr auto columns = std::tuple{column{"id", &tag::id}, column{"label", &tag::label},
                                             column{"weight", &tag::weight}};
};

namespace {

using testing::fake_executor;
using testing::rows;
using testing::unexpected_query;

struct fake_executor_test : ::testing::Test {
  fake_executor fake;
};

TEST_F(fake_executor_test, answers_with_the_rows_of_structs) {
  fake.expect("tag.find", rows::of<tag>({{1, "live", 0.5}, {2, "cover", std::nullopt}}));
  const auto found = fake.all<tag>(find_tag, {"live"});
  ASSERT_EQ(found.size(), 2U);
  EXPECT_EQ(found[0].id, 1);
  EXPECT_EQ(found[0].label, "live");
  EXPECT_EQ(found[0].weight, 0.5);
  EXPECT_EQ(found[1].weight, std::nullopt);
}

TEST_F(fake_executor_test, streams_the_rows_of_its_script) {
  fake.expect("tag.find", rows::of<tag>({{1, "live", 0.5},
                                         {2, "a longer text than fits in place", std::nullopt}}));
  std::vector<tag> found;
  for (auto& each : fake.stream<tag>(find_tag, {"live"})) found.push_back(std::move(each));
  ASSERT_EQ(found.size(), 2U);
  EXPECT_EQ(found[0].weight, 0.5);
  EXPECT_EQ(found[1].label, "a longer text than fits in place");
  EXPECT_EQ(found[1].weight, std::nullopt);
  fake.expect("tag.find");
  for (const auto& each : fake.stream<tag>(find_tag, {"none"})) ADD_FAILURE() << each.id;
  EXPECT_EQ(fake.calls().size(), 2U);
}

TEST_F(fake_executor_test, a_stream_says_which_row_cannot_be_read) {
  fake.expect(
      "tag.find",
      rows{"id", "label", "weight"}.add(1, "live", 0.5).add(2, std::optional<std::string>{}, 0.5));
  int read = 0;
  EXPECT_THROW(
      {
        for (const auto& each : fake.stream<tag>(find_tag, {"live"})) read = each.id;
      },
      decode_error);
  EXPECT_EQ(read, 1);
}

TEST_F(fake_executor_test, only_what_is_declared_read_only_can_be_streamed) {
  EXPECT_THROW((void)fake.stream<tag>(rename_tag, {7, "new"}), invalid_argument);
  EXPECT_TRUE(fake.calls().empty());
}

TEST_F(fake_executor_test, runs_a_pipeline_step_by_step) {
  fake.expect("tag.count", rows{"count"}.add(std::int64_t{7}));
  fake.expect("tag.rename", rows{}.affected(3));
  fake.expect_error("tag.find", cardinality_error{"tag.find", 2});
  pipeline batch;
  const auto count = batch.one<std::int64_t>(count_tags);
  const auto found = batch.maybe<tag>(find_tag, {"live"});
  const auto renamed = batch.execute(rename_tag, {7, "new"});
  fake.execute(batch);
  EXPECT_EQ(count.get(), 7);
  EXPECT_FALSE(found.ok());
  EXPECT_THROW((void)found.get(), cardinality_error);
  EXPECT_EQ(renamed.get(), 3U);
  EXPECT_EQ(fake.calls().at(2).parameters.at(1), "new");
}

TEST_F(fake_executor_test, answers_with_rows_written_by_column) {
  fake.expect("tag.find", rows{"label", "weight", "id"}.add("live", std::optional<double>{}, 7));
  const auto found = fake.maybe<tag>(find_tag, {"live"});
  ASSERT_TRUE(found);
  EXPECT_EQ(found->id, 7);
  EXPECT_EQ(found->label, "live");
}

TEST_F(fake_executor_test, answers_arrays) {
  fake.expect("tag.count", rows{"labels"}.add(std::vector<std::string>{"a", "b"}));
  EXPECT_THAT(fake.one<std::vector<std::string>>(count_tags), ::testing::ElementsAre("a", "b"));
}

TEST_F(fake_executor_test, checks_types_as_a_server_would) {
  fake.expect("tag.count", rows{"count"}.add("three"));
  EXPECT_THROW((void)fake.one<std::int64_t>(count_tags), decode_error);
}

TEST_F(fake_executor_test, refuses_a_row_of_another_width) {
  EXPECT_THROW((rows{"id", "label"}.add(1)), invalid_argument);
}

TEST_F(fake_executor_test, gives_the_answers_of_one_query_in_order) {
  fake.expect("tag.count", rows{"count"}.add(std::int64_t{1}));
  fake.expect("tag.count", rows{"count"}.add(std::int64_t{2}));
  EXPECT_EQ(fake.one<std::int64_t>(count_tags), 1);
  EXPECT_EQ(fake.one<std::int64_t>(count_tags), 2);
  fake.verify();
}

TEST_F(fake_executor_test, records_names_and_bound_values) {
  fake.expect("tag.rename", rows{}.affected(1));
  EXPECT_EQ(fake.execute(rename_tag, {7, std::optional<std::string>{}}), 1U);
  ASSERT_EQ(fake.calls().size(), 1U);
  EXPECT_EQ(fake.calls()[0].query_name, "tag.rename");
  EXPECT_THAT(fake.calls()[0].parameters,
              ::testing::ElementsAre(std::optional<std::string>{"7"}, std::nullopt));
}

TEST_F(fake_executor_test, throws_the_scripted_error) {
  fake.expect_error("tag.rename", timeout_error{"late", {.code = errc::statement_timeout}});
  EXPECT_THROW((void)fake.execute(rename_tag, {7, "x"}), timeout_error);
  fake.verify();
}

TEST_F(fake_executor_test, an_unexpected_query_says_what_was_expected) {
  fake.expect("tag.count", rows{"count"}.add(std::int64_t{1}));
  try {
    (void)fake.maybe<tag>(find_tag, {"live"});
    FAIL() << "nothing was thrown";
  } catch (const unexpected_query& failure) {
    EXPECT_STREQ(failure.what(), "unexpected query \"tag.find\"; still expected: tag.count x1");
  }
}

TEST_F(fake_executor_test, verify_remembers_an_unexpected_query_that_was_swallowed) {
  EXPECT_THROW((void)fake.execute(rename_tag, {7, "x"}), unexpected_query);
  EXPECT_THROW(fake.verify(), unexpected_query);
}

TEST_F(fake_executor_test, verify_misses_a_query_that_did_not_come) {
  fake.expect("tag.count");
  EXPECT_THROW(fake.verify(), unexpected_query);
}

TEST_F(fake_executor_test, counts_how_atomic_bodies_ended) {
  fake.expect("tag.rename", rows{}.affected(3));
  EXPECT_EQ(fake.atomically([](executor& inside) {
    return inside.execute(rename_tag, {7, "x"});
  }),
            3U);
  EXPECT_THROW(fake.atomically([](executor& inside) {
    inside.execute(rename_tag, {7, "y"});
  }),
               unexpected_query);
  EXPECT_EQ(fake.commits(), 1);
  EXPECT_EQ(fake.rollbacks(), 1);
}

}  // namespace

}  // namespace soundhash::db
