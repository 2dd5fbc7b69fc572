#include <optional>
#include <string>

#include <gtest/gtest.h>

#include <soundhash/db/core/cached.hpp>
#include <soundhash/db/core/error.hpp>
#include <soundhash/db/exec/executor.hpp>
#include <soundhash/db/model/channel.hpp>

namespace soundhash::db {
namespace {

constexpr query by_id{"test.by_id", "SELECT * FROM channels WHERE id = $1", access::read_only};

/// Answers every cached read with a value that was kept decoded.
class keeping_executor final : public executor {
 public:
  std::optional<channel> kept;

 private:
  void run(const query&, const params&, const call_options&,
           function_ref<void(const result&)>) override {
    ADD_FAILURE() << "asked the database";
  }
  void run_atomically(const call_options&, function_ref<void(executor&)>) override {}
  void run_cached(const query&, const params&, const call_options&, const cached&,
                  read_sink& into) override {
    into.copy(&kept);
  }
};

TEST(cached_read_test, one_and_maybe_share_what_is_kept) {
  keeping_executor on;
  const auto tags = [](tag_set&) {};
  EXPECT_FALSE(on.maybe<channel>(by_id, {1}, {}, {.tags = tags}).has_value());
  EXPECT_THROW((void)on.one<channel>(by_id, {1}, {}, {.tags = tags}), cardinality_error);
  on.kept.emplace().id = 7;
  EXPECT_EQ(on.maybe<channel>(by_id, {1}, {}, {.tags = tags})->id, 7);
  EXPECT_EQ(on.one<channel>(by_id, {1}, {}, {.tags = tags}).id, 7);
}

}  // namespace
}  // namespace soundhash::db
