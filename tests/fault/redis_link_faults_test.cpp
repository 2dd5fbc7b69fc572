#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <soundhash/db/database_options.hpp>

#include "cache/redis_client.hpp"
#include "support/eventually.hpp"
#include "support/private_redis.hpp"
#include "support/scripted_redis.hpp"
#include "support/tcp_proxy.hpp"

/// A Redis that is gone, silent, slow or not a Redis costs one budget, once.
namespace soundhash::db::redis {
namespace {

using namespace std::chrono_literals;
using test::private_redis;
using test::scripted_redis;
using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::Not;

/// What a call may take beside its budget on a busy machine.
constexpr auto grace = 3s;

std::string ask(caller& server, const command& said, deadline until = deadline::in(10s)) {
  const auto answers = server.call({&said, 1}, until);
  return answers && answers->size() == 1 ? answers->front().text : "nothing";
}

std::chrono::nanoseconds time_of(const auto& work) {
  const auto began = deadline::clock::now();
  work();
  return deadline::clock::now() - began;
}

/// Calls through an open breaker: less than a microsecond each, in the best of some rounds.
void expect_calls_to_cost_nothing(client& client) {
  constexpr int calls = 20'000;
  const command ping{"PING"};
  auto best = std::chrono::nanoseconds::max();
  for (int round = 0; round < 10; ++round) {
    best = std::min(best, time_of([&] {
                      for (int i = 0; i < calls; ++i) {
                        ASSERT_FALSE(client.call({&ping, 1}, deadline::in(1s)));
                      }
                    }));
  }
  EXPECT_LT(best, calls * 1us);
}

std::string why_of(const client& client) {
  EXPECT_TRUE(test::eventually([&] { return !client.stats().why.empty(); }));
  return client.stats().why;
}

TEST(redis_link_faults_test, a_stopped_server_costs_one_budget_once_and_is_used_again) {
  private_redis server;
  auto options = server.options();
  options.command_timeout = 200ms;
  client client{options};
  ASSERT_TRUE(client.wait_until_available(deadline::in(10s)));
  server.pause();
  const auto first = time_of([&] { EXPECT_EQ(ask(client, {"PING"}), "nothing"); });
  EXPECT_GE(first, 200ms);
  EXPECT_LT(first, 200ms + grace);
  EXPECT_FALSE(client.available());
  expect_calls_to_cost_nothing(client);
  EXPECT_EQ(client.stats().opens, 1U);
  server.resume();
  EXPECT_TRUE(client.wait_until_available(deadline::in(20s)));
  EXPECT_EQ(ask(client, {"ECHO", "after"}), "after");
}

TEST(redis_link_faults_test, threads_in_flight_when_a_server_stops_pay_one_budget_each) {
  constexpr auto budget = 2s;  // a slow machine alone must not use it up
  constexpr std::uint64_t threads = 16;
  private_redis server;
  auto options = server.options();
  options.command_timeout = budget;
  client client{options};
  ASSERT_TRUE(client.wait_until_available(deadline::in(10s)));
  std::atomic<bool> ending = false;
  std::vector<std::thread> all;
  for (std::uint64_t t = 0; t < threads; ++t) {
    all.emplace_back([&] {
      while (!ending) {
        EXPECT_LT(time_of([&] { ask(client, {"ECHO", "x"}); }), budget + grace);
      }
    });
  }
  server.pause();
  EXPECT_TRUE(test::eventually([&] { return !client.available(); }));
  ending = true;
  for (auto& each : all) each.join();
  EXPECT_GE(client.stats().failed, 1U);
  EXPECT_LE(client.stats().failed, threads);
  EXPECT_EQ(client.stats().opens, 1U);
  server.resume();
}

TEST(redis_link_faults_test,
     a_killed_server_neither_kills_the_process_nor_costs_more_than_one_call) {
  private_redis server;
  client client{server.options()};
  ASSERT_TRUE(client.wait_until_available(deadline::in(10s)));
  for (int i = 0; i < 3; ++i) {
    server.kill_immediately();
    EXPECT_EQ(ask(client, {"SET", "a", std::string(100'000, 'x')}), "nothing");
    EXPECT_FALSE(client.available());
    expect_calls_to_cost_nothing(client);
    server.start();
    client.retry_soon();
    ASSERT_TRUE(client.wait_until_available(deadline::in(20s)));
  }
  EXPECT_EQ(client.stats().opens, 3U);
}

TEST(redis_link_faults_test, a_server_that_drips_bytes_does_not_stretch_the_budget) {
  private_redis server{{.tcp = true}};
  server.ask({"SET", "a", std::string(10'000, 'x')});
  database_options upstream;
  upstream.host = "127.0.0.1";
  upstream.port = server.tcp_options().port;
  test::tcp_proxy proxy{upstream};
  auto options = server.tcp_options();
  options.port = proxy.options().port;
  options.command_timeout = 200ms;
  options.connect_timeout = 10s;
  options.connections = 1;
  client client{options};
  ASSERT_TRUE(client.wait_until_available(deadline::in(10s)));
  proxy.set_pace(test::direction::to_client, {.slice = 1, .delay = 5ms});
  const auto took = time_of([&] { EXPECT_EQ(ask(client, {"GET", "a"}), "nothing"); });
  EXPECT_LT(took, 200ms + grace);
  EXPECT_THAT(why_of(client), HasSubstr("no answer within the command timeout"));
}

TEST(redis_link_faults_test, a_handshake_that_drips_bytes_is_over_by_the_connect_timeout) {
  scripted_redis server{[](const auto& said) -> std::optional<std::string> {
    if (said.front() == "CLIENT") return "";  // never
    return scripted_redis::greeting(said);
  }};
  auto options = server.options();
  options.connect_timeout = 100ms;
  client client{options};
  EXPECT_FALSE(client.available());
  EXPECT_THAT(why_of(client), HasSubstr("no answer in time"));
}

TEST(redis_link_faults_test, a_short_deadline_leaves_and_opens_no_breaker) {
  private_redis server;
  auto options = server.options();
  options.command_timeout = 30s;
  options.connections = 1;
  client client{options};
  ASSERT_TRUE(client.wait_until_available(deadline::in(10s)));
  server.pause();
  for (int i = 0; i < 10; ++i) {
    EXPECT_LT(time_of([&] {
                EXPECT_EQ(ask(client, {"ECHO", "left"}, deadline::in(1ms)), "nothing");
              }),
              1ms + grace);
  }
  EXPECT_TRUE(client.available());
  server.resume();
  EXPECT_EQ(ask(client, {"ECHO", "mine"}), "mine") << "not what one who left had asked for";
}

/// Callers come with deadlines that their answers just miss or make.
TEST(redis_link_faults_test, callers_who_leave_and_callers_who_stay_never_get_each_others_answers) {
  private_redis server;
  auto options = server.options();
  options.command_timeout = 30s;
  client client{options};
  ASSERT_TRUE(client.wait_until_available(deadline::in(10s)));
  std::atomic<int> wrong = 0;
  std::atomic<int> left = 0;
  std::vector<std::thread> all;
  for (int t = 0; t < 8; ++t) {
    all.emplace_back([&, t] {
      for (int i = 0; i < 3000; ++i) {
        const auto own = std::to_string(t) + ":" + std::to_string(i);
        const auto until =
            t % 2 == 0 ? deadline::in(std::chrono::microseconds{i % 300}) : deadline{};
        const auto got = ask(client, {"ECHO", own}, until);
        if (got == "nothing")
          ++left;
        else if (got != own)
          ++wrong;
      }
    });
  }
  for (auto& each : all) each.join();
  EXPECT_EQ(wrong, 0);
  EXPECT_GT(left, 0);
  EXPECT_EQ(client.stats().opens, 0U);
}

/// The answer of a hostile server to GET.
struct hostile {
  std::string_view name;
  std::string bytes;
};

class redis_hostile_test : public ::testing::TestWithParam<hostile> {};

TEST_P(redis_hostile_test, is_refused_and_opens_the_breaker) {
  scripted_redis server{[](const auto& said) -> std::optional<std::string> {
    if (said.front() == "GET") return GetParam().bytes;
    return scripted_redis::greeting(said);
  }};
  auto options = server.options();
  options.connect_timeout = 10s;
  options.command_timeout = 500ms;
  client client{options};
  ASSERT_TRUE(client.wait_until_available(deadline::in(10s)));
  EXPECT_LT(time_of([&] { EXPECT_EQ(ask(client, {"GET", "a"}), "nothing"); }), 500ms + grace);
  EXPECT_EQ(client.stats().opens, 1U);
}

std::string nested_arrays() {
  std::string bomb;
  for (int i = 0; i < 1000; ++i) bomb += "*1\r\n";
  return bomb;
}

INSTANTIATE_TEST_SUITE_P(all, redis_hostile_test,
                         ::testing::Values(hostile{"another_protocol",
                                                   "HTTP/1.1 400 Bad Request\r\n\r\n"},
                                           hostile{"bomb_of_arrays", nested_arrays()},
                                           hostile{"announced_bytes", "$536870912\r\nabc"},
                                           hostile{"announced_elements", "*2147483647\r\n:1\r\n"},
                                           hostile{"two_answers", "$1\r\na\r\n$1\r\nb\r\n"},
                                           hostile{"half_an_answer", "$5\r\nab"},
                                           hostile{"resp_3", "%1\r\n+a\r\n+b\r\n"}),
                         [](const auto& each) { return std::string{each.param.name}; });

TEST(redis_link_faults_test, an_error_text_that_repeats_the_password_is_not_shown) {
  scripted_redis server{[](const auto& said) -> std::optional<std::string> {
    if (said.front() == "AUTH")
      return "-ERR unknown command 'AUTH', with args: '" + said.back() + "'\r\n";
    return scripted_redis::greeting(said);
  }};
  auto options = server.options();
  options.connect_timeout = 10s;
  options.password = secret{"s3cret-pass"};
  client client{options};
  EXPECT_FALSE(client.available());
  EXPECT_THAT(why_of(client), HasSubstr("AUTH was refused: ERR"));
  EXPECT_THAT(why_of(client), Not(HasSubstr("s3cret")));
  EXPECT_THAT(server.heard(), Contains("AUTH s3cret-pass"));
}

TEST(redis_link_faults_test, the_end_of_a_client_does_not_wait_for_a_silent_server) {
  scripted_redis server{[](const auto&) { return std::optional<std::string>{""}; }};
  auto options = server.options();
  options.connect_timeout = 60s;
  auto made = std::make_unique<client>(options);
  EXPECT_FALSE(made->available());
  EXPECT_TRUE(test::eventually([&] { return !server.heard().empty(); }));
  EXPECT_LT(time_of([&] { made.reset(); }), grace);
}

/// Runs `body` in a child and returns its exit status.
int in_child(const auto& body) {
  const pid_t child = ::fork();
  if (child == 0) ::_exit(body());
  int status = 0;
  ::waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

TEST(redis_link_faults_test, the_child_of_a_fork_leaves_the_parents_connections_alone) {
  private_redis server;
  auto options = server.options();
  options.command_timeout = 10s;
  auto made = std::make_unique<client>(options);
  ASSERT_TRUE(made->wait_until_available(deadline::in(10s)));
  EXPECT_EQ(in_child([&] {
              if (made->available()) return 1;
              if (ask(*made, {"PING"}) != "nothing") return 2;
              made->retry_soon();
              if (made->wait_until_available(deadline::in(1s))) return 3;
              if (made->stats().calls != 0) return 4;
              made.reset();
              auto own = session::open(options, deadline::in(10s));
              return ask(own, {"ECHO", "child"}) == "child" ? 0 : 5;
            }),
            0);
  EXPECT_EQ(ask(*made, {"ECHO", "parent"}), "parent");
  EXPECT_EQ(made->stats().opens, 0U);
}

}  // namespace
}  // namespace soundhash::db::redis
