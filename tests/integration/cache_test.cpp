#include <algorithm>
#include <atomic>
#include <barrier>
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <soundhash/db.hpp>
#include <soundhash/db/migrate/migrator.hpp>
#include <soundhash/db/testing/private_postgres.hpp>

#include "cache_stack.hpp"
#include "support/caught.hpp"
#include "support/eventually.hpp"
#include "support/private_redis.hpp"
#include "support/sql.hpp"
#include "support/test_database.hpp"

// Databases with PostgreSQL and Redis, both real.

namespace soundhash::db {
namespace {

using namespace std::chrono_literals;
using test::caught;
using test::eventually;
using test::private_redis;
using ::testing::HasSubstr;

/// Counts the statements that went to the database.
class statement_counter final : public interceptor {
 public:
  void on_start(const statement_event& event) override {
    if (event.kind == statement_kind::user) ++count;
  }
  std::atomic<int> count{0};
};

double figure_of(database& db, std::string_view name, std::string_view labels = "") {
  const auto all = db.metrics().totals().figures;
  const auto found = std::find_if(all.begin(), all.end(), [&](const figure& one) {
    return one.name == name && one.labels == labels;
  });
  return found == all.end() ? -1 : found->value;
}

double answers(database& db, std::string_view result) {
  return figure_of(db, "soundhash_cache_requests_total", "result=\"" + std::string{result} + "\"");
}

/// Connects to Redis, which the first session of the database begins.
void await_cache(database& db) {
  db.warm_up();
  ASSERT_TRUE(eventually([&] { return figure_of(db, "soundhash_cache_breaker_open") == 0; }));
}

class cache_test : public ::testing::Test {
 protected:
  cache_test() {
    options_.cache = redis_.options();
    // A busy machine must not look like an outage.
    options_.cache.connect_timeout = 5s;
    options_.cache.command_timeout = 5s;
  }

  /// A database whose statements are counted, connected to Redis.
  database open(database_options options) {
    options.interceptors.push_back(sent_);
    auto db = database::open(options);
    await_cache(db);
    return db;
  }
  database open() { return open(options_); }

  /// Statements that `act` sends.
  template <class F>
  int statements(F&& act) {
    const int before = sent_->count;
    act();
    return sent_->count - before;
  }

  private_redis redis_;
  database_options options_ = test::fresh_database_options();
  std::shared_ptr<statement_counter> sent_ = std::make_shared<statement_counter>();
};

std::string title_of(database& db, std::string_view video_id) {
  return db.videos().find_by_video_id(video_id).value().title.value_or("");
}

TEST_F(cache_test, a_hit_takes_no_connection_and_reads_the_same_row) {
  auto db = open();
  const auto channel = db.channels().create({.channel_id = "UC1", .channel_name = "one"});
  const auto video = db.videos().create({.video_id = "v1", .channel_id = channel.id, .title = "t"});
  const auto first = db.videos().find_with_channel("v1");
  const auto before = db.pool_stats();
  const auto second = db.videos().find_with_channel("v1");
  const auto after = db.pool_stats();
  EXPECT_EQ(after.acquired_at_once + after.acquired_after_wait,
            before.acquired_at_once + before.acquired_after_wait);
  ASSERT_TRUE(first && second);
  EXPECT_EQ(second->video.id, video.id);
  EXPECT_EQ(second->video.title, "t");
  EXPECT_EQ(second->video.created_at, first->video.created_at);
  EXPECT_EQ(second->channel.channel_name, "one");
  EXPECT_EQ(answers(db, "hit"), 1);
  EXPECT_EQ(answers(db, "miss"), 1);
}

TEST_F(cache_test, every_cached_read_hits_the_second_time) {
  auto db = open();
  const auto channel = db.channels().create({.channel_id = "UC1"});
  const auto video = db.videos().create({.video_id = "v1", .channel_id = channel.id});
  const auto print = db.fingerprints().create({.video_id = video.id, .fingerprint_hash = "h"});
  db.match_results().create({.query_fingerprint_id = print.id});
  db.videos().create({.video_id = "v2", .channel_id = channel.id, .upload_date = timestamp{}});
  const auto undated = *db.videos().by_channel(channel.id, 1).next;
  const auto dated = *db.videos().by_channel(channel.id, 2).next;
  const auto top = *db.match_results().top(print.id, 1).next;
  const auto read_all = [&] {
    static_cast<void>(db.channels().find(channel.id));
    static_cast<void>(db.channels().find_by_channel_id("UC1"));
    static_cast<void>(db.videos().find(video.id));
    static_cast<void>(db.videos().find_by_video_id("v1"));
    static_cast<void>(db.videos().find_with_channel("v1"));
    static_cast<void>(db.videos().by_channel(channel.id));
    static_cast<void>(db.videos().by_channel(channel.id, 10, undated));
    static_cast<void>(db.videos().by_channel(channel.id, 10, dated));
    EXPECT_EQ(db.match_results().top(print.id).size(), 1U);
    EXPECT_TRUE(db.match_results().top(print.id, 10, top).empty());
  };
  EXPECT_EQ(statements(read_all), 10);
  EXPECT_EQ(statements(read_all), 0);
}

TEST_F(cache_test, a_caller_sees_its_own_commit_at_once) {
  auto db = open();
  const auto channel = db.channels().create({.channel_id = "UC1"});
  const auto id = db.videos().create({.video_id = "v1", .channel_id = channel.id}).id;
  for (int i = 0; i < 50; ++i) {
    const auto title = std::to_string(i);
    if (i % 2 == 0) {
      db.videos().update(id, {.title = title});
    } else {
      db.with_transaction([&](transaction& tx) { db.videos(tx).update(id, {.title = title}); });
    }
    EXPECT_EQ(title_of(db, "v1"), title);
    EXPECT_EQ(db.videos().by_channel(channel.id).at(0).title, title);
    EXPECT_EQ(title_of(db, "v1"), title);
  }
  EXPECT_EQ(answers(db, "hit"), 50);
}

TEST_F(cache_test, other_processes_see_it_too) {
  auto writer = open();
  auto reader = open();
  const auto channel = writer.channels().create({.channel_id = "UC1", .channel_name = "old"});
  writer.videos().create({.video_id = "v1", .channel_id = channel.id});
  EXPECT_EQ(reader.videos().find_with_channel("v1")->channel.channel_name, "old");
  EXPECT_EQ(statements([&] { static_cast<void>(reader.videos().find_with_channel("v1")); }), 0);
  writer.channels().update(channel.id, {.channel_name = "new"});
  EXPECT_EQ(reader.videos().find_with_channel("v1")->channel.channel_name, "new");
}

TEST_F(cache_test, a_new_row_replaces_its_cached_absence) {
  auto db = open();
  const auto channel = db.channels().create({.channel_id = "UC1"});
  EXPECT_FALSE(db.videos().find_by_video_id("v1"));
  EXPECT_EQ(statements([&] { EXPECT_FALSE(db.videos().find_by_video_id("v1")); }), 0);
  EXPECT_EQ(answers(db, "negative_hit"), 1);
  db.videos().create({.video_id = "v1", .channel_id = channel.id});
  EXPECT_TRUE(db.videos().find_by_video_id("v1"));
}

TEST_F(cache_test, a_rollback_drops_nothing) {
  auto db = open();
  const auto channel = db.channels().create({.channel_id = "UC1", .channel_name = "one"});
  static_cast<void>(db.channels().find(channel.id));
  {
    auto tx = db.begin();
    db.channels(tx).update(channel.id, {.channel_name = "two"});
    tx.rollback();
  }
  EXPECT_EQ(statements([&] { EXPECT_EQ(db.channels().find(channel.id)->channel_name, "one"); }), 0);
}

TEST_F(cache_test, a_transaction_reads_and_stores_nothing_in_the_cache) {
  auto db = open();
  const auto channel = db.channels().create({.channel_id = "UC1", .channel_name = "one"});
  static_cast<void>(db.channels().find(channel.id));
  auto tx = db.begin();
  db.channels(tx).update(channel.id, {.channel_name = "two"});
  EXPECT_EQ(db.channels(tx).find(channel.id)->channel_name, "two");
  EXPECT_EQ(db.channels().find(channel.id)->channel_name, "one") << "not committed";
  EXPECT_EQ(db.channels(tx).find(channel.id)->channel_name, "two");
  tx.commit();
  EXPECT_EQ(db.channels().find(channel.id)->channel_name, "two");
  EXPECT_EQ(answers(db, "hit"), 1);
}

TEST_F(cache_test, many_threads_that_ask_for_one_cold_row_send_one_query) {
  constexpr std::ptrdiff_t threads = 64;
  auto db = open();
  const auto channel = db.channels().create({.channel_id = "UC1"});
  const auto id = db.videos().create({.video_id = "v1", .channel_id = channel.id}).id;
  for (int round = 0; round < 10; ++round) {
    const auto title = std::to_string(round);
    db.videos().update(id, {.title = title});
    std::barrier start{threads};
    std::atomic<int> right{0};
    EXPECT_EQ(statements([&] {
                std::vector<std::jthread> all;
                for (std::ptrdiff_t i = 0; i < threads; ++i) {
                  all.emplace_back([&] {
                    start.arrive_and_wait();
                    if (title_of(db, "v1") == title) ++right;
                  });
                }
              }),
              1);
    EXPECT_EQ(right, threads);
  }
}

TEST_F(cache_test, a_call_may_go_past_the_cache_or_renew_it) {
  auto db = open();
  const auto id = db.channels().create({.channel_id = "UC1", .channel_name = "one"}).id;
  static_cast<void>(db.channels().find(id));
  test::execute(options_, "UPDATE channels SET channel_name = 'python'");
  EXPECT_EQ(db.channels().find(id)->channel_name, "one");
  EXPECT_EQ(db.channels().find(id, {.cache = cache_use::bypass})->channel_name, "python");
  EXPECT_EQ(db.channels().find(id)->channel_name, "one");
  EXPECT_EQ(db.channels().find(id, {.cache = cache_use::refresh})->channel_name, "python");
  EXPECT_EQ(db.channels().find(id)->channel_name, "python");
}

TEST_F(cache_test, two_databases_on_one_redis_never_mix) {
  auto other_options = test::fresh_database_options();
  other_options.cache = options_.cache;
  auto one = open();
  auto other = open(other_options);
  const auto id = one.channels().create({.channel_id = "UC1", .channel_name = "one"}).id;
  ASSERT_EQ(other.channels().create({.channel_id = "UC1", .channel_name = "other"}).id, id);
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(one.channels().find(id)->channel_name, "one");
    EXPECT_EQ(other.channels().find(id)->channel_name, "other");
  }
  EXPECT_TRUE(one.cache().set("key", "one"));
  EXPECT_EQ(other.cache().get("key"), std::nullopt);
  EXPECT_TRUE(other.cache().clear());
  EXPECT_EQ(statements([&] { static_cast<void>(one.channels().find(id)); }), 0);
}

TEST_F(cache_test, schemas_of_one_database_never_mix) {
  auto other_options = options_;
  other_options.schema = "tenant";
  test::execute(options_,
                "CREATE SCHEMA tenant; CREATE TABLE tenant.channels "
                "(LIKE public.channels INCLUDING ALL);"
                "INSERT INTO public.channels (id, channel_id) VALUES (1, 'public');"
                "INSERT INTO tenant.channels (id, channel_id) VALUES (1, 'tenant')");
  auto one = open();
  auto other = open(other_options);
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(one.channels().find(1)->channel_id, "public");
    EXPECT_EQ(other.channels().find(1)->channel_id, "tenant");
  }
}

TEST_F(cache_test, a_configured_name_needs_no_identifier) {
  test::execute(options_,
                "CREATE ROLE guest LOGIN; GRANT ALL ON ALL TABLES IN SCHEMA public TO guest;"
                "REVOKE EXECUTE ON FUNCTION pg_control_system() FROM PUBLIC");
  test::execute(options_, "INSERT INTO channels (id, channel_id) VALUES (1, 'UC1')");
  auto options = options_;
  options.user = "guest";
  auto unnamed = database::open(options);
  for (int i = 0; i < 2; ++i) EXPECT_TRUE(unnamed.channels().find(1));
  EXPECT_EQ(answers(unnamed, "bypass"), 2);
  options.cache.name_space = "staging";
  auto named = open(options);
  EXPECT_TRUE(named.channels().find(1));
  EXPECT_EQ(statements([&] { EXPECT_TRUE(named.channels().find(1)); }), 0);
  EXPECT_THAT(redis_.ask({"KEYS", "*"}), HasSubstr("staging"));
}

TEST_F(cache_test, without_redis_enabled_the_code_is_the_same) {
  options_.cache.enabled = false;
  options_.interceptors.push_back(sent_);
  auto db = database::open(options_);
  const auto id = db.channels().create({.channel_id = "UC1"}).id;
  EXPECT_EQ(statements([&] {
              EXPECT_TRUE(db.channels().find(id));
              EXPECT_TRUE(db.channels().find(id));
            }),
            2);
  auto cache = db.cache();
  EXPECT_FALSE(cache.enabled());
  EXPECT_FALSE(cache.set("key", "value"));
  EXPECT_EQ(cache.get("key"), std::nullopt);
  EXPECT_EQ(cache.cached("key", tag_set{tag_set::mode::read}, 1min, [] { return "loaded"; }),
            "loaded");
  EXPECT_EQ(redis_.ask({"DBSIZE"}), "0");
  EXPECT_EQ(figure_of(db, "soundhash_cache_breaker_open"), -1);
}

TEST_F(cache_test, a_row_of_a_python_service_is_seen_within_the_negative_lifetime) {
  options_.cache.negative_ttl = 200ms;
  auto db = open();
  EXPECT_FALSE(db.channels().find_by_channel_id("UC1"));
  EXPECT_FALSE(db.channels().find_by_channel_id("UC1"));
  test::execute(options_, "INSERT INTO channels (channel_id) VALUES ('UC1')");
  EXPECT_EQ(db.channels().get_or_create({.channel_id = "UC1"}).channel_id, "UC1")
      << "never asks the cache";
  EXPECT_TRUE(eventually([&] { return db.channels().find_by_channel_id("UC1").has_value(); }));
}

TEST_F(cache_test, a_write_made_elsewhere_can_be_told) {
  auto db = open();
  const auto id = db.channels().create({.channel_id = "UC1", .channel_name = "one"}).id;
  static_cast<void>(db.channels().find(id));
  test::execute(options_, "UPDATE channels SET channel_name = 'two'");
  EXPECT_TRUE(db.cache().invalidate(cache_tag::row("channels", "id", id)));
  EXPECT_EQ(db.channels().find(id)->channel_name, "two");
  test::execute(options_, "UPDATE channels SET channel_name = 'three'");
  EXPECT_TRUE(db.cache().invalidate(cache_tag::all_of("channels")));
  EXPECT_EQ(db.channels().find(id)->channel_name, "three");
}

TEST_F(cache_test, a_join_keeps_to_the_shorter_lifetime) {
  options_.cache.video_ttl = 1000s;
  options_.cache.channel_ttl = 10s;
  auto db = open();
  const auto channel = db.channels().create({.channel_id = "UC1"});
  db.videos().create({.video_id = "v1", .channel_id = channel.id});
  static_cast<void>(db.videos().find_by_video_id("v1"));
  static_cast<void>(db.videos().find_with_channel("v1"));
  static_cast<void>(db.channels().find(channel.id));
  const auto life = [&](const std::string& pattern) {
    auto key = redis_.ask({"KEYS", "*:v:" + pattern + ":*"});
    EXPECT_EQ(std::count(key.begin(), key.end(), '\n'), 1) << "one key: " << key;
    key.pop_back();
    return std::stoi(redis_.ask({"TTL", key}));
  };
  EXPECT_GT(life("video.find_by_video_id"), 800);
  EXPECT_LE(life("video.find_with_channel"), 11);
  EXPECT_LE(life("channel.find"), 11);
}

// Outages

TEST_F(cache_test, redis_down_at_the_start_is_not_for_life) {
  redis_.stop();
  options_.interceptors.push_back(sent_);
  auto db = database::open(options_);
  const auto id = db.channels().create({.channel_id = "UC1"}).id;
  EXPECT_EQ(statements([&] {
              for (int i = 0; i < 3; ++i) EXPECT_TRUE(db.channels().find(id));
            }),
            3);
  EXPECT_EQ(figure_of(db, "soundhash_cache_breaker_open"), 1);
  redis_.start();
  await_cache(db);
  EXPECT_TRUE(db.channels().find(id));
  EXPECT_EQ(statements([&] { EXPECT_TRUE(db.channels().find(id)); }), 0);
}

TEST_F(cache_test, a_commit_during_an_outage_is_seen_then_and_afterwards) {
  auto db = open();
  const auto id = db.channels().create({.channel_id = "UC1", .channel_name = "one"}).id;
  static_cast<void>(db.channels().find(id));
  redis_.pause();
  db.channels().update(id, {.channel_name = "two"});
  EXPECT_EQ(db.channels().find(id)->channel_name, "two");
  redis_.resume();
  await_cache(db);
  EXPECT_EQ(db.channels().find(id)->channel_name, "two");
  auto other = open();
  EXPECT_EQ(other.channels().find(id)->channel_name, "two");
}

TEST_F(cache_test, strict_and_closed_refuses_writes_while_redis_is_down) {
  options_.cache.strict = cache_strictness::fail_closed;
  auto db = open();
  const auto id = db.channels().create({.channel_id = "UC1", .channel_name = "one"}).id;
  redis_.stop();
  const auto e =
      caught<transaction_error>([&] { db.channels().update(id, {.channel_name = "two"}); });
  EXPECT_EQ(e.code(), errc::unannounced);
  EXPECT_EQ(caught<transaction_error>([&] {
              db.with_transaction([&](transaction& tx) { db.channels(tx).mark_processed(id); });
            }).code(),
            errc::unannounced);
  EXPECT_EQ(db.channels().find(id)->channel_name, "one");
  redis_.start();
  await_cache(db);
  db.channels().update(id, {.channel_name = "two"});
  EXPECT_EQ(db.channels().find(id)->channel_name, "two");
}

TEST_F(cache_test, strict_and_open_writes_on_while_redis_is_down) {
  options_.cache.strict = cache_strictness::fail_open;
  auto db = open();
  const auto id = db.channels().create({.channel_id = "UC1", .channel_name = "one"}).id;
  redis_.stop();
  db.channels().update(id, {.channel_name = "two"});
  EXPECT_EQ(db.channels().find(id)->channel_name, "two");
}

// The end

TEST_F(cache_test, a_closed_database_answers_nothing_from_its_cache) {
  auto db = open();
  const auto id = db.channels().create({.channel_id = "UC1"}).id;
  static_cast<void>(db.channels().find(id));
  db.close();
  EXPECT_EQ(caught<pool_error>([&] { static_cast<void>(db.channels().find(id)); }).code(),
            errc::pool_closed);
}

TEST_F(cache_test, the_handle_of_a_cache_may_outlive_its_database) {
  std::optional<cache> kept;
  {
    auto db = open();
    kept = db.cache();
    EXPECT_TRUE(kept->set("key", "value"));
  }
  EXPECT_EQ(kept->get("key"), "value");
}

// The near cache

TEST_F(cache_test, the_near_cache_answers_without_redis_and_hears_of_others) {
  options_.cache.near_cache.entries = 1000;
  auto db = open();
  ASSERT_TRUE(eventually([&] { return figure_of(db, "soundhash_cache_near_trusted") == 1; }));
  const auto id = db.channels().create({.channel_id = "UC1", .channel_name = "one"}).id;
  ASSERT_TRUE(eventually([&] {
    static_cast<void>(db.channels().find(id));
    return answers(db, "near_hit") > 0;
  }));
  db.channels().update(id, {.channel_name = "two"});
  EXPECT_EQ(db.channels().find(id)->channel_name, "two") << "one's own write at once";
  auto plain = options_;
  plain.cache.near_cache.entries = 0;
  auto other = open(plain);
  other.channels().update(id, {.channel_name = "three"});
  EXPECT_TRUE(eventually([&] { return db.channels().find(id)->channel_name == "three"; }));
}

// A standby

TEST(cache_on_a_standby, stores_nothing) {
  testing::private_postgres server;
  private_redis redis;
  auto options = server.options();
  migrator{options}.up();
  test::execute(options, "INSERT INTO channels (id, channel_id) VALUES (1, 'UC1')");
  server.stop();
  std::ofstream{std::filesystem::path{options.host} / "data" / "standby.signal"};
  server.start();
  options.cache = redis.options();
  auto db = database::open(options);
  await_cache(db);
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(db.channels().find(1));
  EXPECT_EQ(answers(db, "hit"), 0);
  EXPECT_EQ(redis.ask({"KEYS", "*:v:*"}), "");
}

// How long a doubt may last

TEST(longest_doubt, covers_the_statement_its_session_and_tcp) {
  database_options options;
  EXPECT_EQ(longest_doubt(options), 30s + 2s + 15s + 5s);
  options.statement_timeout = 1s;
  options.parameters["tcp_user_timeout"] = "3000";
  EXPECT_EQ(longest_doubt(options), 1s + 2s + 3s + 5s);
  options.statement_timeout = 0ms;
  EXPECT_GE(longest_doubt(options), 1h) << "no limit";
  options.statement_timeout = 1s;
  options.parameters["tcp_user_timeout"] = "0";
  EXPECT_GE(longest_doubt(options), 16min) << "the system's";
}

}  // namespace
}  // namespace soundhash::db
