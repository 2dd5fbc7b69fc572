#include "cache/shared_connection.hpp"

#include <array>
#include <atomic>
#include <chrono>
#include <csignal>
#include <future>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>

#include "support/eventually.hpp"
#include "support/sockets.hpp"

/// One connection and many callers; the test is the server and decides what is said when.
namespace soundhash::db::redis {
namespace {

using namespace std::chrono_literals;
using outcome = shared_connection::outcome;
using ::testing::HasSubstr;

/// Half of the budget after which one who was not told looks for itself.
constexpr auto asleep = 5s;

struct result {
  outcome ended{};
  std::vector<reply> answers{};
  std::chrono::nanoseconds took{0};
};

class shared_connection_test : public ::testing::Test {
 protected:
  void connect(std::chrono::nanoseconds budget) {
    std::array<int, 2> ends{};
    ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()), 0);
    ::fcntl(ends[0], F_SETFL, O_NONBLOCK);
    server_.emplace(ends[1]);
    connection_ =
        std::make_unique<shared_connection>(std::make_unique<link>(ends[0], nullptr), budget);
  }

  result call(const std::string& text, deadline until = {}) {
    const command said{"ECHO", text};
    result made;
    const auto began = deadline::clock::now();
    made.ended = connection_->call({&said, 1}, began, until, made.answers);
    made.took = deadline::clock::now() - began;
    return made;
  }
  std::future<result> call_aside(const std::string& text, deadline until = {}) {
    return std::async(std::launch::async, [=, this] { return call(text, until); });
  }

  /// The text of the next command that arrives at the server.
  std::string heard() {
    for (;;) {
      if (const auto said = heard_.next()) return said->items.at(1).text;
      std::array<char, 4096> buffer{};
      const auto got = ::recv(server_->get(), buffer.data(), buffer.size(), 0);
      if (got <= 0) return "nothing";
      heard_.feed({buffer.data(), static_cast<std::size_t>(got)});
    }
  }
  void say(std::string_view bytes) { EXPECT_TRUE(test::send_all(*server_, bytes)); }
  void answer(const std::string& text) { say("+" + text + "\r\n"); }

  static void expect_answer(const result& ended, const std::string& text) {
    ASSERT_EQ(ended.ended, outcome::answered);
    ASSERT_EQ(ended.answers.size(), 1U);
    EXPECT_EQ(ended.answers.front().text, text);
  }

  std::optional<test::descriptor> server_;
  reply_reader heard_;
  std::unique_ptr<shared_connection> connection_;
};

TEST_F(shared_connection_test, a_lone_caller_gets_its_answer) {
  connect(10s);
  auto first = call_aside("a");
  EXPECT_EQ(heard(), "a");
  answer("A");
  expect_answer(first.get(), "A");
  EXPECT_EQ(connection_->callers(), 0U);
}

TEST_F(shared_connection_test, what_comes_while_one_leads_travels_together_after_it) {
  connect(10s);
  auto first = call_aside("0");
  EXPECT_EQ(heard(), "0");
  std::vector<std::future<result>> others;
  for (int i = 1; i <= 5; ++i) others.push_back(call_aside(std::to_string(i)));
  answer("0!");
  expect_answer(first.get(), "0!");
  for (int i = 1; i <= 5; ++i) answer(heard() + "!");
  for (int i = 1; i <= 5; ++i) {
    expect_answer(others[static_cast<std::size_t>(i) - 1].get(), std::to_string(i) + "!");
  }
}

TEST_F(shared_connection_test, callers_are_counted_while_they_are_in) {
  connect(10s);
  auto first = call_aside("a");
  EXPECT_EQ(heard(), "a");
  auto second = call_aside("b");
  EXPECT_TRUE(test::eventually([&] { return connection_->callers() == 2; }));
  answer("A");
  expect_answer(first.get(), "A");
  EXPECT_TRUE(test::eventually([&] { return connection_->callers() == 1; }));
  EXPECT_EQ(heard(), "b");
  answer("B");
  expect_answer(second.get(), "B");
  EXPECT_EQ(connection_->callers(), 0U);
}

TEST_F(shared_connection_test, answers_to_a_caller_who_left_go_to_nobody) {
  connect(10s);
  EXPECT_EQ(call("left", deadline::in(5ms)).ended, outcome::left);
  EXPECT_EQ(heard(), "left");
  auto next = call_aside("next");
  answer("LEFT");
  EXPECT_EQ(heard(), "next");
  answer("NEXT");
  expect_answer(next.get(), "NEXT");
}

TEST_F(shared_connection_test, a_leader_who_leaves_hands_over) {
  connect(10s);
  auto leader = call_aside("leader", deadline::in(300ms));
  EXPECT_EQ(heard(), "leader");
  auto follower = call_aside("follower");
  EXPECT_EQ(leader.get().ended, outcome::left);
  EXPECT_EQ(heard(), "follower") << "sent by the follower, who leads now";
  answer("LEADER");
  answer("FOLLOWER");
  expect_answer(follower.get(), "FOLLOWER");
}

TEST_F(shared_connection_test, a_follower_who_leaves_keeps_its_place_in_the_order) {
  connect(10s);
  auto leader = call_aside("leader");
  EXPECT_EQ(heard(), "leader");
  EXPECT_EQ(call("left", deadline::in(5ms)).ended, outcome::left);
  auto last = call_aside("last");
  answer("LEADER");
  expect_answer(leader.get(), "LEADER");
  EXPECT_EQ(heard(), "left");
  EXPECT_EQ(heard(), "last");
  answer("LEFT");
  answer("LAST");
  expect_answer(last.get(), "LAST");
}

TEST_F(shared_connection_test, late_answers_to_many_who_left_are_read_past) {
  connect(1s);
  for (int i = 0; i < 3; ++i) {
    ASSERT_EQ(call(std::to_string(i), deadline::in(1ms)).ended, outcome::left);
  }
  for (int i = 0; i < 3; ++i) say("$20000\r\n" + std::string(20'000, 'x') + "\r\n");
  std::this_thread::sleep_for(1050ms);  // the budgets of all three are over, their answers unread
  auto next = call_aside("next");
  for (const auto* said : {"0", "1", "2", "next"}) EXPECT_EQ(heard(), said);
  answer("NEXT");
  expect_answer(next.get(), "NEXT");
}

TEST_F(shared_connection_test, a_server_silent_for_the_budget_ends_it_for_all) {
  connect(100ms);
  auto first = call_aside("a");
  EXPECT_EQ(heard(), "a");
  auto second = call_aside("b");
  for (auto* each : {&first, &second}) {
    const auto ended = each->get();
    EXPECT_EQ(ended.ended, outcome::failed) << "of which its caller tells the breaker";
    EXPECT_LT(ended.took, 5s);
  }
  EXPECT_THAT(connection_->failure(), HasSubstr("no answer within the command timeout"));
  EXPECT_EQ(call("c").ended, outcome::failed) << "for good";
}

TEST_F(shared_connection_test, a_server_that_drips_ends_it_too) {
  connect(100ms);
  auto first = call_aside("a");
  EXPECT_EQ(heard(), "a");
  std::atomic<bool> done = false;
  std::thread dripping{[&] {
    say("$1000000\r\n");
    while (!done && ::send(server_->get(), "x", 1, MSG_NOSIGNAL) == 1) {
      std::this_thread::sleep_for(1ms);
    }
  }};
  const auto ended = first.get();
  done = true;
  dripping.join();
  EXPECT_EQ(ended.ended, outcome::failed);
  EXPECT_LT(ended.took, 5s);
}

TEST_F(shared_connection_test, callers_with_short_deadlines_do_not_end_it) {
  connect(10s);
  for (int i = 0; i < 20; ++i) {
    EXPECT_EQ(call(std::to_string(i), deadline::in(1ms)).ended, outcome::left);
  }
  EXPECT_EQ(connection_->failure(), "");
  auto next = call_aside("next");
  for (int i = 0; i < 20; ++i) answer(heard());
  answer(heard());
  expect_answer(next.get(), "next");
}

TEST_F(shared_connection_test, the_end_of_the_link_is_told_to_all) {
  connect(10s);
  std::vector<std::future<result>> all;
  for (int i = 0; i < 5; ++i) all.push_back(call_aside(std::to_string(i)));
  EXPECT_TRUE(test::eventually([&] { return connection_->callers() == 5; }));
  ::shutdown(server_->get(), SHUT_RDWR);
  for (auto& each : all) {
    const auto ended = each.get();
    EXPECT_EQ(ended.ended, outcome::failed);
    EXPECT_LT(ended.took, asleep);
  }
  EXPECT_NE(connection_->failure(), "");
}

TEST_F(shared_connection_test, nobody_sleeps_through_its_answer) {
  connect(10s);
  constexpr int callers = 8;
  constexpr int calls = 10000;
  std::jthread server{[this] {
    for (int i = 0; i < callers * calls; ++i) answer(heard());
  }};
  std::vector<std::jthread> threads;
  for (int t = 0; t < callers; ++t) {
    threads.emplace_back([this, t] {
      for (int i = 0; i < calls; ++i) {
        const auto text = std::to_string(t) + " " + std::to_string(i);
        const auto ended = call(text);
        expect_answer(ended, text);
        EXPECT_LT(ended.took, asleep);
      }
    });
  }
}

TEST_F(shared_connection_test, an_answer_too_many_ends_it) {
  connect(10s);
  auto first = call_aside("a");
  EXPECT_EQ(heard(), "a");
  say("+A\r\n+B\r\n");
  EXPECT_EQ(first.get().ended, outcome::failed);
  EXPECT_THAT(connection_->failure(), HasSubstr("nobody had asked"));
}

TEST_F(shared_connection_test, a_peer_that_is_gone_raises_no_signal) {
  connect(10s);
  server_.reset();
  std::signal(SIGPIPE, SIG_DFL);
  EXPECT_EQ(call("a").ended, outcome::failed);
}

TEST_F(shared_connection_test, more_than_the_socket_takes_is_sent_while_answers_are_read) {
  connect(20s);
  const std::string large(4'000'000, 'x');
  auto first = call_aside(large);
  EXPECT_EQ(heard().size(), large.size());
  say("$4000000\r\n" + large + "\r\n");
  expect_answer(first.get(), large);
}

}  // namespace
}  // namespace soundhash::db::redis
