#include <chrono>
#include <cstdint>
#include <fstream>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <soundhash/db/core/error.hpp>
#include <soundhash/db/database.hpp>

#include "support/caught.hpp"
#include "support/heard_database.hpp"
#include "support/recording_listener.hpp"
#include "support/sql.hpp"
#include "support/tcp_proxy.hpp"
#include "support/test_database.hpp"

namespace soundhash::db {
namespace {

struct line {
  std::int32_t id = 0;
  std::string text{};
  std::optional<double> number{};
};

}  // namespace

template <>
struct row_traits<line> {
  static constexpr auto columns = std::tuple{column{"id", &line::id}, column{"text", &line::text},
                                             column{"number", &line::number}};
};

namespace {

using namespace std::chrono_literals;
using test::caught;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

#define LINES                                                                                     \
  "SELECT n AS id, md5(n::text) AS text, CASE WHEN n % 2 = 0 THEN n / 2.0::float8 END AS number " \
  "FROM generate_series(1, $1) AS n"

constexpr query lines{"test.lines", LINES, access::read_only};
constexpr query numbers{"test.numbers", "SELECT generate_series(1, $1)", access::read_only};
constexpr query fails_at{
    "test.fails_at", "SELECT 1000 / (n - $1) FROM generate_series(1, 100000) n", access::read_only};
constexpr query not_so_null{"test.null",
                            "SELECT CASE WHEN n < 3 THEN n END FROM generate_series(1, 5) AS n",
                            access::read_only};
constexpr query writing{"test.write", "INSERT INTO notes VALUES ('a') RETURNING body"};
constexpr query insert{"test.insert", "INSERT INTO notes VALUES ($1)"};
constexpr query count_notes{"test.count", "SELECT count(*) FROM notes", access::read_only};
constexpr query all_notes{"test.notes", "SELECT * FROM notes", access::read_only};
constexpr query begins_and_hangs{
    "test.hangs",
    "SELECT CASE WHEN n = 5000 THEN pg_sleep(60)::text END FROM generate_series(1, 10000) AS n",
    access::read_only};
constexpr query pid{"test.pid", "SELECT pg_backend_pid()", access::read_only};
constexpr query ends_itself{"test.ends", "COMMIT", access::read_only};

/// What the interceptors are told of statements.
class heard_statements final : public interceptor {
 public:
  struct end {
    std::string name;
    std::uint64_t rows;
    std::optional<errc> failure;
  };
  void on_start(const statement_event& event) override { started.emplace_back(event.name); }
  void on_finish(const statement_event& event) override {
    if (event.kind != statement_kind::user) return;
    ended.push_back({std::string{event.name}, event.rows,
                     event.failure ? std::optional{event.failure->code()} : std::nullopt});
  }
  std::vector<std::string> started;
  std::vector<end> ended;
};

class stream_test : public ::testing::Test {
 protected:
  stream_test() {
    test::execute(options_, "CREATE TABLE notes (body text)");
    options_.interceptors.push_back(heard_);
    options_.pool.size = 1;
    options_.pool.max_overflow = 0;
  }

  std::shared_ptr<heard_statements> heard_ = std::make_shared<heard_statements>();
  database_options options_ = test::empty_database_options();
};

/// Bytes of this process by a line of /proc/self/status: "VmRSS", "VmHWM".
std::int64_t process_kib(const std::string& what) {
  std::ifstream status{"/proc/self/status"};
  for (std::string word; status >> word;) {
    if (word != what + ":") continue;
    std::int64_t kib = 0;
    status >> kib;
    return kib;
  }
  return 0;
}

TEST_F(stream_test, gives_all_rows_in_order) {
  auto db = database::open(options_);
  std::int32_t last = 0;
  for (const auto& each : db.stream<line>(lines, {1000})) {
    ASSERT_EQ(each.id, last + 1);
    ASSERT_EQ(each.text.size(), 32U);
    ASSERT_EQ(each.number.has_value(), each.id % 2 == 0);
    ASSERT_EQ(each.number.value_or(each.id / 2.0), each.id / 2.0);
    last = each.id;
  }
  EXPECT_EQ(last, 1000);
}

TEST_F(stream_test, of_nothing_is_empty) {
  auto db = database::open(options_);
  for (const auto& each : db.stream<line>(lines, {0})) ADD_FAILURE() << each.id;
  EXPECT_EQ(db.one<std::int64_t>(count_notes), 0) << "the connection is free again";
}

TEST_F(stream_test, a_million_rows_take_the_memory_of_few) {
  auto db = database::open(options_);
  (void)db.all<std::int32_t>(numbers, {1000});
  test::execute(options_, "SELECT 1");
  std::ofstream{"/proc/self/clear_refs"} << 5;  // the peak counts from here
  const auto before = process_kib("VmRSS");
  std::int64_t sum = 0;
  std::int64_t rows = 0;
  for (const auto& each : db.stream<line>(lines, {1'000'000})) {
    sum += each.id;
    ++rows;
  }
  EXPECT_EQ(rows, 1'000'000);
  EXPECT_EQ(sum, 500'000'500'000);
  RecordProperty("grown_kib", std::to_string(process_kib("VmHWM") - before));
  EXPECT_GT(before, 0);
  EXPECT_LE(process_kib("VmHWM") - before, 16 * 1024);
}

TEST_F(stream_test, is_one_statement_for_the_interceptors) {
  auto db = database::open(options_);
  for (const auto& each : db.stream<line>(lines, {1234})) (void)each;
  EXPECT_THAT(heard_->started, ElementsAre("test.lines"));
  ASSERT_EQ(heard_->ended.size(), 1U);
  EXPECT_EQ(heard_->ended[0].rows, 1234U);
  EXPECT_FALSE(heard_->ended[0].failure);
  EXPECT_EQ(db.metrics().snapshot().total_queries, 1U);
}

TEST_F(stream_test, refuses_a_statement_that_may_write) {
  auto db = database::open(options_);
  const auto e = caught<invalid_argument>([&] { (void)db.stream<std::string>(writing); });
  EXPECT_THAT(e.what(), HasSubstr("test.write"));
  EXPECT_EQ(db.one<std::int64_t>(count_notes), 0);
}

TEST_F(stream_test, an_error_of_the_first_row_comes_at_once) {
  auto db = database::open(options_);
  const auto e = caught<query_error>([&] { (void)db.stream<std::int32_t>(fails_at, {1}); });
  EXPECT_EQ(e.sqlstate(), "22012");
  EXPECT_EQ(db.one<std::int64_t>(count_notes), 0);
}

TEST_F(stream_test, an_error_in_the_middle_is_thrown_after_the_rows_before_it) {
  auto db = database::open(options_);
  const auto before = db.one<std::int32_t>(pid);
  int rows = 0;
  const auto e = caught<query_error>([&] {
    for (const auto each : db.stream<std::int32_t>(fails_at, {50'000})) {
      (void)each;
      ++rows;
    }
  });
  EXPECT_EQ(e.sqlstate(), "22012");
  EXPECT_EQ(e.query_name(), "test.fails_at");
  EXPECT_TRUE(e.connection_usable());
  EXPECT_EQ(rows, 49'999);
  EXPECT_EQ(heard_->ended.back().rows, 49'999U);
  EXPECT_EQ(heard_->ended.back().failure, errc::server_error);
  EXPECT_EQ(db.one<std::int32_t>(pid), before) << "the session lives";
}

TEST_F(stream_test, a_row_that_cannot_be_decoded_ends_it) {
  auto db = database::open(options_);
  std::vector<std::int32_t> read;
  const auto e = caught<decode_error>([&] {
    for (const auto each : db.stream<std::int32_t>(not_so_null)) read.push_back(each);
  });
  EXPECT_THAT(e.what(), HasSubstr("NULL"));
  EXPECT_THAT(read, ElementsAre(1, 2));
  EXPECT_EQ(heard_->ended.back().failure, errc::decode);
  EXPECT_EQ(db.one<std::int64_t>(count_notes), 0);
}

TEST_F(stream_test, a_body_that_changes_rows_reads_row_by_row_too) {
  test::heard_database db{options_, std::make_shared<test::recording_listener>()};
  db.changing("notes", [](executor& on, tag_set&) {
    for (const auto each : on.stream<std::int32_t>(numbers, {1000})) {
      if (each == 2) break;
    }
  });
  EXPECT_EQ(heard_->ended.back().rows, 2U);
}

// Early ends

TEST_F(stream_test, ended_early_with_little_left_keeps_its_session) {
  auto db = database::open(options_);
  const auto before = db.one<std::int32_t>(pid);
  for (const auto each : db.stream<std::int32_t>(numbers, {5})) {
    if (each == 2) break;
  }
  EXPECT_EQ(heard_->ended.back().rows, 2U);
  EXPECT_FALSE(heard_->ended.back().failure);
  EXPECT_EQ(db.one<std::int32_t>(pid), before);
}

TEST_F(stream_test, ended_early_with_much_left_costs_its_session_and_no_more) {
  auto db = database::open(options_);
  const auto before = db.one<std::int32_t>(pid);
  for (const auto each : db.stream<std::int32_t>(numbers, {50'000'000})) {
    if (each == 2) break;
  }
  EXPECT_NE(db.one<std::int32_t>(pid), before);
}

TEST_F(stream_test, that_is_never_read_is_ended_too) {
  auto db = database::open(options_);
  { const auto unread = db.stream<std::int32_t>(numbers, {1000}); }
  EXPECT_EQ(db.one<std::int64_t>(count_notes), 0);
}

TEST_F(stream_test, an_exception_of_its_reader_ends_it) {
  auto db = database::open(options_);
  EXPECT_THROW(
      {
        for (const auto each : db.stream<std::int32_t>(numbers, {1000})) throw each;
      },
      std::int32_t);
  EXPECT_EQ(db.one<std::int64_t>(count_notes), 0);
}

// Deadlines

TEST_F(stream_test, its_deadline_bounds_the_whole_of_it) {
  auto db = database::open(options_);
  int rows = 0;
  const auto began = deadline::clock::now();
  const auto e = caught<timeout_error>([&] {
    for (const auto& each : db.stream<std::optional<std::string>>(begins_and_hangs, {},
                                                                  {.until = deadline::in(300ms)})) {
      (void)each;
      ++rows;
    }
  });
  EXPECT_EQ(e.code(), errc::statement_deadline);
  EXPECT_LT(deadline::clock::now() - began, 10s);
  EXPECT_EQ(db.one<std::int64_t>(count_notes), 0);
}

TEST_F(stream_test, a_server_that_falls_silent_costs_the_session) {
  test::tcp_proxy link{options_};
  auto through = link.options();
  through.pool = options_.pool;
  auto db = database::open(through);
  link.arm({.what = test::effect::silence, .after = 100'000, .trigger = "test.lines"});
  const auto began = deadline::clock::now();
  auto rows = db.stream<line>(lines, {1'000'000}, {.until = deadline::in(1s)});
  auto at = rows.begin();
  const auto e = caught<timeout_error>([&] {
    while (at != rows.end()) ++at;
  });
  EXPECT_LT(deadline::clock::now() - began, 5s);
  EXPECT_EQ(e.code(), errc::deadline_exceeded);
  EXPECT_FALSE(e.connection_usable());
}

TEST_F(stream_test, a_stop_request_ends_it) {
  auto db = database::open(options_);
  std::stop_source stop;
  auto rows =
      db.stream<std::optional<std::string>>(begins_and_hangs, {}, {.stop = stop.get_token()});
  auto at = rows.begin();
  stop.request_stop();
  const auto e = caught<cancelled>([&] {
    while (at != rows.end()) ++at;
  });
  EXPECT_EQ(e.query_name(), "test.hangs");
  EXPECT_EQ(db.one<std::int64_t>(count_notes), 0);
}

TEST_F(stream_test, a_link_lost_before_the_first_row_is_tried_once_more) {
  test::tcp_proxy link{options_};
  auto db = database::open(link.options());
  link.lose_answer("test.lines");
  int rows = 0;
  for (const auto& each : db.stream<line>(lines, {10})) rows += each.id > 0 ? 1 : 0;
  EXPECT_EQ(rows, 10);
}

TEST_F(stream_test, a_link_lost_in_the_middle_is_a_typed_error) {
  test::tcp_proxy link{options_};
  auto db = database::open(link.options());
  auto rows = db.stream<line>(lines, {1'000'000});
  auto at = rows.begin();
  link.cut();
  const auto e = caught<connection_error>([&] {
    while (at != rows.end()) ++at;
  });
  EXPECT_EQ(e.code(), errc::lost);
  EXPECT_TRUE(e.retryable());
}

TEST_F(stream_test, a_stale_plan_is_made_anew) {
  auto db = database::open(options_);
  for (const auto& each : db.stream<std::string>(all_notes)) (void)each;
  test::execute(options_,
                "INSERT INTO notes VALUES ('a'); ALTER TABLE notes ALTER body TYPE varchar");
  int rows = 0;
  for (const auto& each : db.stream<std::string>(all_notes)) rows += each == "a" ? 1 : 0;
  EXPECT_EQ(rows, 1);
}

// Transactions

TEST_F(stream_test, a_transaction_reads_what_it_wrote_and_goes_on) {
  auto db = database::open(options_);
  auto tx = db.begin();
  tx.execute(insert, {"a"});
  std::vector<std::string> read;
  for (auto& each : tx.stream<std::string>(all_notes)) read.push_back(std::move(each));
  tx.execute(insert, {"b"});
  tx.commit();
  EXPECT_THAT(read, ElementsAre("a"));
  EXPECT_EQ(db.one<std::int64_t>(count_notes), 2);
}

TEST_F(stream_test, may_begin_a_transaction) {
  auto db = database::open(options_);
  auto tx = db.begin({.until = deadline::in(20s)});
  int rows = 0;
  for (const auto each : tx.stream<std::int32_t>(numbers, {100})) rows += each > 0 ? 1 : 0;
  tx.execute(insert, {"a"});
  tx.commit();
  EXPECT_EQ(rows, 100);
  EXPECT_EQ(db.one<std::int64_t>(count_notes), 1);
}

TEST_F(stream_test, a_transaction_goes_on_after_an_early_end) {
  auto db = database::open(options_);
  auto tx = db.begin();
  tx.execute(insert, {"a"});
  for (const auto each : tx.stream<std::int32_t>(numbers, {100'000})) {
    if (each == 10) break;
  }
  tx.execute(insert, {"b"});
  tx.commit();
  EXPECT_EQ(db.one<std::int64_t>(count_notes), 2);
}

TEST_F(stream_test, a_transaction_refuses_other_statements_meanwhile) {
  auto db = database::open(options_);
  auto tx = db.begin();
  {
    auto rows = tx.stream<std::int32_t>(numbers, {100});
    auto at = rows.begin();
    EXPECT_THAT(caught<invalid_argument>([&] { tx.execute(insert, {"a"}); }).what(),
                HasSubstr("stream"));
    EXPECT_THROW(tx.commit(), invalid_argument);
    EXPECT_THROW((void)tx.stream<std::int32_t>(numbers, {1}), invalid_argument);
    int rest = 0;
    for (; at != rows.end(); ++at) ++rest;
    EXPECT_EQ(rest, 100) << "none of it harmed the stream";
  }
  tx.execute(insert, {"a"});
  tx.commit();
  EXPECT_EQ(db.one<std::int64_t>(count_notes), 1);
}

TEST_F(stream_test, an_error_in_the_middle_fails_its_transaction) {
  auto db = database::open(options_);
  auto tx = db.begin();
  tx.execute(insert, {"a"});
  EXPECT_THROW(
      {
        for (const auto each : tx.stream<std::int32_t>(fails_at, {50'000})) (void)each;
      },
      query_error);
  EXPECT_EQ(caught<transaction_error>([&] { tx.execute(insert, {"b"}); }).code(), errc::rolled_back)
      << "refused without asking the server, which would say 25P02";
  EXPECT_EQ(caught<transaction_error>([&] { tx.commit(); }).code(), errc::rolled_back);
  EXPECT_EQ(db.one<std::int64_t>(count_notes), 0);
}

TEST_F(stream_test, a_rollback_ends_it) {
  auto db = database::open(options_);
  auto tx = db.begin();
  tx.execute(insert, {"a"});
  auto rows = tx.stream<std::int32_t>(numbers, {1000});
  auto at = rows.begin();
  tx.rollback();
  EXPECT_THROW(++at, invalid_argument);
  EXPECT_EQ(db.one<std::int64_t>(count_notes), 0);
}

TEST_F(stream_test, a_savepoint_that_is_left_by_an_exception_ends_it) {
  auto db = database::open(options_);
  auto tx = db.begin();
  tx.execute(insert, {"a"});
  std::optional<row_stream<std::int32_t>> rows;
  EXPECT_THROW(tx.savepoint([&](transaction& inner) {
    inner.execute(insert, {"b"});
    rows.emplace(inner.stream<std::int32_t>(numbers, {1000}));
    throw 1;
  }),
               int);
  tx.commit();
  EXPECT_EQ(db.one<std::int64_t>(count_notes), 1);
}

TEST_F(stream_test, a_transaction_that_ends_first_ends_it) {
  auto db = database::open(options_);
  std::optional<row_stream<std::int32_t>> rows;
  {
    auto tx = db.begin();
    rows.emplace(tx.stream<std::int32_t>(numbers, {1000}));
  }
  EXPECT_THROW((void)rows->begin(), invalid_argument);
  EXPECT_EQ(db.one<std::int64_t>(count_notes), 0);
}

TEST_F(stream_test, that_ends_its_transaction_is_refused_as_such) {
  auto db = database::open(options_);
  auto tx = db.begin();
  tx.execute(insert, {"a"});
  EXPECT_THROW((void)tx.stream<std::int32_t>(ends_itself), invalid_argument);
}

// Behind a pooler

TEST_F(stream_test, works_behind_pgbouncer) {
  auto pooled = test::pooler().options(options_.name);
  pooled.pool = options_.pool;
  auto db = database::open(pooled);
  int rows = 0;
  for (const auto& each : db.stream<line>(lines, {10'000})) rows += each.id > 0 ? 1 : 0;
  EXPECT_EQ(rows, 10'000);
  for (const auto each : db.stream<std::int32_t>(numbers, {50'000'000})) {
    if (each == 2) break;
  }
  EXPECT_EQ(db.one<std::int64_t>(count_notes), 0) << "and after an early end";
}

}  // namespace
}  // namespace soundhash::db
