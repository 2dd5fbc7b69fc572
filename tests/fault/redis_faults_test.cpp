#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <random>
#include <sstream>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include <soundhash/db/database.hpp>

#include "support/eventually.hpp"
#include "support/figure_of.hpp"
#include "support/private_redis.hpp"
#include "support/tcp_proxy.hpp"
#include "support/test_database.hpp"

/// Whatever Redis does, a repository returns what the database has; an outage costs one budget to
/// each thread, and ends by itself.
namespace soundhash::db {
namespace {

using namespace std::chrono_literals;
using clock = deadline::clock;
using test::cache_hits;
using test::cache_is_well;
using test::eventually;
using test::private_redis;

/// What a call may take beside its budget on a busy machine.
constexpr auto grace = 3s;

/// A Redis with a user of its own for us, and a link to it that can be slowed down.
struct server {
  private_redis redis{
      {.tcp = true, .arguments = {"--user", "service", "on", ">right", "~*", "&*", "+@all"}}};
  database_options upstream = [this] {
    database_options where;
    where.host = redis.tcp_options().host;
    where.port = redis.tcp_options().port;
    return where;
  }();
  test::tcp_proxy link{upstream};

  [[nodiscard]] cache_options options() const {
    auto options = redis.tcp_options();
    options.host = link.options().host;
    options.port = link.options().port;
    options.user = "service";
    options.password = secret{"right"};
    return options;
  }
  std::vector<std::string> keys(const std::string& pattern) {
    std::istringstream lines{redis.ask({"KEYS", pattern})};
    std::vector<std::string> found;
    for (std::string line; std::getline(lines, line);) found.push_back(line);
    return found;
  }
};

struct fault {
  std::string name;
  std::function<void(server&)> begin;
  std::function<void(server&)> end;
  bool opens_breaker = true;  ///< already by what readers ask
};

void PrintTo(const fault& one, std::ostream* out) {
  *out << one.name;
}

void overwrite_all(server& with) {
  std::mt19937 random{7};
  const auto keys = with.keys("*:v:*");
  ASSERT_FALSE(keys.empty());
  for (const auto& key : keys) {
    std::string bytes(random() % 400, '\0');
    for (auto& byte : bytes) byte = static_cast<char>(random());
    with.redis.ask({"SET", key, bytes});
  }
}

/// A letter of every other value's title, and the next value replaced by that of another key.
void damage_all(server& with) {
  const auto keys = with.keys("*:v:*");
  ASSERT_GT(keys.size(), 1U);
  for (std::size_t i = 0; i + 1 < keys.size(); i += 2) {
    with.redis.ask({"COPY", keys[i], keys[i + 1], "REPLACE"});
    const auto title = with.redis.ask({"GET", keys[i]}).find("before video");
    if (title != std::string::npos) {
      with.redis.ask({"SETRANGE", keys[i], std::to_string(title), "B"});
    }
  }
}

std::vector<fault> all_faults() {
  const auto nothing = [](server&) {};
  return {
      {"down", [](server& with) { with.redis.stop(); }, [](server& with) { with.redis.start(); }},
      {"killed", [](server& with) { with.redis.kill_immediately(); },
       [](server& with) { with.redis.start(); }},
      {"hung", [](server& with) { with.redis.pause(); }, [](server& with) { with.redis.resume(); }},
      {"loading",
       [](server& with) {
         with.redis.ask({"DEBUG", "POPULATE", "2000"});
         with.redis.ask({"SAVE"});
         with.redis.stop();
         with.redis.start_loading_slowly();
       },
       nothing},
      {"without_memory",
       [](server& with) {
         with.redis.ask({"CONFIG", "SET", "maxmemory", "1"});
       },
       [](server& with) {
         with.redis.ask({"CONFIG", "SET", "maxmemory", "0"});
       },
       false},
      {"wrong_password",
       [](server& with) {
         with.redis.ask({"ACL", "SETUSER", "service", "resetpass", ">other"});
         with.redis.ask({"CLIENT", "KILL", "USER", "service"});
       },
       [](server& with) {
         with.redis.ask({"ACL", "SETUSER", "service", ">right"});
       }},
      {"read_only_replica",
       [](server& with) {
         with.redis.ask({"REPLICAOF", "127.0.0.1", "1"});
       },
       [](server& with) {
         with.redis.ask({"REPLICAOF", "NO", "ONE"});
       },
       false},
      {"dripping",
       [](server& with) {
         with.link.set_pace(test::direction::to_client, {1, 20ms});
       },
       [](server& with) {
         with.link.set_pace(test::direction::to_client, {});
         with.link.cut();  // what drips already goes on so
       }},
      {"random_bytes", overwrite_all, nothing, false},
      {"damaged_values", damage_all, nothing, false},
  };
}

class redis_faults_test : public ::testing::TestWithParam<fault> {
 protected:
  static constexpr int rows = 8;

  redis_faults_test() {
    options_.cache = server_.options();
    for (auto* each : {&db_, &other_}) {
      each->emplace(database::open(options_)).warm_up();
      EXPECT_TRUE(eventually([&] { return cache_is_well(**each); }));
    }
    channel_ = db_->channels().create({.channel_id = "UC"}).id;
    for (int i = 0; i < rows; ++i) {
      const auto made = db_->videos().create(
          {.video_id = id_of(i), .channel_id = channel_, .title = "before " + id_of(i)});
      ids_.push_back(made.id);
      titles_.push_back(*made.title);
    }
    // A busy machine may have looked like an outage.
    EXPECT_TRUE(eventually([&] {
      const auto before = cache_hits(*db_);
      expect_rows(*db_);
      return cache_hits(*db_) - before >= 2 * rows;
    }));
  }

  static std::string id_of(int i) { return "video " + std::to_string(i); }

  /// Every row in every way, as the database has it.
  void expect_rows(database& db, const call_options& options = {}) {
    for (int i = 0; i < rows; ++i) {
      const auto& title = titles_[static_cast<std::size_t>(i)];
      const auto one = db.videos().find_by_video_id(id_of(i), options);
      ASSERT_TRUE(one);
      ASSERT_EQ(one->title, title);
      ASSERT_EQ(one->video_id, id_of(i));
      const auto joined = db.videos().find_with_channel(id_of(i), options);
      ASSERT_TRUE(joined);
      ASSERT_EQ(joined->video.title, title);
      ASSERT_EQ(joined->channel.channel_id, "UC");
    }
    const auto list = db.videos().by_channel(channel_, 100, {}, options);
    ASSERT_EQ(list.size(), std::size_t{rows});
    for (const auto& each : list) {
      const auto at = std::find(ids_.begin(), ids_.end(), each.id) - ids_.begin();
      ASSERT_EQ(each.title, titles_.at(static_cast<std::size_t>(at)));
    }
    ASSERT_FALSE(db.videos().find_by_video_id("no such video", options));
  }

  void rename_all(const std::string& prefix) {
    for (int i = 0; i < rows; ++i) {
      const auto at = static_cast<std::size_t>(i);
      titles_[at] = prefix + id_of(i);
      db_->videos().update(ids_[at], {.title = titles_[at]});
    }
  }

  clock::duration time_reads() {
    const auto began = clock::now();
    expect_rows(*db_);
    return clock::now() - began;
  }

  server server_;
  database_options options_ = test::fresh_database_options();
  std::optional<database> db_;
  std::optional<database> other_;
  std::int32_t channel_ = 0;
  std::vector<std::int32_t> ids_;
  std::vector<std::string> titles_;
};

TEST_P(redis_faults_test, every_result_is_the_databases) {
  GetParam().begin(server_);
  expect_rows(*db_);
  rename_all("during ");
  expect_rows(*db_);
  rename_all("again ");
  expect_rows(*db_);
  GetParam().end(server_);
  expect_rows(*db_);
  rename_all("after ");
  expect_rows(*db_);
}

TEST_P(redis_faults_test, costs_each_thread_one_budget_once) {
  constexpr int threads = 4;
  GetParam().begin(server_);
  std::array<clock::duration, threads> first{};
  {
    std::vector<std::jthread> all;
    for (auto& took : first) all.emplace_back([&] { took = time_reads(); });
  }
  const auto budget = options_.cache.connect_timeout + options_.cache.command_timeout;
  for (const auto took : first) EXPECT_LE(took, budget + grace);
  if (GetParam().opens_breaker) {
    EXPECT_EQ(test::figure_of(*db_, "soundhash_cache_breaker_open"), 1);
    // And then nothing: Redis is not asked.
    const auto asked = test::figure_of(*db_, "soundhash_cache_redis_calls_total");
    for (int round = 0; round < 20; ++round) expect_rows(*db_);
    EXPECT_EQ(test::figure_of(*db_, "soundhash_cache_redis_calls_total"), asked);
  }
  GetParam().end(server_);
}

TEST_P(redis_faults_test,
       is_over_without_a_restart_and_lost_tags_are_dropped_before_the_first_hit) {
  GetParam().begin(server_);
  rename_all("during ");
  GetParam().end(server_);
  // Whatever is hit from now on, by the process whose messages were lost.
  const auto hits = cache_hits(*db_);
  EXPECT_TRUE(eventually([&] {
    expect_rows(*db_);
    return cache_hits(*db_) - hits >= rows;
  }));
  // By any other, once they have been delivered.
  EXPECT_TRUE(eventually([&] {
    expect_rows(*db_);
    return cache_is_well(*db_) && cache_is_well(*other_);
  }));
  expect_rows(*other_);
}

INSTANTIATE_TEST_SUITE_P(faults, redis_faults_test, ::testing::ValuesIn(all_faults()),
                         [](const auto& which) { return which.param.name; });

/// What was there before the fault, and what the values say, is what a check must notice.
TEST(redis_bytes_test, damaged_values_are_counted_and_give_way) {
  server with;
  auto options = test::fresh_database_options();
  options.cache = with.options();
  auto db = database::open(options);
  db.warm_up();
  ASSERT_TRUE(eventually([&] { return cache_is_well(db); }));
  db.channels().create({.channel_id = "UC"});
  ASSERT_TRUE(eventually([&] {
    (void)db.channels().find_by_channel_id("UC");
    return with.keys("*:v:*").size() == 1;
  }));
  overwrite_all(with);
  EXPECT_TRUE(db.channels().find_by_channel_id("UC"));
  EXPECT_GE(test::figure_of(db, "soundhash_cache_decode_errors_total"), 1);
  EXPECT_TRUE(eventually([&] {
    const auto hits = cache_hits(db);
    EXPECT_TRUE(db.channels().find_by_channel_id("UC"));
    return cache_hits(db) > hits;
  }));
}

}  // namespace
}  // namespace soundhash::db
