#include <chrono>
#include <memory>
#include <sstream>
#include <string>

#include <gtest/gtest.h>
#include <spdlog/sinks/null_sink.h>
#include <spdlog/sinks/ostream_sink.h>
#include <spdlog/spdlog.h>

#include <soundhash/db/core/error.hpp>
#include <soundhash/db/observe/logger.hpp>

#include "observe/default_logger.hpp"
#include "observe/echo_log.hpp"

namespace soundhash::db {
namespace {

using namespace std::chrono_literals;

class logger_test : public testing::Test {
 protected:
  logger_test() { default_logger()->set_level(spdlog::level::warn); }
  ~logger_test() override {
    set_logger(nullptr);
    spdlog::drop("soundhash-db");
    default_logger()->set_level(spdlog::level::warn);
  }

  static std::shared_ptr<spdlog::logger> silent(const std::string& name) {
    return std::make_shared<spdlog::logger>(name, std::make_shared<spdlog::sinks::null_sink_mt>());
  }

  static void finish_one(echo_log& echo) {
    statement_event event;
    event.name = "video.find";
    event.sql = "SELECT 1\nWHERE $1";
    event.execute = 1500us;
    echo.on_finish(event);
  }
};

TEST_F(logger_test, is_at_level_warn_on_its_own) {
  EXPECT_EQ(logger()->name(), "soundhash-db");
  EXPECT_EQ(logger()->level(), spdlog::level::warn);
  EXPECT_EQ(spdlog::get("soundhash-db"), nullptr) << "the name is the application's to register";
}

TEST_F(logger_test, is_the_registered_one_even_when_registered_late) {
  EXPECT_EQ(logger(), default_logger());
  const auto registered = silent("soundhash-db");
  spdlog::register_logger(registered);
  EXPECT_EQ(logger(), registered);
}

TEST_F(logger_test, can_be_replaced_and_restored) {
  spdlog::register_logger(silent("soundhash-db"));
  const auto replacement = silent("mine");
  set_logger(replacement);
  EXPECT_EQ(logger(), replacement);
  set_logger(nullptr);
  EXPECT_EQ(logger(), spdlog::get("soundhash-db"));
}

TEST_F(logger_test, echo_is_seen_without_further_settings) {
  echo_log echo;
  testing::internal::CaptureStderr();
  finish_one(echo);
  const auto written = testing::internal::GetCapturedStderr();
  EXPECT_NE(written.find("video.find: 1.500 ms, 0 rows: SELECT 1 WHERE $1\n"), std::string::npos);
}

TEST_F(logger_test, echo_keeps_a_talkative_default) {
  default_logger()->set_level(spdlog::level::trace);
  const echo_log echo;
  EXPECT_EQ(default_logger()->level(), spdlog::level::trace);
}

TEST_F(logger_test, echo_respects_the_level_of_the_application) {
  std::ostringstream text;
  const auto quiet = std::make_shared<spdlog::logger>(
      "mine", std::make_shared<spdlog::sinks::ostream_sink_mt>(text));
  quiet->set_level(spdlog::level::warn);
  set_logger(quiet);
  echo_log echo;
  finish_one(echo);
  EXPECT_EQ(text.str(), "");
  quiet->set_level(spdlog::level::info);
  finish_one(echo);
  EXPECT_NE(text.str(), "");
}

}  // namespace
}  // namespace soundhash::db
