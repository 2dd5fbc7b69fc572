#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <exception>
#include <latch>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include <soundhash/db/core/error.hpp>
#include <soundhash/db/database.hpp>

#include "support/sql.hpp"
#include "support/test_database.hpp"

namespace soundhash::db {
namespace {

constexpr int threads = 8;
constexpr int rows = 100;
constexpr std::size_t connections = 4;

/// Calls of each thread: SOUNDHASH_TEST_LOAD_CALLS when set, for slow machines.
int calls_per_thread() {
  const char* given = std::getenv("SOUNDHASH_TEST_LOAD_CALLS");
  return given == nullptr ? 100'000 : std::atoi(given);
}

std::string video_id(int number) {
  return "video_" + std::to_string(number);
}

/// Counts our sessions on the server, over and over, while it lives.
class session_count {
 public:
  explicit session_count(const std::string& application_name)
      : session_{test::connect(test::server().options())},
        sql_{"SELECT count(*)::text FROM pg_stat_activity WHERE application_name = '" +
             application_name + "'"},
        sampler_{[this](const std::stop_token& stop) {
          while (!stop.stop_requested()) {
            seen_.insert(std::stoul(test::query_text(*session_, sql_)));
            std::this_thread::sleep_for(std::chrono::milliseconds{5});
          }
        }} {}

  /// The different counts seen.
  std::set<std::size_t> stop() {
    sampler_.request_stop();
    sampler_.join();
    return seen_;
  }

 private:
  std::unique_ptr<driver::connection> session_;
  std::string sql_;
  std::set<std::size_t> seen_;
  std::jthread sampler_;  // last: it uses all the others
};

TEST(load, eight_threads_share_four_connections_without_an_error) {
  auto options = test::fresh_database_options();
  options.application_name = "load test";
  options.slow_query = std::chrono::minutes{1};  // a busy machine shall not fill the log
  options.pool.size = connections;
  options.pool.max_overflow = 0;
  auto db = database::open(options);
  const auto channel = db.channels().create({.channel_id = "channel"});
  for (int i = 0; i < rows; ++i) {
    db.videos().create({.video_id = video_id(i), .channel_id = channel.id});
  }
  db.metrics().reset();

  const int calls = calls_per_thread();
  std::atomic<int> wrong{0};
  std::latch start{threads};
  session_count counted{options.application_name};
  {
    std::vector<std::jthread> workers;
    for (int t = 0; t < threads; ++t) {
      workers.emplace_back([&, t] {
        auto videos = db.videos();
        auto channels = db.channels();
        start.arrive_and_wait();
        try {
          for (int i = 0; i < calls; ++i) {
            const auto id = video_id((i + t) % rows);
            const bool right = i % 2 == 0
                                   ? videos.find_by_video_id(id).value().video_id == id
                                   : channels.find(channel.id).value().channel_id == "channel";
            if (!right) ++wrong;
          }
        } catch (const std::exception& e) {
          ADD_FAILURE() << e.what();
        }
      });
    }
  }
  const auto sessions = counted.stop();

  EXPECT_EQ(wrong, 0);
  const auto seen = db.metrics().snapshot();
  EXPECT_EQ(seen.total_queries,
            static_cast<std::uint64_t>(threads) * static_cast<std::uint64_t>(calls));
  EXPECT_EQ(seen.errors, 0U);
  EXPECT_EQ(seen.query("video.find_by_video_id")->count, seen.total_queries / 2);
  EXPECT_EQ(*sessions.rbegin(), connections) << "all of the pool, and no more";
  const auto pool = db.pool_stats();
  EXPECT_EQ(pool.connects, connections);
  EXPECT_EQ(pool.idle, connections);
  EXPECT_EQ(pool.used + pool.waiting + pool.connecting, 0U);
}

}  // namespace
}  // namespace soundhash::db
