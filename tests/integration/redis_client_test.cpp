#include "cache/redis_client.hpp"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <memory>
#include <optional>
#include <sstream>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <spdlog/sinks/ostream_sink.h>
#include <spdlog/spdlog.h>

#include <soundhash/db/observe/logger.hpp>

#include "support/eventually.hpp"
#include "support/private_redis.hpp"
#include "support/scripted_redis.hpp"

/// The client against a real server.
namespace soundhash::db::redis {
namespace {

using namespace std::chrono_literals;
using test::private_redis;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

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

/// By what the server counts: a command for each read would be no pipelining at all.
TEST_F(redis_client_test, calls_of_eight_threads_share_their_system_calls) {
  const auto client = connected(patient(server_.options()));
  const auto counted = [&](const std::string& what) {
    const auto figures = server_.ask({"INFO", "stats"});
    return std::stod(figures.substr(figures.find(what) + what.size() + 1));
  };
  const auto commands = counted("total_commands_processed");
  const auto reads = counted("total_reads_processed");
  std::vector<std::thread> all;
  for (int t = 0; t < 8; ++t) {
    all.emplace_back([&] {
      for (int i = 0; i < 3000; ++i) ask(*client, {"ECHO", "x"});
    });
  }
  for (auto& each : all) each.join();
  EXPECT_GT(
      (counted("total_commands_processed") - commands) / (counted("total_reads_processed") - reads),
      1.1);
}

TEST_F(redis_client_test, connects_by_tcp_and_by_name_and_says_its_name) {
  auto options = patient(server_.tcp_options());
  options.host = "localhost";
  const auto client = connected(options);
  EXPECT_EQ(ask(*client, {"PING"}), "PONG");
  EXPECT_THAT(ask(*client, {"CLIENT", "LIST"}), HasSubstr("name=soundhash-db"));
}

TEST_F(redis_client_test, chooses_the_database) {
  auto options = patient(server_.options());
  options.db = 3;
  const auto client = connected(options);
  EXPECT_EQ(ask(*client, {"SET", "here", "yes"}), "OK");
  EXPECT_EQ(server_.ask({"GET", "here"}), "");
  EXPECT_THAT(server_.ask({"INFO", "keyspace"}), HasSubstr("db3:keys=1"));
}

TEST_F(redis_client_test, nothing_to_ask_is_nothing_to_answer) {
  const auto client = connected(patient(server_.options()));
  const auto answers = client->call({}, {});
  ASSERT_TRUE(answers);
  EXPECT_TRUE(answers->empty());
}

TEST_F(redis_client_test, logs_in_by_password) {
  private_redis guarded{{.password = "s3cret-pass"}};
  EXPECT_EQ(ask(*connected(patient(guarded.options())), {"PING"}), "PONG");
}

TEST_F(redis_client_test, logs_in_as_a_user_who_may_do_little) {
  server_.ask({"ACL", "SETUSER", "cache", "on", ">s3cret-pass", "~*", "+get", "+set"});
  auto options = patient(server_.options());
  options.user = "cache";
  options.password = secret{"s3cret-pass"};
  EXPECT_EQ(ask(*connected(options), {"SET", "a", "1"}), "OK") << "no ROLE, no PING, no SETNAME";
}

/// What was logged while it lived.
class captured_log {
 public:
  captured_log() {
    auto made = std::make_shared<spdlog::logger>(
        "captured", std::make_shared<spdlog::sinks::ostream_sink_mt>(text_));
    made->set_level(spdlog::level::debug);
    set_logger(made);
  }
  ~captured_log() { set_logger(nullptr); }
  captured_log(const captured_log&) = delete;
  captured_log& operator=(const captured_log&) = delete;
  /// After the end of the client that logs.
  [[nodiscard]] std::string text() const { return text_.str(); }
  [[nodiscard]] std::size_t lines() const {
    return static_cast<std::size_t>(std::ranges::count(text_.str(), '\n'));
  }

 private:
  std::ostringstream text_;
};

TEST_F(redis_client_test, a_wrong_password_keeps_the_breaker_open_and_is_shown_nowhere) {
  private_redis guarded{{.password = "s3cret-pass"}};
  const captured_log log;
  std::string why;
  {
    auto options = patient(guarded.options());
    options.password = secret{"wr0ng-pass"};
    client client{options};
    EXPECT_FALSE(client.available());
    EXPECT_TRUE(test::eventually([&] { return !client.stats().why.empty(); }));
    why = client.stats().why;
    EXPECT_FALSE(client.available());
    EXPECT_EQ(ask(client, {"PING"}), "nothing");
  }
  EXPECT_THAT(why, HasSubstr("WRONGPASS"));
  EXPECT_THAT(log.text(), HasSubstr("WRONGPASS"));
  EXPECT_THAT(why + log.text(), Not(HasSubstr("wr0ng-pass")));
}

TEST_F(redis_client_test, no_password_where_one_is_needed_names_the_cause) {
  private_redis guarded{{.password = "s3cret-pass"}};
  auto options = patient(guarded.options());
  options.password = {};
  client client{options};
  EXPECT_FALSE(client.available());
  EXPECT_TRUE(test::eventually([&] { return !client.stats().why.empty(); }));
  EXPECT_THAT(client.stats().why, HasSubstr("NOAUTH"));
}

TEST_F(redis_client_test, a_server_without_memory_still_answers) {
  server_.ask({"CONFIG", "SET", "maxmemory", "1"});
  const auto client = connected(patient(server_.options()));
  EXPECT_THAT(ask(*client, {"SET", "a", "1"}), HasSubstr("OOM"));
  EXPECT_TRUE(client->available()) << "an answer, not an outage";
  EXPECT_EQ(ask(*client, {"PING"}), "PONG");
}

TEST_F(redis_client_test, a_demoted_master_opens_the_breaker_until_it_is_promoted) {
  const auto client = connected(patient(server_.options()));
  server_.ask({"REPLICAOF", "127.0.0.1", "1"});
  if (client->available()) static_cast<void>(ask(*client, {"SET", "a", "1"}));  // READONLY, or cut
  EXPECT_FALSE(client->available());
  EXPECT_TRUE(test::eventually([&] {
    return client->stats().why.find("not a master") != std::string::npos;
  })) << client->stats().why;
  server_.ask({"REPLICAOF", "NO", "ONE"});
  client->retry_soon();
  EXPECT_TRUE(client->wait_until_available(deadline::in(20s)));
  EXPECT_EQ(ask(*client, {"SET", "a", "1"}), "OK");
}

TEST_F(redis_client_test, a_server_that_is_down_at_the_start_is_used_once_it_is_up) {
  server_.stop();
  const captured_log log;
  {
    client client{patient(server_.options())};
    EXPECT_FALSE(client.available());
    EXPECT_TRUE(test::eventually([&] { return !client.stats().why.empty(); }));
    server_.start();
    EXPECT_TRUE(client.wait_until_available(deadline::in(20s)));
    EXPECT_EQ(ask(client, {"PING"}), "PONG");
  }
  EXPECT_THAT(log.text(), HasSubstr("is not used until it answers again: cannot connect"));
  EXPECT_THAT(log.text(), HasSubstr("using Redis at"));
  EXPECT_EQ(log.lines(), 2U) << "once for each change of state\n" << log.text();
}

TEST_F(redis_client_test, a_restart_is_survived_and_logged_once_for_each_change) {
  const captured_log log;
  {
    const auto client = connected(patient(server_.options()));
    server_.stop();
    EXPECT_EQ(ask(*client, {"PING"}), "nothing");
    EXPECT_FALSE(client->available());
    EXPECT_EQ(ask(*client, {"PING"}), "nothing");
    server_.start();
    EXPECT_TRUE(client->wait_until_available(deadline::in(20s)));
    EXPECT_EQ(ask(*client, {"PING"}), "PONG");
    EXPECT_EQ(client->stats().opens, 1U);
    EXPECT_EQ(client->stats().failed, 1U);
  }
  EXPECT_EQ(log.lines(), 3U) << log.text();
}

/// The real state, by a file of many keys that are read slowly.
TEST_F(redis_client_test, a_loading_server_is_used_once_it_has_loaded) {
  private_redis slow{
      {.arguments = {"--save", "3600 1", "--loading-process-events-interval-bytes", "1024"}}};
  slow.ask({"DEBUG", "POPULATE", "2000"});
  slow.ask({"SAVE"});
  slow.stop();
  slow.start_loading_slowly();
  client client{patient(slow.options())};
  EXPECT_FALSE(client.available());
  EXPECT_TRUE(test::eventually([&] {
    client.retry_soon();
    return client.stats().why.find("LOADING") != std::string::npos;
  })) << client.stats().why;
  EXPECT_TRUE(client.wait_until_available(deadline::in(30s))) << client.stats().why;
  EXPECT_THAT(ask(client, {"GET", "key:1"}), HasSubstr("value:1"));
}

TEST_F(redis_client_test, what_must_be_said_first_is_said_on_each_connection_before_any_call) {
  std::atomic<int> said = 0;
  auto options = patient(server_.options());
  options.connections = 3;
  const auto client = connected(options, {.before_use = [&](session& only) {
                                  const command first{"SET", "first", std::to_string(++said)};
                                  return only.call({&first, 1}, deadline::in(10s)).has_value();
                                }});
  EXPECT_EQ(said, 3);
  EXPECT_EQ(ask(*client, {"GET", "first"}), "3");
}

TEST_F(redis_client_test, a_connection_that_its_owner_refuses_is_not_used) {
  std::atomic<bool> fit = false;
  std::vector<std::string> told;
  {
    client client{patient(server_.options()),
                  {.before_use = [&](session&) { return fit.load(); },
                   .on_change =
                       [&](bool up, std::string_view why) {
                         told.push_back((up ? "up" : "down: ") + std::string{why});
                       }}};
    EXPECT_FALSE(client.available());
    EXPECT_TRUE(test::eventually([&] { return !client.stats().why.empty(); }));
    fit = true;
    client.retry_soon();
    EXPECT_TRUE(client.wait_until_available(deadline::in(20s)));
  }
  EXPECT_THAT(told, ElementsAre(HasSubstr("down: what the cache must say first"), "up"));
}

TEST_F(redis_client_test, a_name_that_nobody_knows_is_a_cause_like_any_other) {
  auto options = server_.tcp_options();
  options.host = "no-such-host.invalid";
  const auto began = deadline::clock::now();
  {
    client client{options};
    EXPECT_FALSE(client.available());
    EXPECT_LT(deadline::clock::now() - began, 5s) << "nobody waits for the lookup";
    EXPECT_TRUE(test::eventually([&] { return !client.stats().why.empty(); }));
    EXPECT_THAT(client.stats().why, HasSubstr("no-such-host.invalid"));
  }
}

TEST_F(redis_client_test, a_session_hears_what_it_has_subscribed_to) {
  auto listening = session::open(server_.options(), deadline::in(10s));
  ASSERT_TRUE(listening.available()) << listening.failure();
  const command subscribe{"SUBSCRIBE", "news"};
  ASSERT_TRUE(listening.post({&subscribe, 1}, deadline::in(10s)));
  EXPECT_EQ(listening.next_push(deadline::in(10s)).value().items.at(0).text, "subscribe");
  EXPECT_FALSE(listening.next_push(deadline::in(1ms)));
  EXPECT_TRUE(listening.available()) << "silence is no failure";
  server_.ask({"PUBLISH", "news", "tea"});
  EXPECT_EQ(listening.next_push(deadline::in(10s)).value().items.at(2).text, "tea");
}

TEST_F(redis_client_test, another_thread_ends_the_wait_of_a_session) {
  interruption stop;
  auto listening = session::open(server_.options(), deadline::in(10s), &stop);
  std::thread other{[&] { stop.ring(); }};
  EXPECT_FALSE(listening.next_push(deadline::in(60s)));
  other.join();
  EXPECT_FALSE(listening.available());
  EXPECT_EQ(listening.failure(), "interrupted");
}

TEST_F(redis_client_test, a_session_that_got_no_answer_in_time_is_dead) {
  auto only = session::open(server_.options(), deadline::in(10s));
  const command slow{"BLPOP", "nothing", "60"};
  EXPECT_FALSE(only.call({&slow, 1}, deadline::in(5ms)));
  EXPECT_FALSE(only.available());
  const command ping{"PING"};
  EXPECT_FALSE(only.call({&ping, 1}, deadline::in(10s)));
}

/// Three servers: a master, its replica, and the sentinel that watches them.
TEST_F(redis_client_test, sentinels_name_the_master_also_after_a_failover) {
  const auto master_port = std::to_string(server_.tcp_options().port);
  private_redis replica{{.tcp = true, .arguments = {"--replicaof", "127.0.0.1", master_port}}};
  const private_redis sentinel{{.tcp = true, .sentinel_of = server_.tcp_options().port}};

  auto options = patient({});
  options.sentinels = {{"127.0.0.1", 1}, {"127.0.0.1", sentinel.tcp_options().port}};
  const auto client = connected(options);
  EXPECT_EQ(ask(*client, {"SET", "a", "1"}), "OK");

  ASSERT_TRUE(test::eventually([&] {
    return server_.ask({"INFO", "replication"}).find("state=online") != std::string::npos;
  }));
  server_.kill_immediately();
  EXPECT_EQ(ask(*client, {"PING"}), "nothing");
  EXPECT_TRUE(client->wait_until_available(deadline::in(60s))) << client->stats().why;
  EXPECT_THAT(ask(*client, {"INFO", "server"}),
              HasSubstr("tcp_port:" + std::to_string(replica.tcp_options().port)));
  EXPECT_EQ(ask(*client, {"SET", "b", "1"}), "OK");
}

TEST_F(redis_client_test, a_sentinel_has_a_login_of_its_own) {
  const private_redis sentinel{
      {.tcp = true, .password = "of-sentinel", .sentinel_of = server_.tcp_options().port}};
  auto options = patient({});
  options.sentinels = {{"127.0.0.1", sentinel.tcp_options().port}};
  options.sentinel_password = secret{"of-sentinel"};
  EXPECT_EQ(ask(*connected(options), {"PING"}), "PONG");

  options.sentinel_user = "default";
  EXPECT_EQ(ask(*connected(options), {"PING"}), "PONG");

  for (const std::string wrong : {"", "of-master"}) {
    options.sentinel_password = secret{wrong};
    const auto refused = session::open(options, deadline::in(10s));
    EXPECT_FALSE(refused.available());
    EXPECT_THAT(refused.failure(), HasSubstr("AUTH was refused: WRONGPASS"));
  }
}

TEST_F(redis_client_test, a_sentinel_is_never_told_the_masters_login) {
  const auto port = std::to_string(server_.tcp_options().port);
  test::scripted_redis sentinel{[&](const auto& said) -> std::optional<std::string> {
    if (said.front() != "SENTINEL") return "-ERR unknown command\r\n";
    return "*2\r\n$9\r\n127.0.0.1\r\n$" + std::to_string(port.size()) + "\r\n" + port + "\r\n";
  }};
  auto options = patient({});
  options.sentinels = {{sentinel.options().host, sentinel.options().port}};
  options.user = "service";
  options.password = secret{"of-master"};
  const auto refused = session::open(options, deadline::in(10s));
  EXPECT_THAT(refused.failure(), HasSubstr("AUTH was refused: WRONGPASS")) << "by the master";
  EXPECT_THAT(sentinel.heard(), ElementsAre("SENTINEL get-master-addr-by-name mymaster"));
}

}  // namespace
}  // namespace soundhash::db::redis
