#include <chrono>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

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
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr query echo{"test.echo", "SELECT $1::int4", access::read_only};
constexpr query quotient{"test.quotient", "SELECT 100 / $1::int4", access::read_only};
constexpr query series{"test.series", "SELECT generate_series(1, $1)", access::read_only};
constexpr query absent{"test.absent", "SELECT 1 WHERE false", access::read_only};
constexpr query insert{"test.insert", "INSERT INTO notes VALUES ($1)"};
constexpr query no_table{"test.no_table", "SELECT * FROM nowhere", access::read_only};
constexpr query sleep{"test.sleep", "SELECT 1 FROM pg_sleep($1)", access::read_only};
constexpr query slow_insert{"test.slow_insert", "INSERT INTO notes SELECT $1 FROM pg_sleep(60)"};
constexpr query pid{"test.pid", "SELECT pg_backend_pid()", access::read_only};
constexpr query echo_too{"test.echo", "SELECT $1::int8", access::read_only};
constexpr query long_text{"test.long", "SELECT repeat('x', $1)", access::read_only};
constexpr query copy{"test.copy", "COPY notes TO STDOUT", access::read_only};
constexpr query disguised_copy{"test.disguised", "/* /* */ */ COPY notes TO STDOUT",
                               access::read_only};
constexpr query begins{"test.begins", "BEGIN"};

class heard_statements final : public interceptor {
 public:
  void on_finish(const statement_event& event) override {
    const std::lock_guard lock{mutex_};
    if (event.kind != statement_kind::user) return;
    ended.push_back(std::string{event.name} + (event.failure ? " failed" : ""));
  }
  std::vector<std::string> ended;

 private:
  std::mutex mutex_;
};

class pipeline_test : public ::testing::Test {
 protected:
  pipeline_test() {
    test::execute(options_, "CREATE TABLE notes (body text UNIQUE)");
    options_.interceptors.push_back(heard_);
    options_.pool.size = 1;
    options_.pool.max_overflow = 0;
  }

  [[nodiscard]] std::string stored() const {
    return test::query_text(options_, "SELECT body FROM notes ORDER BY body");
  }

  std::shared_ptr<heard_statements> heard_ = std::make_shared<heard_statements>();
  database_options options_ = test::empty_database_options();
};

TEST_F(pipeline_test, answers_each_statement_as_its_verb_would) {
  auto db = database::open(options_);
  pipeline batch;
  const auto one = batch.one<std::int32_t>(echo, {7});
  const auto none = batch.maybe<std::int32_t>(absent);
  const auto some = batch.all<std::int32_t>(series, {3});
  const auto touched = batch.execute(insert, {"a"});
  EXPECT_EQ(batch.size(), 4U);
  db.execute(batch);
  EXPECT_EQ(one.get(), 7);
  EXPECT_FALSE(none.get());
  EXPECT_THAT(some.get(), ElementsAre(1, 2, 3));
  EXPECT_EQ(touched.get(), 1U);
  EXPECT_EQ(stored(), "a\n");
}

TEST_F(pipeline_test, is_one_round_trip_also_when_its_statements_are_new) {
  test::tcp_proxy link{options_};
  auto db = database::open(link.options());
  db.warm_up();
  for (int time = 0; time < 2; ++time) {
    const auto before = link.round_trips();
    pipeline batch;
    std::vector<pipelined<std::int32_t>> answers;
    for (int i = 0; i < 10; ++i) answers.push_back(batch.one<std::int32_t>(echo, {i}));
    db.execute(batch);
    for (int i = 0; i < 10; ++i) EXPECT_EQ(answers[static_cast<std::size_t>(i)].get(), i);
    EXPECT_EQ(link.round_trips() - before, 1);
  }
}

TEST_F(pipeline_test, prepares_each_name_once) {
  auto db = database::open(options_);
  for (int time = 0; time < 2; ++time) {
    pipeline batch;
    (void)batch.one<std::int32_t>(echo, {1});
    (void)batch.one<std::int32_t>(echo, {2});
    db.execute(batch);
  }
  constexpr query prepared{"test.prepared",
                           "SELECT count(*) FROM pg_prepared_statements WHERE name = 'test.echo'",
                           access::read_only};
  EXPECT_EQ(db.one<std::int64_t>(prepared), 1);
  EXPECT_EQ(db.one<std::int32_t>(echo, {3}), 3) << "a single call uses it too";
}

TEST_F(pipeline_test, one_that_fails_takes_none_along) {
  auto db = database::open(options_);
  pipeline batch;
  const auto before = batch.execute(insert, {"a"});
  const auto by_zero = batch.one<std::int32_t>(quotient, {0});
  const auto twice = batch.execute(insert, {"a"});
  const auto nowhere = batch.all<std::int32_t>(no_table);
  const auto too_many = batch.one<std::int32_t>(series, {2});
  const auto after = batch.one<std::int32_t>(quotient, {5});
  const auto last = batch.execute(insert, {"b"});
  db.execute(batch);
  EXPECT_EQ(before.get(), 1U);
  EXPECT_EQ(caught<query_error>([&] { (void)by_zero.get(); }).sqlstate(), "22012");
  EXPECT_EQ(caught<constraint_violation>([&] { (void)twice.get(); }).kind(),
            constraint_kind::unique);
  const auto e = caught<query_error>([&] { (void)nowhere.get(); });
  EXPECT_EQ(e.sqlstate(), "42P01");
  EXPECT_EQ(e.query_name(), "test.no_table");
  EXPECT_EQ(caught<cardinality_error>([&] { (void)too_many.get(); }).code(), errc::several_rows);
  EXPECT_FALSE(too_many.ok());
  EXPECT_TRUE(after.ok());
  EXPECT_EQ(after.get(), 20);
  EXPECT_EQ(last.get(), 1U);
  EXPECT_EQ(stored(), "a\nb\n");
  EXPECT_THAT(heard_->ended, ElementsAre("test.insert", "test.quotient failed",
                                         "test.insert failed", "test.no_table failed",
                                         "test.series failed", "test.quotient", "test.insert"));
}

TEST_F(pipeline_test, reads_that_a_failed_one_kept_from_running_take_one_more_round_trip) {
  test::tcp_proxy link{options_};
  auto db = database::open(link.options());
  db.warm_up();
  pipeline batch;
  std::vector<pipelined<std::int32_t>> answers;
  for (const int divisor : {1, 0, 2, 0, 4}) {
    answers.push_back(batch.one<std::int32_t>(quotient, {divisor}));
  }
  // What is sent in pieces without a wait in between is on its way before the first answer.
  link.set_pace(test::direction::to_server, {.slice = 0, .delay = 200ms});
  const auto before = link.round_trips();
  db.execute(batch, {.until = deadline::in(20s)});
  EXPECT_EQ(link.round_trips() - before, 2);
  EXPECT_EQ(answers[0].get(), 100);
  EXPECT_THROW((void)answers[1].get(), query_error);
  EXPECT_EQ(answers[2].get(), 50);
  EXPECT_THROW((void)answers[3].get(), query_error);
  EXPECT_EQ(answers[4].get(), 25);
}

TEST_F(pipeline_test, what_was_read_before_a_serialization_failure_is_read_again) {
  test::execute(options_,
                "CREATE SEQUENCE reads;"
                "CREATE FUNCTION conflict() RETURNS int4 LANGUAGE plpgsql AS "
                "$$ BEGIN RAISE EXCEPTION 'conflict' USING ERRCODE = '40001'; END $$");
  constexpr query times_read{"test.times_read", "SELECT nextval('reads')", access::read_only};
  constexpr query conflict{"test.conflict", "SELECT conflict()", access::read_only};
  auto db = database::open(options_);
  pipeline batch;
  const auto before = batch.one<std::int64_t>(times_read);
  const auto failed = batch.one<std::int32_t>(conflict);
  db.execute(batch);
  EXPECT_EQ(before.get(), 2);
  EXPECT_EQ(caught<transaction_error>([&] { (void)failed.get(); }).code(), errc::serialization);
}

TEST_F(pipeline_test, a_constraint_that_fails_after_the_command_tag_is_its_writes_own) {
  test::execute(options_,
                "CREATE TABLE parents (id int PRIMARY KEY);"
                "CREATE TABLE children (parent int REFERENCES parents DEFERRABLE INITIALLY "
                "DEFERRED)");
  constexpr query orphan{"test.orphan", "INSERT INTO children VALUES (1)"};
  auto db = database::open(options_);
  pipeline batch;
  const auto before = batch.execute(insert, {"a"});
  const auto refused = batch.execute(orphan);
  const auto after = batch.execute(insert, {"b"});
  db.execute(batch);
  EXPECT_TRUE(before.ok());
  EXPECT_EQ(caught<constraint_violation>([&] { (void)refused.get(); }).kind(),
            constraint_kind::foreign_key);
  EXPECT_TRUE(after.ok());
  EXPECT_EQ(stored(), "a\nb\n");
}

TEST_F(pipeline_test, a_new_statement_that_cannot_be_prepared_is_not_remembered) {
  auto db = database::open(options_);
  pipeline batch;
  const auto first = batch.all<std::int32_t>(no_table);
  const auto second = batch.all<std::int32_t>(no_table);
  db.execute(batch);
  EXPECT_THROW((void)first.get(), query_error);
  EXPECT_EQ(caught<query_error>([&] { (void)second.get(); }).sqlstate(), "42P01");
  test::execute(options_, "CREATE TABLE nowhere (n int4)");
  db.execute(batch);
  EXPECT_TRUE(first.get().empty());
  EXPECT_TRUE(second.get().empty());
}

TEST_F(pipeline_test, statements_that_somebody_discarded_are_prepared_again) {
  auto db = database::open(options_);
  EXPECT_EQ(db.one<std::int32_t>(echo, {1}), 1);
  constexpr query discard{"test.discard", "DEALLOCATE ALL"};
  db.execute(discard);
  pipeline batch;
  const auto first = batch.one<std::int32_t>(echo, {1});
  const auto second = batch.one<std::int32_t>(echo, {2});
  db.execute(batch);
  EXPECT_EQ(first.get(), 1);
  EXPECT_EQ(second.get(), 2);
}

TEST_F(pipeline_test, one_name_for_two_texts_is_that_statements_own_error) {
  auto db = database::open(options_);
  pipeline batch;
  const auto first = batch.one<std::int32_t>(echo, {1});
  const auto other = batch.one<std::int64_t>(echo_too, {2});
  const auto last = batch.one<std::int32_t>(echo, {3});
  db.execute(batch);
  EXPECT_EQ(first.get(), 1);
  EXPECT_THAT(caught<invalid_argument>([&] { (void)other.get(); }).what(), HasSubstr("test.echo"));
  EXPECT_EQ(last.get(), 3);
}

TEST_F(pipeline_test, before_it_is_executed_there_is_no_answer) {
  auto db = database::open(options_);
  pipeline batch;
  const auto answer = batch.one<std::int32_t>(echo, {1});
  EXPECT_FALSE(answer.ok());
  EXPECT_THROW((void)answer.get(), invalid_argument);
  pipeline nothing;
  db.execute(nothing);
}

// Both sides would wait for each other if one of them only wrote.
TEST_F(pipeline_test, may_be_larger_than_all_socket_buffers) {
  auto db = database::open(options_);
  pipeline batch;
  std::vector<pipelined<std::string>> answers;
  for (int i = 0; i < 300; ++i) answers.push_back(batch.one<std::string>(long_text, {100'000}));
  const auto large = batch.execute(insert, {std::string(1'000, 'y')});
  db.execute(batch);
  for (const auto& each : answers) ASSERT_EQ(each.get().size(), 100'000U);
  EXPECT_EQ(large.get(), 1U);
}

// Deadlines

TEST_F(pipeline_test, the_server_ends_the_one_that_meets_the_deadline) {
  auto db = database::open(options_);
  const auto session = db.one<std::int32_t>(pid);
  pipeline batch;
  const auto first = batch.one<std::int32_t>(echo, {1});
  const auto late = batch.one<std::int32_t>(sleep, {60.0});
  db.execute(batch, {.until = deadline::in(300ms)});
  EXPECT_EQ(first.get(), 1);
  EXPECT_EQ(caught<timeout_error>([&] { (void)late.get(); }).code(), errc::statement_deadline);
  EXPECT_EQ(db.one<std::int32_t>(pid), session);
}

TEST_F(pipeline_test, what_is_behind_it_has_no_answer_in_time) {
  auto db = database::open(options_);
  pipeline batch;
  const auto late = batch.one<std::int32_t>(sleep, {60.0});
  const auto read = batch.one<std::int32_t>(sleep, {60.0});
  const auto write = batch.execute(slow_insert, {"a"});
  const auto began = deadline::clock::now();
  db.execute(batch, {.until = deadline::in(300ms)});
  EXPECT_LT(deadline::clock::now() - began, 10s);
  EXPECT_THROW((void)late.get(), timeout_error);
  EXPECT_EQ(caught<timeout_error>([&] { (void)read.get(); }).code(), errc::deadline_exceeded);
  EXPECT_EQ(caught<commit_in_doubt>([&] { (void)write.get(); }).query_name(), "test.slow_insert");
  EXPECT_EQ(db.one<std::int32_t>(echo, {1}), 1);
}

TEST_F(pipeline_test, a_stop_request_ends_the_wait_for_all) {
  auto db = database::open(options_);
  std::stop_source stop;
  pipeline batch;
  const auto first = batch.one<std::int32_t>(sleep, {60.0});
  const auto second = batch.one<std::int32_t>(echo, {1});
  const std::jthread stopper{[&] {
    const auto asleep = [&] {
      return test::query_text(options_,
                              "SELECT 'x' FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND "
                              "datname = current_database()") == "x\n";
    };
    if (test::eventually(asleep)) stop.request_stop();
  }};
  db.execute(batch, {.stop = stop.get_token()});
  EXPECT_THROW((void)first.get(), cancelled);
  EXPECT_EQ(caught<cancelled>([&] { (void)second.get(); }).query_name(), "test.echo");
}

TEST_F(pipeline_test, a_deadline_that_has_passed_sends_nothing) {
  auto db = database::open(options_);
  db.warm_up();
  pipeline batch;
  const auto write = batch.execute(insert, {"a"});
  EXPECT_THROW(db.execute(batch, {.until = deadline::in(-1ms)}), error);
  EXPECT_THROW((void)write.get(), invalid_argument) << "it never ran";
  EXPECT_EQ(stored(), "");
}

// Lost links

TEST_F(pipeline_test, lost_reads_run_once_more_and_writes_are_in_doubt) {
  test::tcp_proxy link{options_};
  auto db = database::open(link.options());
  link.lose_answer("test.insert");
  pipeline batch;
  const auto read = batch.one<std::int32_t>(echo, {1});
  const auto write = batch.execute(insert, {"a"});
  const auto after = batch.one<std::int32_t>(echo, {2});
  db.execute(batch);
  EXPECT_EQ(read.get(), 1);
  EXPECT_THROW((void)write.get(), commit_in_doubt);
  EXPECT_EQ(after.get(), 2);
  EXPECT_EQ(stored(), "a\n") << "once";
}

TEST_F(pipeline_test, what_is_refused_before_it_is_sent_keeps_nothing_else_from_running) {
  auto db = database::open(options_);
  const auto session = db.one<std::int32_t>(pid);
  params many;
  for (int i = 0; i < 65536; ++i) many.append(i);
  pipeline batch;
  const auto first = batch.one<std::int32_t>(echo, many);
  const auto before = batch.one<std::int32_t>(echo, {1});
  const auto refused = batch.execute(copy);
  const auto begun = batch.execute(begins);
  const auto after = batch.one<std::int32_t>(echo, {2});
  const auto write = batch.execute(insert, {"a"});
  db.execute(batch, {.until = deadline::in(20s)});
  EXPECT_THAT(caught<invalid_argument>([&] { (void)first.get(); }).what(), HasSubstr("65536"));
  EXPECT_EQ(before.get(), 1);
  EXPECT_THAT(caught<invalid_argument>([&] { (void)refused.get(); }).what(), HasSubstr("COPY"));
  EXPECT_EQ(after.get(), 2);
  EXPECT_THROW((void)begun.get(), invalid_argument);
  EXPECT_EQ(write.get(), 1U);
  EXPECT_EQ(stored(), "a\n");
  EXPECT_EQ(db.one<std::int32_t>(pid), session);
}

TEST_F(pipeline_test, a_disguised_copy_costs_the_session_and_its_followers_their_answers) {
  auto db = database::open(options_);
  pipeline batch;
  const auto before = batch.one<std::int32_t>(echo, {1});
  const auto copied = batch.execute(disguised_copy);
  const auto after = batch.one<std::int32_t>(echo, {2});
  const auto write = batch.execute(insert, {"a"});
  const auto last = batch.execute(slow_insert, {"b"});
  db.execute(batch);
  EXPECT_EQ(before.get(), 1);
  EXPECT_FALSE(caught<query_error>([&] { (void)copied.get(); }).connection_usable());
  EXPECT_EQ(after.get(), 2) << "once more, elsewhere";
  const auto doubt = caught<commit_in_doubt>([&] { (void)write.get(); });
  EXPECT_THAT(doubt.what(), AllOf(HasSubstr("test.insert"), HasSubstr("a COPY ahead of it")));
  EXPECT_EQ(caught<commit_in_doubt>([&] { (void)last.get(); }).query_name(), "test.slow_insert");
}

// Elsewhere

TEST_F(pipeline_test, a_transaction_runs_it_too_and_fails_as_a_whole) {
  auto db = database::open(options_);
  auto tx = db.begin();
  pipeline batch;
  const auto first = batch.execute(insert, {"a"});
  const auto by_zero = batch.one<std::int32_t>(quotient, {0});
  const auto last = batch.execute(insert, {"b"});
  tx.execute(batch);
  EXPECT_EQ(first.get(), 1U);
  EXPECT_THROW((void)by_zero.get(), query_error);
  EXPECT_EQ(caught<transaction_error>([&] { (void)last.get(); }).code(), errc::rolled_back);
  EXPECT_THROW(tx.commit(), transaction_error);
  EXPECT_EQ(stored(), "");
}

TEST_F(pipeline_test, works_behind_pgbouncer) {
  auto pooled = test::pooler().options(options_.name);
  pooled.pool = options_.pool;
  auto db = database::open(pooled);
  pipeline batch;
  std::vector<pipelined<std::int32_t>> answers;
  for (int i = 0; i < 20; ++i) answers.push_back(batch.one<std::int32_t>(quotient, {i}));
  const auto write = batch.execute(insert, {"a"});
  for (int time = 0; time < 3; ++time) db.execute(batch, {.until = deadline::in(10s)});
  EXPECT_EQ(caught<query_error>([&] { (void)answers[0].get(); }).sqlstate(), "22012");
  for (int i = 1; i < 20; ++i) EXPECT_EQ(answers[static_cast<std::size_t>(i)].get(), 100 / i);
  EXPECT_THROW((void)write.get(), constraint_violation) << "the first time it was stored";
  EXPECT_EQ(stored(), "a\n");
}

}  // namespace
}  // namespace soundhash::db
