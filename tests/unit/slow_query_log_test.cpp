#include "observe/slow_query_log.hpp"

#include <chrono>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <spdlog/sinks/ostream_sink.h>
#include <spdlog/spdlog.h>

#include <soundhash/db/core/error.hpp>
#include <soundhash/db/observe/logger.hpp>

#include "observe/sql_excerpt.hpp"

namespace soundhash::db {
namespace {

using namespace std::chrono_literals;

class slow_query_log_test : public testing::Test {
 protected:
  slow_query_log_test() {
    auto sink = std::make_shared<spdlog::sinks::ostream_sink_mt>(text_);
    sink->set_pattern("%l %v");
    captured_ = std::make_shared<spdlog::logger>("captured", std::move(sink));
    set_logger(captured_);
  }
  ~slow_query_log_test() override { set_logger(nullptr); }

  void finish(std::chrono::nanoseconds execute, std::string_view sql = "SELECT 1") {
    statement_event event;
    event.name = "video.find";
    event.sql = sql;
    event.execute = execute;
    event.rows = 12;
    log_.on_finish(event);
  }

  /// The lines written since the last call.
  std::vector<std::string> lines() {
    std::istringstream in{text_.str()};
    text_.str("");
    std::vector<std::string> found;
    for (std::string line; std::getline(in, line);) found.push_back(line);
    return found;
  }

  std::ostringstream text_;
  std::shared_ptr<spdlog::logger> captured_;
  std::chrono::steady_clock::time_point now_{};
  slow_query_log log_{100ms, [this] { return now_; }};
};

TEST_F(slow_query_log_test, logs_only_what_is_slower_than_the_threshold) {
  finish(100ms);
  EXPECT_TRUE(lines().empty());
  finish(100ms + 1ns);
  EXPECT_EQ(lines().size(), 1U);
}

TEST_F(slow_query_log_test, the_wait_for_a_connection_is_not_slow) {
  statement_event event;
  event.acquire = 5s;
  event.execute = 1ms;
  log_.on_finish(event);
  EXPECT_TRUE(lines().empty());
}

TEST_F(slow_query_log_test, a_line_has_name_phases_rows_and_sql) {
  statement_event event;
  event.name = "video.find";
  event.sql = "SELECT *\n   FROM videos\n\tWHERE id = $1";
  event.acquire = 1500us;
  event.prepare = 2ms;
  event.execute = 123'456us;
  event.decode = 30us;
  event.rows = 1;
  log_.on_finish(event);
  EXPECT_EQ(lines(), (std::vector<std::string>{
                         "warning slow statement video.find: acquire 1.500 ms, prepare 2.000 ms, "
                         "execute 123.456 ms, decode 0.030 ms; 1 row: "
                         "SELECT * FROM videos WHERE id = $1"}));
}

TEST_F(slow_query_log_test, a_failure_shows_its_sqlstate_and_not_its_text) {
  const query_error refusal{"Key (id)=(secret) exists", {.code = errc::server_error}};
  statement_event event;
  event.execute = 1s;
  event.failure = &refusal;
  event.sqlstate = "57014";
  log_.on_finish(event);
  const auto line = lines().at(0);
  EXPECT_NE(line.find("failed with SQLSTATE 57014"), std::string::npos);
  EXPECT_EQ(line.find("secret"), std::string::npos);
}

TEST_F(slow_query_log_test, a_failure_without_sqlstate_is_just_failed) {
  const query_error refusal{"gone", {.code = errc::lost}};
  statement_event event;
  event.sql = "SELECT 1";
  event.execute = 1s;
  event.failure = &refusal;
  log_.on_finish(event);
  EXPECT_NE(lines().at(0).find("; failed: SELECT 1"), std::string::npos);
}

TEST_F(slow_query_log_test, long_sql_is_cut) {
  finish(1s, "SELECT " + std::string(1'000, 'x'));
  const auto line = lines().at(0);
  EXPECT_NE(line.find(std::string(193, 'x') + "…"), std::string::npos);
  EXPECT_EQ(line.find(std::string(194, 'x')), std::string::npos);
}

TEST_F(slow_query_log_test, a_burst_is_limited_and_the_rest_counted) {
  for (int i = 0; i < 25; ++i) finish(1s);
  auto written = lines();
  EXPECT_EQ(written.size(), 20U);
  EXPECT_EQ(written.back().find("not logged"), std::string::npos);

  now_ += 99ms;
  finish(1s);
  EXPECT_TRUE(lines().empty());
  now_ += 2ms;
  finish(1s);
  written = lines();
  ASSERT_EQ(written.size(), 1U);
  EXPECT_NE(written[0].find("(6 slow statements before this one not logged)"), std::string::npos);
}

TEST_F(slow_query_log_test, the_count_of_what_was_left_out_starts_anew) {
  for (int i = 0; i < 21; ++i) finish(1s);
  now_ += 1s;
  finish(1s);
  finish(1s);
  EXPECT_EQ(lines().back().find("not logged"), std::string::npos);
}

TEST_F(slow_query_log_test, tokens_pile_up_to_the_burst_only) {
  for (int i = 0; i < 20; ++i) finish(1s);
  now_ += 1h;
  EXPECT_EQ(lines().size(), 20U);
  for (int i = 0; i < 30; ++i) finish(1s);
  EXPECT_EQ(lines().size(), 20U);
}

TEST_F(slow_query_log_test, a_quiet_logger_uses_up_no_token) {
  captured_->set_level(spdlog::level::err);
  for (int i = 0; i < 30; ++i) finish(1s);
  captured_->set_level(spdlog::level::warn);
  finish(1s);
  const auto written = lines();
  ASSERT_EQ(written.size(), 1U);
  EXPECT_EQ(written[0].find("not logged"), std::string::npos);
}

TEST(sql_excerpt, puts_sql_on_one_line) {
  EXPECT_EQ(sql_excerpt("  SELECT\n\t 1 ,\r\n 2  "), "SELECT 1 , 2");
  EXPECT_EQ(sql_excerpt(" \n "), "");
}

TEST(sql_excerpt, escapes_control_characters) {
  EXPECT_EQ(sql_excerpt("SELECT '\x1b[2J'"), "SELECT '\\x1b[2J'");
}

TEST(sql_excerpt, cuts_between_characters) {
  EXPECT_EQ(sql_excerpt("abcdé", 6), "abcdé");
  EXPECT_EQ(sql_excerpt("abcdé", 5), "abcd…");
  EXPECT_EQ(sql_excerpt("abcdef", 5), "abcde…");
}

}  // namespace
}  // namespace soundhash::db
