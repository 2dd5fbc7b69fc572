#include "cache/redis_client.hpp"

#include <atomic>
#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/eventually.hpp"
#include "support/private_redis.hpp"

/// The client against a real server.
namespace soundhash::db::redis {
namespace {

using namespace std::chrono_literals;
using test::private_redis;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

/// Budgets that a busy machine does not use up.
cache_options patient(cache_options options) {
  options.connect_timeout = 10s;
  options.command_timeout = 10s;
  return options;
}

std::string text_of(const std::optional<std::vector<reply>>& answers) {
  return answers && answers->size() == 1 ? answers->front().text : "nothing";
}

std::string ask(caller& server, const command& said) {
  return text_of(server.call({&said, 1}, deadline::in(10s)));
}

class redis_client_test : public ::testing::Test {
 protected:
  std::unique_ptr<client> connected(const cache_options& options, client_hooks hooks = {}) {
    auto made = std::make_unique<client>(options, std::move(hooks));
    EXPECT_TRUE(made->wait_until_available(deadline::in(10s))) << made->stats().why;
    return made;
  }

  private_redis server_{{.tcp = true}};
};

TEST_F(redis_client_test, answers_come_in_the_order_of_the_commands) {
  const auto client = connected(patient(server_.options()));
  const std::vector<command> said{{"SET", "a", "1"}, {"GET", "a"}, {"NOSUCH"}, {"GET", "b"}};
  const auto answers = client->call(said, deadline::in(10s));
  ASSERT_TRUE(answers);
  ASSERT_EQ(answers->size(), 4U);
  EXPECT_EQ(answers->at(0).text, "OK");
  EXPECT_EQ(answers->at(1).text, "1");
  EXPECT_TRUE(answers->at(2).is_error());
  EXPECT_TRUE(answers->at(3).is_nil());
}

/// Each thread must get the answers to its own questions and no others.
TEST_F(redis_client_test, calls_of_64_threads_travel_together_and_each_gets_its_own_answers) {
  const auto client = connected(patient(server_.options()));
  constexpr int threads = 64;
  constexpr int calls = 800;  // of two commands: 102,400 answers
  std::atomic<int> right = 0;
  std::vector<std::thread> all;
  for (int t = 0; t < threads; ++t) {
    all.emplace_back([&, t] {
      for (int i = 0; i < calls; ++i) {
        const auto own = std::to_string(t) + ":" + std::to_string(i);
        const std::vector<command> said{{"ECHO", own}, {"ECHO", own + std::string(300, '!')}};
        const auto answers = client->call(said, deadline::in(30s));
        if (answers && answers->size() == 2 && answers->at(0).text == own &&
            answers->at(1).text == own + std::string(300, '!')) {
          ++right;
        }
      }
    });
  }
  for (auto& each : all) each.join();
  EXPECT_EQ(right, threads * calls);
  EXPECT_EQ(client->stats().opens, 0U);
}

}  // namespace
}  // namespace soundhash::db::redis
