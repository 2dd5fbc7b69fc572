#include "cache/near_cache_feed.hpp"

#include <chrono>
#include <optional>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "cache/near_cache.hpp"
#include "support/eventually.hpp"
#include "support/private_redis.hpp"

namespace soundhash::db {
namespace {

using namespace std::chrono_literals;
using test::eventually;
using tags = std::vector<std::string>;

const std::string prefix = "soundhash:test:t:";

class near_cache_feed_test : public testing::Test {
 protected:
  near_cache_feed_test() {
    EXPECT_TRUE(eventually([&] { return near_.trusted(); }));
  }

  void fill(const std::string& key, const tags& on) {
    std::string value = "value";
    const auto decode = [](const result&, std::string&) {};
    near_.fill(key, near_.begin(on),
               detail::value_sink<std::string, decltype(decode)>{value, decode}, 1h);
  }
  bool holds(const std::string& key) {
    std::string into;
    const auto decode = [](const result&, std::string&) {};
    detail::value_sink<std::string, decltype(decode)> sink{into, decode};
    return near_.find(key, sink) && into == "value";
  }
  bool loses(const std::string& key) {
    return eventually([&] { return !holds(key); });
  }
  /// Told by another connection, which the server answers after it has told us.
  void others(const std::vector<std::string>& command) { redis_.ask(command); }

  test::private_redis redis_;
  near_cache near_{{.entries = 100, .ttl = 1min}};
  near_cache_feed feed_{redis_.options(), prefix, near_};
};

TEST_F(near_cache_feed_test, drops_what_another_client_drops) {
  const auto one = prefix + "videos/id=1";
  const auto two = prefix + "videos/id=2";
  others({"SET", one, "stamp"});
  others({"SET", two, "stamp"});
  // Their creation is a message too: it must have come before the entries are made.
  ASSERT_TRUE(eventually([&] { return near_.stats().drops >= 2; }));
  fill("1", {one});
  fill("2", {two});
  others({"UNLINK", one});
  EXPECT_TRUE(loses("1"));
  EXPECT_TRUE(holds("2"));
}

TEST_F(near_cache_feed_test, drops_a_batch) {
  const tags all{prefix + "a", prefix + "b", prefix + "c"};
  others({"MSET", all[0], "s", all[1], "s", all[2], "s"});
  ASSERT_TRUE(eventually([&] { return near_.stats().drops >= 3; }));
  for (const auto& tag : all) fill("of " + tag, {tag});
  fill("kept", {prefix + "d"});
  others({"UNLINK", all[0], all[1], all[2]});
  for (const auto& tag : all) EXPECT_TRUE(loses("of " + tag)) << tag;
  EXPECT_TRUE(holds("kept"));
  EXPECT_EQ(near_.stats().drops, 6U);
}

TEST_F(near_cache_feed_test, hears_nothing_of_values) {
  others({"SET", "soundhash:test:v:query", "rows"});
  fill("k", {prefix + "last"});
  others({"SET", prefix + "last", "s"});
  ASSERT_TRUE(loses("k"));
  EXPECT_EQ(near_.stats().drops, 1U);
}

TEST_F(near_cache_feed_test, flushes_with_the_server) {
  for (const auto* const how : {"FLUSHALL", "FLUSHDB"}) {
    fill("k", {prefix + "t"});
    ASSERT_TRUE(holds("k"));
    others({how});
    EXPECT_TRUE(loses("k")) << how;
  }
  EXPECT_TRUE(near_.trusted()) << "the link is well";
}

TEST_F(near_cache_feed_test, forgets_all_when_it_is_cut_off_and_listens_again) {
  for (std::uint64_t connections = 2; connections < 5; ++connections) {
    fill("k", {prefix + "t"});
    ASSERT_TRUE(holds("k"));
    others({"CLIENT", "KILL", "TYPE", "pubsub"});
    EXPECT_TRUE(loses("k"));
    ASSERT_TRUE(eventually([&] { return feed_.connections() == connections && near_.trusted(); }));
    EXPECT_FALSE(holds("k")) << "what was dropped meanwhile is not known";

    fill("again", {prefix + "t"});
    ASSERT_TRUE(holds("again"));
    others({"SET", prefix + "t", "s"});
    EXPECT_TRUE(loses("again")) << "does not listen";
  }
}

TEST_F(near_cache_feed_test, forgets_all_over_a_restart) {
  fill("k", {prefix + "t"});
  redis_.stop();
  EXPECT_TRUE(loses("k"));
  EXPECT_EQ(near_.stats().flushes, 2U) << "lost by its age, and not with the link";
  fill("during", {prefix + "t"});
  EXPECT_FALSE(holds("during"));
  redis_.start();
  ASSERT_TRUE(eventually([&] { return near_.trusted(); }));
  EXPECT_FALSE(holds("k"));
}

TEST_F(near_cache_feed_test, does_not_believe_a_server_that_says_nothing) {
  fill("k", {prefix + "t"});
  ASSERT_TRUE(holds("k"));
  redis_.pause();
  const auto began = std::chrono::steady_clock::now();
  EXPECT_TRUE(loses("k"));
  const auto took = std::chrono::steady_clock::now() - began;
  redis_.resume();
  EXPECT_LE(took, near_cache_feed::bound + 500ms) << "the machine may be slow, but not so slow";
  // A late answer on the same link tells that nothing was missed, so "k" may be there again.
  ASSERT_TRUE(eventually([&] { return near_.trusted(); }));
  others({"SET", prefix + "t", "s"});
  EXPECT_TRUE(loses("k")) << "does not listen";
}

TEST_F(near_cache_feed_test, trusts_a_quiet_server_for_longer_than_the_bound) {
  fill("k", {prefix + "t"});
  const auto until = std::chrono::steady_clock::now() + near_cache_feed::bound + 700ms;
  // The passing of time is what is tested: that PINGs go on.
  EXPECT_FALSE(eventually([&] { return std::chrono::steady_clock::now() < until && !holds("k"); },
                          near_cache_feed::bound + 700ms));
  EXPECT_TRUE(holds("k"));
  EXPECT_EQ(feed_.connections(), 1U);
}

TEST(near_cache_feed_end_test, stops_at_once_whatever_the_server_does) {
  test::private_redis redis;
  near_cache near{{.entries = 10}};
  const auto within = [&](auto before_the_end) {
    std::optional<near_cache_feed> feed{std::in_place, redis.options(), prefix, near};
    before_the_end();
    const auto began = std::chrono::steady_clock::now();
    feed.reset();
    EXPECT_LE(std::chrono::steady_clock::now() - began, 5s);
  };
  within([] {});
  within([&] { ASSERT_TRUE(eventually([&] { return near.trusted(); })); });
  redis.pause();
  within([] {});
  redis.resume();
  redis.stop();
  within([] {});
}

TEST(near_cache_feed_refusal_test, a_user_who_may_not_subscribe_has_no_near_cache) {
  test::private_redis redis;
  redis.ask({"ACL", "SETUSER", "reader", "on", ">pass", "~*", "+@all", "-subscribe"});
  auto options = redis.options();
  options.user = "reader";
  options.password = secret{"pass"};
  near_cache near{{.entries = 10}};
  near_cache_feed feed{options, prefix, near};
  const auto refused_twice = [&] {
    return redis.ask({"INFO", "commandstats"}).find("rejected_calls=2") != std::string::npos;
  };
  ASSERT_TRUE(eventually(refused_twice));
  EXPECT_FALSE(near.trusted());
  EXPECT_EQ(feed.connections(), 0U);
}

}  // namespace
}  // namespace soundhash::db
