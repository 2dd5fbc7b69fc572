#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <soundhash/db/core/error.hpp>
#include <soundhash/db/exec/transaction.hpp>

#include "support/caught.hpp"
#include "support/heard_database.hpp"
#include "support/recording_listener.hpp"
#include "support/sql.hpp"
#include "support/tcp_proxy.hpp"
#include "support/test_database.hpp"

namespace soundhash::db {
namespace {

using namespace std::chrono_literals;
using test::caught;
using test::heard_database;
using test::recording_listener;
using test::tcp_proxy;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using call = recording_listener::call;

constexpr query insert{"test.insert", "INSERT INTO numbers (id) VALUES ($1) RETURNING id"};
constexpr query read{"test.read", "SELECT id FROM numbers WHERE id = $1", access::read_only};
constexpr query fail{"test.fail", "SELECT 1 / 0", access::read_only};
constexpr query end_it{"test.end", "COMMIT"};

/// The text of a COMMIT as it travels; "READ COMMITTED" is another.
const std::string commit_message{"COMMIT\0", 7};

class change_log_test : public ::testing::Test {
 protected:
  change_log_test() { test::execute(options_, "CREATE TABLE numbers (id int PRIMARY KEY)"); }

  static void add(executor& on, int id) {
    on.changing("numbers", [&](executor& inside, tag_set& changed) {
      changed.add_row("numbers", "id", inside.one<std::int32_t>(insert, {id}));
    });
  }
  bool has(int id) const {
    return test::query_text(options_, "SELECT (count(*) > 0)::text FROM numbers WHERE id = " +
                                          std::to_string(id)) == "true\n";
  }

  database_options options_ = test::empty_database_options();
  std::shared_ptr<recording_listener> heard_ = std::make_shared<recording_listener>();
  heard_database db_{options_, heard_};
};

const call committed_7{"committed", {"numbers/?", "numbers/id=7"}};
const call committed_all{"committed", {"numbers/*"}};

// A transaction

TEST_F(change_log_test, a_transaction_tells_its_tags_once_after_commit) {
  auto tx = db_.begin();
  add(tx, 7);
  add(tx, 8);
  EXPECT_THAT(heard_->taken(), IsEmpty());
  tx.commit();
  EXPECT_THAT(heard_->taken(),
              ElementsAre(call{"committed", {"numbers/?", "numbers/id=7", "numbers/id=8"}}));
}

TEST_F(change_log_test, the_row_is_there_when_the_tags_are_told) {
  class looking final : public tag_listener {
   public:
    explicit looking(std::function<bool()> look) : look_{std::move(look)} {}
    [[nodiscard]] bool strict() const noexcept override { return false; }
    [[nodiscard]] bool announce(const tag_set&) noexcept override { return true; }
    void committed(const tag_set&) noexcept override { seen = look_(); }
    void in_doubt(const tag_set&) noexcept override {}
    void rolled_back(const tag_set&) noexcept override {}
    bool seen = false;

   private:
    std::function<bool()> look_;
  };
  const auto looks = std::make_shared<looking>([this] { return has(7); });
  heard_database db{options_, looks};
  auto tx = db.begin();
  add(tx, 7);
  tx.commit();
  EXPECT_TRUE(looks->seen);
}

TEST_F(change_log_test, a_rollback_says_nothing) {
  auto tx = db_.begin();
  add(tx, 7);
  tx.rollback();
  {
    auto dropped = db_.begin();
    add(dropped, 8);
  }
  EXPECT_THROW(db_.with_transaction([&](transaction& inside) {
    add(inside, 9);
    throw std::runtime_error{"no"};
  }),
               std::runtime_error);
  auto failed = db_.begin();
  add(failed, 10);
  EXPECT_THROW(static_cast<void>(failed.one<std::int32_t>(fail)), query_error);
  EXPECT_THROW(failed.commit(), transaction_error);
  EXPECT_THAT(heard_->taken(), IsEmpty());
}

TEST_F(change_log_test, a_commit_without_changes_says_nothing) {
  auto tx = db_.begin({.read_only = true});
  EXPECT_EQ(tx.maybe<std::int32_t>(read, {7}), std::nullopt);
  tx.commit();
  db_.begin().commit();
  EXPECT_THAT(heard_->taken(), IsEmpty());
}

TEST_F(change_log_test, a_service_invalidates_what_its_own_sql_changes) {
  auto tx = db_.begin();
  tx.execute(insert, {7});
  tx.invalidate(cache_tag::row("numbers", "id", 7));
  EXPECT_THAT(heard_->taken(), IsEmpty());
  tx.commit();
  EXPECT_THAT(heard_->taken(), ElementsAre(call{"committed", {"numbers/id=7"}}));
  EXPECT_THROW(tx.invalidate(cache_tag::any_of("numbers")), invalid_argument);
}

TEST_F(change_log_test, an_invalidation_alone_is_told_at_commit) {
  auto tx = db_.begin();
  tx.invalidate(cache_tag::any_of("numbers"));
  tx.commit();
  EXPECT_THAT(heard_->taken(), ElementsAre(call{"committed", {"numbers/?"}}));
}

TEST_F(change_log_test, a_savepoint_rolled_back_keeps_its_tags) {
  auto tx = db_.begin();
  EXPECT_THROW(tx.savepoint([&](transaction& inside) {
    add(inside, 7);
    throw std::runtime_error{"no"};
  }),
               std::runtime_error);
  tx.commit();
  EXPECT_THAT(heard_->taken(), ElementsAre(committed_7));
}

TEST_F(change_log_test, a_statement_refused_in_a_savepoint_drops_nothing) {
  test::execute(options_, "INSERT INTO numbers VALUES (7)");
  auto tx = db_.begin();
  EXPECT_THROW(tx.savepoint([&](transaction& inside) { add(inside, 7); }), constraint_violation);
  tx.commit();
  EXPECT_THAT(heard_->taken(), IsEmpty());
}

TEST_F(change_log_test, a_body_that_throws_after_its_write_drops_the_table) {
  auto tx = db_.begin();
  EXPECT_THROW(tx.changing("numbers",
                           [&](executor& on, tag_set&) {
                             static_cast<void>(on.one<std::string>(insert, {7}));
                           }),
               decode_error);
  tx.commit();
  EXPECT_TRUE(has(7));
  EXPECT_THAT(heard_->taken(), ElementsAre(committed_all));
}

TEST_F(change_log_test, a_body_that_throws_before_any_statement_drops_nothing) {
  auto tx = db_.begin();
  add(tx, 7);
  EXPECT_THROW(tx.changing("others", [](executor&, tag_set&) { throw std::runtime_error{"no"}; }),
               std::runtime_error);
  tx.commit();
  EXPECT_THAT(heard_->taken(), ElementsAre(committed_7));
}

TEST_F(change_log_test, each_run_of_a_body_has_tags_of_its_own) {
  int runs = 0;
  db_.with_transaction([&](transaction& tx) {
    add(tx, ++runs);
    if (runs == 1) {
      throw transaction_error{"again", {.code = errc::serialization, .sent = sent::yes}};
    }
  });
  EXPECT_THAT(heard_->taken(), ElementsAre(call{"committed", {"numbers/?", "numbers/id=2"}}));
}

TEST_F(change_log_test, a_statement_that_commits_by_itself_drops_what_was_told) {
  auto tx = db_.begin();
  add(tx, 7);
  EXPECT_THROW(tx.execute(end_it), invalid_argument);
  EXPECT_THAT(heard_->taken(), ElementsAre(committed_7));
}

TEST_F(change_log_test, a_moved_transaction_keeps_its_tags) {
  auto tx = db_.begin();
  add(tx, 7);
  auto moved = std::move(tx);
  moved.commit();
  EXPECT_THAT(heard_->taken(), ElementsAre(committed_7));
}

// One write outside a transaction

TEST_F(change_log_test, a_single_write_tells_its_tags_before_it_returns) {
  add(db_, 7);
  EXPECT_THAT(heard_->taken(), ElementsAre(committed_7));
}

TEST_F(change_log_test, a_refused_write_says_nothing) {
  test::execute(options_, "INSERT INTO numbers VALUES (7)");
  EXPECT_THROW(add(db_, 7), constraint_violation);
  EXPECT_THROW(db_.changing("numbers", [](executor&, tag_set&) { throw std::runtime_error{"no"}; }),
               std::runtime_error);
  EXPECT_THAT(heard_->taken(), IsEmpty());
}

TEST_F(change_log_test, a_write_that_was_never_sent_says_nothing) {
  const call_options late{.until = deadline{deadline::clock::now()}};
  EXPECT_THROW(
      db_.changing("numbers", [&](executor& on, tag_set&) { on.execute(insert, {7}, late); }),
      pool_error);
  EXPECT_THAT(heard_->taken(), IsEmpty());
}

TEST_F(change_log_test, a_write_whose_rows_cannot_be_read_drops_the_table) {
  EXPECT_THROW(db_.changing("numbers",
                            [](executor& on, tag_set&) {
                              static_cast<void>(on.one<std::string>(insert, {7}));
                            }),
               decode_error);
  EXPECT_TRUE(has(7));
  EXPECT_THAT(heard_->taken(), ElementsAre(committed_all));
}

TEST_F(change_log_test, a_second_write_that_is_refused_does_not_hide_the_first) {
  EXPECT_THROW(db_.changing("numbers",
                            [](executor& on, tag_set&) {
                              on.execute(insert, {7});
                              on.execute(insert, {7});
                            }),
               constraint_violation);
  EXPECT_THAT(heard_->taken(), ElementsAre(committed_all));
}

TEST_F(change_log_test, a_transaction_inside_a_single_write_counts_as_one_statement) {
  db_.changing("numbers", [](executor& on, tag_set& changed) {
    on.atomically([](executor& inside) { inside.execute(insert, {7}); });
    changed.add_row("numbers", "id", 7);
  });
  EXPECT_THROW(db_.changing("numbers",
                            [](executor& on, tag_set&) {
                              on.atomically([](executor& inside) {
                                inside.execute(insert, {8});
                                throw std::runtime_error{"no"};
                              });
                            }),
               std::runtime_error);
  EXPECT_THAT(heard_->taken(), ElementsAre(committed_7));
}

// In doubt

class doubtful_change : public change_log_test {
 protected:
  commit_in_doubt commit_in_vain(bool track) {
    return caught<commit_in_doubt>([&] {
      auto tx = linked_.begin({.track_outcome = track});
      add(tx, 7);
      tx.commit();
    });
  }

  tcp_proxy link_{options_};
  heard_database linked_{link_.options(), heard_};
};

const call in_doubt_7{"in_doubt", {"numbers/?", "numbers/id=7"}};

TEST_F(doubtful_change, a_commit_in_doubt_is_told_and_told_again_when_it_is_resolved) {
  link_.lose_answer(commit_message);
  const auto e = commit_in_vain(true);
  EXPECT_THAT(heard_->taken(), ElementsAre(in_doubt_7));
  EXPECT_EQ(e.resolve(5s), commit_outcome::committed);
  EXPECT_THAT(heard_->taken(), ElementsAre(committed_7));
}

TEST_F(doubtful_change, one_that_is_resolved_as_rolled_back_is_dropped_too) {
  link_.lose_request(commit_message);
  const auto e = commit_in_vain(true);
  EXPECT_THAT(heard_->taken(), ElementsAre(in_doubt_7));
  EXPECT_EQ(e.resolve(5s), commit_outcome::rolled_back);
  EXPECT_THAT(heard_->taken(), ElementsAre(committed_7));
}

TEST_F(doubtful_change, one_that_stays_unknown_stays_in_doubt) {
  link_.lose_answer(commit_message);
  const auto e = commit_in_vain(false);
  EXPECT_EQ(e.resolve(5s), commit_outcome::unknown);
  EXPECT_THAT(heard_->taken(), ElementsAre(in_doubt_7));
}

TEST_F(doubtful_change, a_single_write_in_doubt_names_the_whole_table) {
  add(linked_, 1);  // prepares the statement, whose name then comes with its execution alone
  EXPECT_THAT(heard_->taken(), ElementsAre(call{"committed", {"numbers/?", "numbers/id=1"}}));
  link_.lose_answer(std::string{insert.name()});
  EXPECT_THROW(add(linked_, 7), commit_in_doubt);
  EXPECT_TRUE(has(7));
  EXPECT_THAT(heard_->taken(), ElementsAre(call{"in_doubt", {"numbers/*"}}));
}

// Strict

class strict_change : public change_log_test {
 protected:
  strict_change() {
    heard_ = std::make_shared<recording_listener>(true);
    strict_.emplace(options_, heard_);
  }
  std::optional<heard_database> strict_;
};

const call announced_7{"announce", {"numbers/?", "numbers/id=7"}};

TEST_F(strict_change, is_announced_before_commit) {
  auto tx = strict_->begin();
  add(tx, 7);
  tx.commit();
  EXPECT_THAT(heard_->taken(), ElementsAre(announced_7, committed_7));
}

TEST_F(strict_change, a_single_write_is_announced_too) {
  add(*strict_, 7);
  EXPECT_THAT(heard_->taken(), ElementsAre(announced_7, committed_7));
}

TEST_F(strict_change, without_changes_nothing_is_announced) {
  auto tx = strict_->begin();
  EXPECT_EQ(tx.maybe<std::int32_t>(read, {7}), std::nullopt);
  tx.commit();
  EXPECT_THAT(heard_->taken(), IsEmpty());
}

TEST_F(strict_change, what_cannot_be_announced_is_not_committed) {
  heard_->answer(false);
  auto tx = strict_->begin();
  add(tx, 7);
  const auto e = caught<transaction_error>([&] { tx.commit(); });
  EXPECT_EQ(e.code(), errc::unannounced);
  EXPECT_TRUE(e.retryable());
  EXPECT_EQ(e.sent(), sent::yes);
  EXPECT_EQ(caught<transaction_error>([&] { add(*strict_, 7); }).code(), errc::unannounced);
  EXPECT_FALSE(has(7));
  EXPECT_THAT(heard_->taken(), ElementsAre(announced_7, announced_7));
}

TEST_F(strict_change, an_announced_change_that_fails_at_commit_is_taken_back) {
  test::execute(options_,
                "ALTER TABLE numbers DROP CONSTRAINT numbers_pkey, "
                "ADD CONSTRAINT once UNIQUE (id) DEFERRABLE INITIALLY DEFERRED;"
                "INSERT INTO numbers VALUES (7)");
  auto tx = strict_->begin();
  add(tx, 7);
  EXPECT_THROW(tx.commit(), constraint_violation);
  EXPECT_THAT(heard_->taken(),
              ElementsAre(announced_7, call{"rolled_back", {"numbers/?", "numbers/id=7"}}));
}

TEST_F(strict_change, in_doubt_is_not_taken_back) {
  tcp_proxy link{options_};
  heard_database linked{link.options(), heard_};
  link.lose_answer(commit_message);
  auto tx = linked.begin();
  add(tx, 7);
  EXPECT_THROW(tx.commit(), commit_in_doubt);
  EXPECT_THAT(heard_->taken(), ElementsAre(announced_7, in_doubt_7));
}

}  // namespace
}  // namespace soundhash::db
