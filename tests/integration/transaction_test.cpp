#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <future>
#include <latch>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <utility>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <soundhash/db/core/error.hpp>
#include <soundhash/db/database.hpp>

#include "support/caught.hpp"
#include "support/eventually.hpp"
#include "support/sql.hpp"
#include "support/tcp_proxy.hpp"
#include "support/test_database.hpp"

namespace soundhash::db {
namespace {

using namespace std::chrono_literals;
using test::caught;
using test::tcp_proxy;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr query insert{"test.insert", "INSERT INTO numbers (id, n) VALUES ($1, $2)"};
constexpr query add{"test.add", "UPDATE numbers SET n = n + $2 WHERE id = $1"};
constexpr query read{"test.read", "SELECT n FROM numbers WHERE id = $1", access::read_only};
constexpr query count_all{"test.count", "SELECT count(*) FROM numbers", access::read_only};
constexpr query fail{"test.fail", "SELECT 1 / 0", access::read_only};
constexpr query show_isolation{"test.isolation", "SELECT current_setting('transaction_isolation')",
                               access::read_only};
constexpr query select_all{"test.all", "SELECT * FROM changing", access::read_only};

/// The text of a COMMIT as it travels; "READ COMMITTED" is another.
const std::string commit_message{"COMMIT\0", 7};

class transaction_test : public ::testing::Test {
 protected:
  transaction_test() {
    test::execute(options_,
                  "CREATE TABLE numbers (id int PRIMARY KEY, n int NOT NULL);"
                  "INSERT INTO numbers VALUES (1, 0), (2, 0)");
  }

  /// What another session sees: all rows as "id | n".
  std::string stored() const {
    return test::query_text(options_, "SELECT id::text, n::text FROM numbers ORDER BY id");
  }
  bool has(int id) const {
    return test::query_text(options_, "SELECT (count(*) > 0)::text FROM numbers WHERE id = " +
                                          std::to_string(id)) == "true\n";
  }

  /// A figure of the metrics; -1 when there is none.
  static double figure_of(database& db, std::string_view name, std::string_view labels) {
    const auto all = db.metrics().totals().figures;
    const auto found = std::find_if(all.begin(), all.end(), [&](const figure& one) {
      return one.name == name && one.labels == labels;
    });
    return found == all.end() ? -1 : found->value;
  }

  database open(const database_options& options) { return database::open(options); }
  database open_single() {
    auto options = options_;
    options.pool.size = 1;
    options.pool.max_overflow = 0;
    return database::open(options);
  }

  database_options options_ = test::empty_database_options();
  database db_ = database::open(options_);
};

TEST_F(transaction_test, commits_all_or_nothing) {
  auto tx = db_.begin();
  EXPECT_EQ(tx.execute(insert, {3, 30}), 1U);
  EXPECT_EQ(tx.one<std::int64_t>(count_all), 3);
  EXPECT_FALSE(has(3));
  tx.commit();
  EXPECT_TRUE(has(3));
}

TEST_F(transaction_test, rolls_back_on_request) {
  auto tx = db_.begin();
  tx.execute(insert, {3, 30});
  tx.rollback();
  EXPECT_FALSE(has(3));
  const auto e = caught<transaction_error>([&] { tx.commit(); });
  EXPECT_EQ(e.code(), errc::rolled_back);
  EXPECT_THROW(tx.execute(add, {1, 1}), transaction_error);
}

TEST_F(transaction_test, rolls_back_when_abandoned) {
  db_.begin().execute(insert, {3, 30});
  EXPECT_TRUE(test::eventually([&] { return db_.pool_stats().rollbacks_on_return == 1; }));
  EXPECT_EQ(db_.pool_stats().used, 0U);
  EXPECT_EQ(stored(), "1 | 0\n2 | 0\n");
}

TEST_F(transaction_test, without_a_statement_sends_nothing) {
  tcp_proxy link{options_};
  auto db = open(link.options());
  db.warm_up();
  const auto before = link.round_trips();
  db.begin().commit();
  { auto unused = db.begin(); }
  EXPECT_EQ(link.round_trips(), before);
}

TEST_F(transaction_test, begins_with_its_first_statement) {
  tcp_proxy link{options_};
  auto db = open(link.options());
  db.with_transaction([](transaction& tx) { tx.execute(add, {1, 1}); });  // prepares
  const auto before = link.round_trips();
  db.with_transaction([](transaction& tx) { tx.execute(add, {1, 1}); });
  EXPECT_EQ(link.round_trips() - before, 2) << "BEGIN with the statement, then COMMIT";
}

TEST_F(transaction_test, cannot_end_twice) {
  auto tx = db_.begin();
  tx.execute(add, {1, 1});
  tx.commit();
  EXPECT_TRUE(tx.committed());
  EXPECT_THROW(tx.commit(), invalid_argument);
  EXPECT_THROW(tx.execute(add, {1, 1}), invalid_argument);
  tx.rollback();
  EXPECT_EQ(stored(), "1 | 1\n2 | 0\n");
}

// Failed statements

TEST_F(transaction_test, a_swallowed_error_makes_commit_throw) {
  auto tx = db_.begin();
  tx.execute(insert, {3, 30});
  EXPECT_THROW(tx.execute(insert, {1, 0}), constraint_violation);
  const auto e = caught<transaction_error>([&] { tx.commit(); });
  EXPECT_EQ(e.code(), errc::rolled_back);
  EXPECT_EQ(e.sent(), sent::yes);
  EXPECT_FALSE(e.retryable());
  EXPECT_FALSE(has(3));
}

TEST_F(transaction_test, an_error_of_the_first_statement_swallowed_makes_commit_throw) {
  auto tx = db_.begin();
  EXPECT_THROW(tx.execute(fail), query_error);
  EXPECT_THROW(tx.commit(), transaction_error);
}

TEST_F(transaction_test, a_decode_error_is_no_failed_statement) {
  auto tx = db_.begin();
  tx.execute(insert, {3, 30});
  EXPECT_THROW(static_cast<void>(tx.one<bool>(count_all)), decode_error);
  tx.commit();
  EXPECT_TRUE(has(3));
}

TEST_F(transaction_test, refuses_statements_after_a_failed_one_without_a_round_trip) {
  tcp_proxy link{options_};
  auto db = open(link.options());
  auto tx = db.begin();
  EXPECT_THROW(tx.execute(fail), query_error);
  const auto before = link.round_trips();
  EXPECT_EQ(caught<transaction_error>([&] { tx.execute(add, {1, 1}); }).code(), errc::rolled_back);
  EXPECT_THROW(tx.savepoint([](transaction&) {}), transaction_error);
  EXPECT_EQ(link.round_trips(), before);
}

TEST_F(transaction_test, a_body_that_swallows_an_error_does_not_commit) {
  EXPECT_THROW(db_.with_transaction([](transaction& tx) {
    tx.execute(insert, {3, 30});
    EXPECT_THROW(tx.execute(fail), query_error);
  }),
               transaction_error);
  EXPECT_FALSE(has(3));
}

// Savepoints

TEST_F(transaction_test, a_savepoint_undoes_only_its_own_part) {
  auto tx = db_.begin();
  tx.execute(insert, {3, 30});
  EXPECT_THROW(tx.savepoint([](transaction& inner) {
    inner.execute(insert, {4, 40});
    inner.execute(insert, {1, 0});
  }),
               constraint_violation);
  tx.execute(insert, {5, 50});
  tx.commit();
  EXPECT_EQ(stored(), "1 | 0\n2 | 0\n3 | 30\n5 | 50\n");
}

TEST_F(transaction_test, a_savepoint_undoes_its_part_when_the_body_throws_anything) {
  auto tx = db_.begin();
  EXPECT_THROW(tx.savepoint([](transaction& inner) {
    inner.execute(insert, {3, 30});
    throw 42;
  }),
               int);
  tx.commit();
  EXPECT_FALSE(has(3));
}

TEST_F(transaction_test, savepoints_nest_and_return_what_their_body_returns) {
  auto tx = db_.begin();
  const auto seen = tx.savepoint([](transaction& outer) {
    outer.execute(insert, {3, 30});
    EXPECT_THROW(outer.savepoint([](transaction& inner) {
      inner.execute(insert, {3, 31});
    }),
                 constraint_violation);
    return outer.one<std::int64_t>(count_all);
  });
  EXPECT_EQ(seen, 3);
  tx.commit();
  EXPECT_EQ(stored(), "1 | 0\n2 | 0\n3 | 30\n");
}

TEST_F(transaction_test, a_savepoint_may_come_first) {
  auto tx = db_.begin();
  tx.savepoint([](transaction& inner) { inner.execute(insert, {3, 30}); });
  tx.commit();
  EXPECT_TRUE(has(3));
}

// Options

TEST_F(transaction_test, runs_at_its_isolation_level) {
  for (const auto& [level, name] : {std::pair{isolation::read_committed, "read committed"},
                                    {isolation::repeatable_read, "repeatable read"},
                                    {isolation::serializable, "serializable"}}) {
    auto tx = db_.begin({.isolation = level});
    EXPECT_EQ(tx.one<std::string>(show_isolation), name);
  }
}

TEST_F(transaction_test, read_only_refuses_writes) {
  auto tx = db_.begin({.read_only = true});
  EXPECT_EQ(tx.one<std::int64_t>(count_all), 2);
  const auto e = caught<query_error>([&] { tx.execute(add, {1, 1}); });
  EXPECT_EQ(e.sqlstate(), "25006");
}

TEST_F(transaction_test, read_only_by_declaration_is_no_demoted_primary) {
  test::execute(options_,
                "ALTER DATABASE " + options_.name + " SET default_transaction_read_only = on");
  for (const bool savepoint_first : {false, true}) {
    auto tx = db_.begin({.read_only = true});
    if (savepoint_first) tx.savepoint([](transaction&) {});
    const auto e = caught<query_error>([&] { tx.execute(add, {1, 1}); });
    EXPECT_EQ(e.sqlstate(), "25006");
    EXPECT_TRUE(e.connection_usable());
  }
  auto tx = db_.begin();
  const auto e = caught<connection_error>([&] { tx.execute(add, {1, 1}); });
  EXPECT_EQ(e.code(), errc::demoted_primary);
}

TEST_F(transaction_test, refuses_options_that_exclude_each_other) {
  EXPECT_THROW(static_cast<void>(db_.begin({.deferrable = true})), invalid_argument);
  EXPECT_THROW(static_cast<void>(db_.begin({.attempts = 0})), invalid_argument);
  EXPECT_THROW(static_cast<void>(db_.begin({.attempts = 101})), invalid_argument);
  auto allowed =
      db_.begin({.isolation = isolation::serializable, .read_only = true, .deferrable = true});
  EXPECT_EQ(allowed.one<std::int64_t>(count_all), 2);
}

TEST_F(transaction_test, its_deadline_bounds_every_statement) {
  static constexpr query sleep{"test.sleep", "SELECT pg_sleep(60)", access::read_only};
  db_.warm_up();  // connecting shall not cost of the deadline
  auto tx = db_.begin({.until = deadline::in(200ms)});
  EXPECT_EQ(caught<timeout_error>([&] { tx.execute(sleep); }).code(), errc::statement_deadline);
}

TEST_F(transaction_test, a_call_of_the_executor_runs_atomically_inside_it) {
  auto tx = db_.begin();
  executor& on = tx;
  EXPECT_EQ(on.atomically([](executor& inside) { return inside.execute(insert, {3, 30}); }), 1U);
  EXPECT_FALSE(has(3));
  tx.commit();
  EXPECT_TRUE(has(3));
}

// Moving

TEST_F(transaction_test, moves_with_what_it_did) {
  auto first = db_.begin();
  first.execute(insert, {3, 30});
  auto second = std::move(first);
  second.execute(insert, {4, 40});
  second.commit();
  EXPECT_TRUE(has(3));
  EXPECT_TRUE(has(4));
}

TEST_F(transaction_test, move_assignment_rolls_back_what_was_there) {
  auto target = db_.begin();
  target.execute(insert, {3, 30});
  auto other = db_.begin();
  other.execute(insert, {4, 40});
  target = std::move(other);
  target.commit();
  EXPECT_EQ(stored(), "1 | 0\n2 | 0\n4 | 40\n");
  EXPECT_TRUE(test::eventually([&] { return db_.pool_stats().rollbacks_on_return == 1; }));
}

// Running again

TEST_F(transaction_test, a_serialization_failure_runs_the_body_again) {
  int runs = 0;
  db_.with_transaction({.isolation = isolation::repeatable_read}, [&](transaction& tx) {
    static_cast<void>(tx.one<std::int32_t>(read, {1}));
    if (++runs == 1) db_.execute(add, {1, 10});  // another session's, after our snapshot
    tx.execute(add, {1, 1});
  });
  EXPECT_EQ(runs, 2);
  EXPECT_EQ(stored(), "1 | 11\n2 | 0\n");
}

TEST_F(transaction_test, write_skew_between_two_transactions_is_prevented) {
  std::latch both_read{2};
  std::atomic<int> runs{0};
  const auto body = [&](int own) {
    bool first = true;
    db_.with_transaction({.isolation = isolation::serializable}, [&](transaction& tx) {
      ++runs;
      const auto sum = tx.one<std::int32_t>(read, {1}) + tx.one<std::int32_t>(read, {2});
      if (std::exchange(first, false)) both_read.arrive_and_wait();
      if (sum == 0) tx.execute(add, {own, 1});
    });
  };
  {
    const std::jthread one{body, 1};
    const std::jthread two{body, 2};
  }
  EXPECT_EQ(runs, 3);
  EXPECT_THAT(stored(), ::testing::AnyOf("1 | 1\n2 | 0\n", "1 | 0\n2 | 1\n"));
}

TEST_F(transaction_test, a_deadlock_runs_the_victim_again) {
  test::execute(options_, "ALTER DATABASE " + options_.name + " SET deadlock_timeout = '20ms'");
  std::latch both_hold{2};
  std::atomic<int> runs{0};
  const auto body = [&](int from, int to) {
    bool first = true;
    db_.with_transaction([&](transaction& tx) {
      ++runs;
      tx.execute(add, {from, 1});
      if (std::exchange(first, false)) both_hold.arrive_and_wait();
      tx.execute(add, {to, 1});
    });
  };
  {
    const std::jthread one{body, 1, 2};
    const std::jthread two{body, 2, 1};
  }
  EXPECT_GE(runs, 3);
  EXPECT_EQ(stored(), "1 | 2\n2 | 2\n");
}

TEST_F(transaction_test, attempts_are_limited) {
  int runs = 0;
  const auto e = caught<transaction_error>([&] {
    db_.with_transaction({.isolation = isolation::repeatable_read, .attempts = 3},
                         [&](transaction& tx) {
                           ++runs;
                           static_cast<void>(tx.one<std::int32_t>(read, {1}));
                           db_.execute(add, {1, 10});
                           tx.execute(add, {1, 1});
                         });
  });
  EXPECT_EQ(runs, 3);
  EXPECT_EQ(e.code(), errc::serialization);
  EXPECT_EQ(e.sqlstate(), "40001");
  EXPECT_TRUE(e.retryable());
  EXPECT_EQ(e.query_name(), "test.add");
  EXPECT_EQ(stored(), "1 | 30\n2 | 0\n");
}

TEST_F(transaction_test, other_errors_do_not_run_the_body_again) {
  int runs = 0;
  EXPECT_THROW(db_.with_transaction([&](transaction& tx) {
    ++runs;
    tx.execute(insert, {1, 0});
  }),
               constraint_violation);
  EXPECT_EQ(runs, 1);
}

TEST_F(transaction_test, returns_what_the_body_returns) {
  EXPECT_EQ(db_.with_transaction([](transaction& tx) { return tx.one<std::int64_t>(count_all); }),
            2);
}

TEST_F(transaction_test, a_stop_request_ends_the_attempts) {
  std::stop_source stop;
  int runs = 0;
  EXPECT_THROW(db_.with_transaction({.stop = stop.get_token(), .attempts = 100},
                                    [&](transaction&) {
                                      if (++runs == 2) stop.request_stop();
                                      throw transaction_error{"again", {.code = errc::deadlock}};
                                    }),
               transaction_error);
  EXPECT_EQ(runs, 2);
}

TEST_F(transaction_test, holds_no_connection_between_attempts) {
  auto db = open_single();
  std::future<std::int64_t> other;
  int runs = 0;
  db.with_transaction([&](transaction& tx) {
    tx.execute(add, {1, 1});
    if (++runs > 1) return;
    other = std::async(std::launch::async, [&] { return db.one<std::int64_t>(count_all); });
    ASSERT_TRUE(test::eventually([&] { return db.pool_stats().waiting == 1; }));
    throw transaction_error{"again", {.code = errc::serialization}};
  });
  EXPECT_EQ(runs, 2);
  EXPECT_EQ(other.get(), 2);
  EXPECT_EQ(db.pool_stats().connects, 1U);
  EXPECT_EQ(stored(), "1 | 1\n2 | 0\n");
}

TEST_F(transaction_test, a_lock_that_is_taken_runs_the_body_again_only_when_asked) {
  static constexpr query lock{"test.lock", "SELECT n FROM numbers WHERE id = $1 FOR UPDATE NOWAIT"};
  for (const bool asked : {false, true}) {
    auto blocker = db_.begin();
    blocker.execute(lock, {1});
    int runs = 0;
    const auto run = [&] {
      db_.with_transaction({.retry_lock_timeouts = asked}, [&](transaction& tx) {
        if (++runs == 2) blocker.rollback();
        tx.execute(lock, {1});
      });
    };
    if (asked) {
      run();
    } else {
      EXPECT_EQ(caught<query_error>(run).sqlstate(), "55P03");
      blocker.rollback();  // the pool's own would come after the next round asks for the lock
    }
    EXPECT_EQ(runs, asked ? 2 : 1);
  }
}

TEST_F(transaction_test, a_body_inside_a_body_leaves_running_again_to_the_outer_one) {
  int outer = 0;
  int inner = 0;
  EXPECT_THROW(db_.with_transaction({.attempts = 3},
                                    [&](transaction&) {
                                      ++outer;
                                      db_.with_transaction([&](transaction&) {
                                        ++inner;
                                        throw transaction_error{"again", {.code = errc::deadlock}};
                                      });
                                    }),
               transaction_error);
  EXPECT_EQ(outer, 3);
  EXPECT_EQ(inner, 3);
}

TEST_F(transaction_test, when_everything_fails_the_budget_ends_the_retries) {
  int runs = 0;
  ASSERT_TRUE(test::eventually([&] {
    runs = 0;
    EXPECT_THROW(db_.with_transaction({.attempts = 2},
                                      [&](transaction&) {
                                        ++runs;
                                        throw transaction_error{"again", {.code = errc::deadlock}};
                                      }),
                 transaction_error);
    return runs == 1;
  }));
  EXPECT_EQ(figure_of(db_, "db_client_retries_refused_total", "by=\"budget\""), 1);
  EXPECT_GE(figure_of(db_, "db_client_retries_total", "reason=\"deadlock\""), 100);
  EXPECT_EQ(figure_of(db_, "db_client_retries_refused_total", "by=\"attempts\""),
            figure_of(db_, "db_client_retries_total", "reason=\"deadlock\""));
}

TEST_F(transaction_test, counts_how_transactions_end) {
  db_.with_transaction([](transaction& tx) { tx.execute(add, {1, 1}); });
  EXPECT_THROW(
      db_.with_transaction([](transaction& tx) { EXPECT_THROW(tx.execute(fail), query_error); }),
      transaction_error);
  EXPECT_EQ(figure_of(db_, "db_client_commits_total", "outcome=\"committed\""), 1);
  EXPECT_EQ(figure_of(db_, "db_client_commits_total", "outcome=\"rolled_back\""), 1);
  EXPECT_EQ(figure_of(db_, "db_client_commits_total", "outcome=\"in_doubt\""), 0);
}

/// The server says of itself that it takes no writes, as a primary does after a failover.
class demoted_primary : public transaction_test {
 protected:
  demoted_primary() { read_only(true); }

  /// Sessions see it from their start.
  void read_only(bool on) const {
    auto elsewhere = options_;
    elsewhere.name = "postgres";
    test::execute(elsewhere, "ALTER DATABASE " + options_.name +
                                 " SET default_transaction_read_only = " + (on ? "on" : "off"));
  }

  database old_ = open_single();
};

TEST_F(demoted_primary, runs_the_body_once_more_on_another_session) {
  int runs = 0;
  old_.with_transaction([&](transaction& tx) {
    ++runs;
    try {
      tx.execute(add, {1, 1});
    } catch (const connection_error&) {
      read_only(false);  // the next session finds the new primary
      throw;
    }
  });
  EXPECT_EQ(runs, 2);
  EXPECT_EQ(stored(), "1 | 1\n2 | 0\n");
  EXPECT_EQ(figure_of(old_, "db_client_retries_total", "reason=\"demoted_primary\""), 1);
}

TEST_F(demoted_primary, that_stays_one_is_reported_after_the_second_session) {
  int runs = 0;
  const auto e = caught<connection_error>([&] {
    old_.with_transaction([&](transaction& tx) {
      ++runs;
      tx.execute(add, {1, 1});
    });
  });
  EXPECT_EQ(e.code(), errc::demoted_primary);
  EXPECT_EQ(runs, 2);
  EXPECT_EQ(caught<connection_error>([&] {
              old_.execute(add, {1, 1});
            }).code(),
            errc::demoted_primary);
  EXPECT_EQ(old_.pool_stats().connects, 4U) << "no such session is used again";
}

// COMMIT

TEST_F(transaction_test, a_constraint_that_fails_at_commit_is_a_violation) {
  test::execute(options_,
                "ALTER TABLE numbers ADD CONSTRAINT n_once UNIQUE (id, n) DEFERRABLE "
                "INITIALLY DEFERRED; ALTER TABLE numbers DROP CONSTRAINT numbers_pkey");
  auto tx = db_.begin();
  tx.execute(insert, {1, 0});
  const auto e = caught<constraint_violation>([&] { tx.commit(); });
  EXPECT_EQ(e.constraint(), "n_once");
  EXPECT_EQ(stored(), "1 | 0\n2 | 0\n");
  EXPECT_EQ(db_.one<std::int64_t>(count_all), 2) << "the connection is reusable";
}

class commit_fate : public transaction_test {
 protected:
  /// Commits an insert of row 3 over a link that fails at COMMIT.
  commit_in_doubt commit_in_vain(database& db, bool track) {
    return caught<commit_in_doubt>([&] {
      auto tx = db.begin({.track_outcome = track});
      tx.execute(insert, {3, 30});
      tx.commit();
    });
  }

  tcp_proxy link_{options_};
  database linked_ = database::open(link_.options());
};

TEST_F(commit_fate, a_lost_answer_is_in_doubt_and_resolves_to_committed) {
  link_.lose_answer(commit_message);
  const auto e = commit_in_vain(linked_, true);
  EXPECT_EQ(e.code(), errc::commit_in_doubt);
  EXPECT_EQ(e.sent(), sent::maybe);
  EXPECT_FALSE(e.retryable());
  EXPECT_EQ(e.resolve(5s), commit_outcome::committed);
  EXPECT_TRUE(has(3));
}

TEST_F(commit_fate, a_lost_request_is_in_doubt_and_resolves_to_rolled_back) {
  link_.lose_request(commit_message);
  const auto e = commit_in_vain(linked_, true);
  EXPECT_EQ(e.resolve(5s), commit_outcome::rolled_back);
  EXPECT_FALSE(has(3));
}

TEST_F(commit_fate, names_its_session_and_transaction) {
  static constexpr query identity{
      "test.identity", "SELECT pg_backend_pid()::text || ' ' || pg_current_xact_id()::text"};
  link_.lose_answer(commit_message);
  std::string seen;
  const auto e = caught<commit_in_doubt>([&] {
    auto tx = linked_.begin({.track_outcome = true});
    tx.execute(insert, {3, 30});
    seen = tx.one<std::string>(identity);
    tx.commit();
  });
  EXPECT_EQ(std::to_string(e.backend_pid()) + " " + std::string{e.transaction_id()}, seen);
  EXPECT_EQ(e.resolve(5s), commit_outcome::committed);
  EXPECT_EQ(figure_of(linked_, "db_client_commits_total", "outcome=\"in_doubt\""), 1);
  EXPECT_EQ(figure_of(linked_, "db_client_in_doubt_total", "in=\"transaction\""), 1);
  EXPECT_EQ(figure_of(linked_, "db_client_in_doubt_resolutions_total", "outcome=\"committed\""), 1);
}

TEST_F(commit_fate, resolves_for_a_role_that_may_not_read_the_control_file) {
  test::execute(options_,
                "CREATE ROLE ordinary LOGIN; GRANT ALL ON numbers TO ordinary;"
                "REVOKE EXECUTE ON FUNCTION pg_control_system() FROM PUBLIC");
  auto ordinary = link_.options();
  ordinary.user = "ordinary";
  auto db = open(ordinary);
  for (const int id : {3, 4}) {  // the second one knows already what it may not ask
    link_.lose_answer(commit_message);
    const auto e = caught<commit_in_doubt>([&] {
      auto tx = db.begin({.track_outcome = true});
      tx.execute(insert, {id, 0});
      tx.commit();
    });
    EXPECT_EQ(e.resolve(5s), commit_outcome::committed);
  }
}

TEST_F(commit_fate, untracked_stays_unknown) {
  link_.lose_answer(commit_message);
  EXPECT_EQ(commit_in_vain(linked_, false).resolve(5s), commit_outcome::unknown);
  EXPECT_TRUE(has(3));
}

TEST_F(commit_fate, resolves_after_the_database_object_is_gone) {
  link_.lose_answer(commit_message);
  std::optional<commit_in_doubt> kept;
  {
    auto db = database::open(link_.options());
    kept = commit_in_vain(db, true);
  }
  EXPECT_EQ(kept->resolve(5s), commit_outcome::committed);
}

TEST_F(commit_fate, a_backend_terminated_during_commit_is_in_doubt_and_resolves) {
  test::execute(options_,
                "CREATE FUNCTION dawdle() RETURNS trigger LANGUAGE plpgsql AS "
                "$$ BEGIN PERFORM pg_sleep(60); RETURN NULL; END $$;"
                "CREATE CONSTRAINT TRIGGER slow_commit AFTER INSERT ON numbers "
                "DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION dawdle()");
  const std::jthread terminator{[&] {
    test::eventually([&] {
      return test::query_text(options_,
                              "SELECT pg_terminate_backend(pid)::text FROM pg_stat_activity "
                              "WHERE wait_event = 'PgSleep' AND datname = current_database()") ==
             "true\n";
    });
  }};
  const auto e = commit_in_vain(db_, true);
  EXPECT_EQ(e.resolve(5s), commit_outcome::rolled_back);
  EXPECT_FALSE(has(3));
}

TEST_F(commit_fate, an_idempotent_body_runs_again_when_in_doubt) {
  link_.lose_answer(commit_message);
  int runs = 0;
  linked_.with_transaction({.idempotent = true}, [&](transaction& tx) {
    if (++runs == 1) tx.execute(insert, {3, 30});
  });
  EXPECT_EQ(runs, 2);
  EXPECT_TRUE(has(3));
}

TEST_F(commit_fate, another_body_does_not_run_again_when_in_doubt) {
  link_.lose_answer(commit_message);
  int runs = 0;
  EXPECT_THROW(linked_.with_transaction([&](transaction& tx) {
    ++runs;
    tx.execute(insert, {3, 30});
  }),
               commit_in_doubt);
  EXPECT_EQ(runs, 1);
}

TEST_F(commit_fate, a_link_lost_before_commit_is_no_doubt) {
  link_.lose_answer("test.insert");
  auto tx = linked_.begin();
  const auto e = caught<connection_error>([&] { tx.execute(insert, {3, 30}); });
  EXPECT_EQ(e.code(), errc::lost);
  EXPECT_FALSE(e.connection_usable());
  EXPECT_EQ(caught<transaction_error>([&] { tx.commit(); }).code(), errc::rolled_back);
  EXPECT_FALSE(has(3));
}

// A server that was restored, or promoted, gives the same ids to other transactions.
TEST(commit_fate_elsewhere, is_not_asked_of_another_timeline) {
  testing::private_postgres server{{.durable = true, .settings = {{"restore_command", "false"}}}};
  test::execute(server.options(), "CREATE TABLE numbers (id int PRIMARY KEY, n int NOT NULL)");
  tcp_proxy link{server.options()};
  auto db = database::open(link.options());
  link.lose_answer(commit_message);
  const auto e = caught<commit_in_doubt>([&] {
    auto tx = db.begin({.track_outcome = true});
    tx.execute(insert, {1, 0});
    tx.commit();
  });
  EXPECT_EQ(e.resolve(5s), commit_outcome::committed);
  server.stop();
  // As a restore from the archive does: recovery ends on a new timeline.
  std::ofstream{std::filesystem::path{server.options().host} / "data/recovery.signal"};
  server.start();
  ASSERT_TRUE(test::eventually([&] {
    return test::query_text(server.options(), "SELECT pg_is_in_recovery()::text") == "false\n";
  }));
  // The id alone would be answered.
  EXPECT_EQ(test::query_text(server.options(), "SELECT pg_xact_status('" +
                                                   std::string{e.transaction_id()} + "'::xid8)"),
            "committed\n");
  EXPECT_EQ(e.resolve(5s), commit_outcome::unknown);
}

// Outside a transaction

TEST_F(commit_fate, a_write_whose_answer_is_lost_is_in_doubt) {
  linked_.execute(insert, {3, 30});  // prepares
  link_.lose_answer("test.insert");
  const auto e = caught<commit_in_doubt>([&] { linked_.execute(insert, {4, 40}); });
  EXPECT_EQ(e.query_name(), "test.insert");
  EXPECT_EQ(e.sent(), sent::maybe);
  EXPECT_EQ(e.resolve(1s), commit_outcome::unknown);
  EXPECT_TRUE(has(4));
}

TEST_F(commit_fate, a_write_that_never_arrived_is_in_doubt_and_not_sent_again) {
  linked_.execute(insert, {3, 30});
  link_.lose_request("test.insert");
  EXPECT_THROW(linked_.execute(insert, {4, 40}), commit_in_doubt);
  EXPECT_FALSE(has(4));
}

TEST_F(commit_fate, a_write_lost_while_it_was_prepared_runs_on_another_connection) {
  link_.lose_request("test.insert");
  EXPECT_EQ(linked_.execute(insert, {3, 30}), 1U);
  EXPECT_TRUE(has(3));
}

TEST_F(commit_fate, a_read_only_transaction_whose_link_is_lost_runs_once_more) {
  for (const int losses : {1, 2}) {
    int runs = 0;
    const auto run = [&] {
      linked_.with_transaction({.read_only = true}, [&](transaction& tx) {
        static_cast<void>(tx.one<std::int64_t>(count_all));  // prepares: lost then is not sent
        if (++runs <= losses) link_.lose_answer("test.count");
        static_cast<void>(tx.one<std::int64_t>(count_all));
      });
    };
    losses == 1 ? run() : static_cast<void>(caught<connection_error>(run));
    EXPECT_EQ(runs, 2);
  }
  EXPECT_EQ(figure_of(linked_, "db_client_retries_total", "reason=\"lost\""), 2);
  EXPECT_EQ(figure_of(linked_, "db_client_retries_refused_total", "by=\"attempts\""), 1);
}

TEST_F(commit_fate, a_lost_read_runs_once_more) {
  EXPECT_EQ(linked_.one<std::int64_t>(count_all), 2);
  link_.lose_answer("test.count");
  EXPECT_EQ(linked_.one<std::int64_t>(count_all), 2);
  EXPECT_EQ(linked_.pool_stats().connects, 2U);
  EXPECT_EQ(linked_.pool_stats().closed_broken, 1U);
}

// Plans

TEST_F(transaction_test, a_body_may_commit_itself) {
  db_.with_transaction([](transaction& tx) {
    tx.execute(add, {1, 1});
    tx.commit();
  });
  EXPECT_EQ(stored(), "1 | 1\n2 | 0\n");
}

TEST_F(transaction_test, a_savepoint_that_was_undone_is_gone) {
  auto tx = db_.begin();
  tx.execute(insert, {3, 30});
  EXPECT_THROW(tx.savepoint([](transaction& inner) {
    inner.execute(insert, {3, 31});
  }),
               constraint_violation);
  constexpr query release{"test.release", "RELEASE SAVEPOINT sp_1"};
  EXPECT_THROW(tx.execute(release), query_error);
}

TEST_F(transaction_test, a_moved_transaction_is_held_by_the_thread_that_uses_it) {
  auto db = open_single();
  auto tx = std::make_unique<transaction>(db.begin());
  std::latch used{1};
  std::latch finish{1};
  std::jthread worker{[&] {
    tx->execute(add, {1, 1});
    used.count_down();
    finish.wait();
    tx->commit();
    tx.reset();
  }};
  used.wait();
  auto waiting = std::async(std::launch::async, [&] { return db.one<std::int64_t>(count_all); });
  const auto e = caught<pool_error>(
      [&] { (void)db.one<std::int64_t>(count_all, {}, {.until = deadline::in(50ms)}); });
  EXPECT_EQ(e.code(), errc::pool_timeout) << "this thread holds nothing any more";
  finish.count_down();
  EXPECT_EQ(waiting.get(), 2);
}

TEST_F(transaction_test, a_statement_that_ends_the_transaction_is_refused_as_such) {
  constexpr query sql_rollback{"test.rollback", "ROLLBACK"};
  auto db = database::open(options_);
  auto tx = db.begin();
  tx.execute(insert, {7, 7});
  EXPECT_THROW(tx.execute(sql_rollback), invalid_argument);
  EXPECT_THROW(tx.commit(), invalid_argument);  // and not "committed"
  auto fresh = db.begin();
  EXPECT_THROW(fresh.execute(sql_rollback), invalid_argument);
  EXPECT_EQ(db.one<std::int64_t>(count_all), 2);
}

TEST_F(transaction_test, a_stale_plan_runs_the_body_again) {
  test::execute(options_, "CREATE TABLE changing (n int); INSERT INTO changing VALUES (1)");
  auto db = open_single();
  EXPECT_EQ(db.one<std::int32_t>(select_all), 1);
  test::execute(options_, "ALTER TABLE changing ALTER n TYPE bigint");
  int runs = 0;
  const auto n = db.with_transaction([&](transaction& tx) {
    ++runs;
    return tx.one<std::int64_t>(select_all);
  });
  EXPECT_EQ(n, 1);
  EXPECT_EQ(runs, 2);
}

TEST_F(transaction_test, an_error_of_a_trigger_at_commit_is_a_rollback) {
  test::execute(options_,
                "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS "
                "$$ BEGIN RAISE EXCEPTION 'refused %', NEW.n; END $$;"
                "CREATE CONSTRAINT TRIGGER refuse AFTER INSERT ON numbers DEFERRABLE INITIALLY "
                "DEFERRED FOR EACH ROW EXECUTE FUNCTION refuse()");
  auto tx = db_.begin();
  tx.execute(insert, {3, 4711});
  const auto e = caught<transaction_error>([&] { tx.commit(); });
  EXPECT_EQ(e.code(), errc::rolled_back);
  EXPECT_EQ(e.sqlstate(), "P0001");
  EXPECT_THAT(e.what(), Not(HasSubstr("4711")));
  EXPECT_FALSE(has(3));
}

TEST_F(transaction_test, a_deadline_that_passes_before_commit_is_a_rollback) {
  db_.warm_up();  // connecting shall not cost of the deadline
  for (const bool tracked : {false, true}) {
    auto tx = db_.begin({.until = deadline::in(300ms), .track_outcome = tracked});
    tx.execute(insert, {3, 30});
    ASSERT_TRUE(test::eventually([&, until = deadline::in(300ms)] { return until.passed(); }));
    const auto e = caught<transaction_error>([&] { tx.commit(); });
    EXPECT_EQ(e.code(), errc::rolled_back);
    EXPECT_FALSE(has(3));
  }
}

TEST_F(transaction_test, a_stale_plan_does_not_outlive_the_transaction_that_met_it) {
  test::execute(options_, "CREATE TABLE changing (a int)");
  auto db = open_single();
  const auto columns = [&] {
    db.with_transaction([](transaction& tx) { tx.execute(select_all); });
  };
  columns();
  test::execute(options_, "ALTER TABLE changing ADD COLUMN b int");
  try {
    columns();
  } catch (const query_error& e) {
    EXPECT_EQ(e.sqlstate(), "0A000");
  }
  columns();
}

}  // namespace
}  // namespace soundhash::db
