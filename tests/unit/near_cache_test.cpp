#include "cache/near_cache.hpp"

#include <atomic>
#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

namespace soundhash::db {
namespace {

using namespace std::chrono_literals;
using tags = std::vector<std::string>;

std::atomic<near_cache::clock::rep> ticks{std::chrono::nanoseconds{1h}.count()};

near_cache::clock::time_point fake_now() noexcept {
  return near_cache::clock::time_point{near_cache::clock::duration{ticks.load()}};
}

void advance(near_cache::clock::duration by) {
  ticks += by.count();
}

/// What a repository hands over: a destination and its type.
template <class Value>
auto sink_of(Value& into) {
  const auto decode = [](const result&, Value&) {};
  return detail::value_sink<Value, decltype(decode)>{into, decode};
}

class near_cache_test : public testing::Test {
 protected:
  near_cache_test() { near_.trust(fake_now() + 1h); }

  void fill(const std::string& key, const near_cache::place& at, std::string value,
            std::chrono::milliseconds life = 1h) {
    near_.fill(key, at, sink_of(value), life);
  }
  void fill(const std::string& key, const tags& on, const std::string& value) {
    fill(key, near_.begin(on), value);
  }
  std::optional<std::string> find(const std::string& key) {
    std::string into;
    auto sink = sink_of(into);
    return near_.find(key, sink) ? std::optional{into} : std::nullopt;
  }

  near_cache near_{{.entries = 8, .ttl = 2s}, fake_now};
};

TEST_F(near_cache_test, gives_back_what_was_filled) {
  EXPECT_EQ(find("k"), std::nullopt);
  fill("k", {"t"}, "v");
  EXPECT_EQ(find("k"), "v");
  EXPECT_EQ(find("K"), std::nullopt);
  fill("k", {"t"}, "w");
  EXPECT_EQ(find("k"), "w");
  EXPECT_EQ(near_.stats().hits, 2U);
  EXPECT_EQ(near_.stats().fills, 2U);
  EXPECT_EQ(near_.stats().entries, 1U);
}

TEST_F(near_cache_test, knows_absent_rows) {
  std::optional<std::string> absent;
  near_.fill("k", near_.begin(tags{"t"}), sink_of(absent), 1h);
  std::optional<std::string> into{"something"};
  auto sink = sink_of(into);
  EXPECT_TRUE(near_.find("k", sink));
  EXPECT_EQ(into, std::nullopt);
}

TEST_F(near_cache_test, does_not_give_a_value_as_another_type) {
  fill("k", {"t"}, "v");
  std::int64_t number = 7;
  auto sink = sink_of(number);
  EXPECT_FALSE(near_.find("k", sink));
  EXPECT_EQ(number, 7);
  EXPECT_EQ(find("k"), "v");

  near_.fill("k", near_.begin(tags{"t"}), sink, 1h);
  EXPECT_TRUE(near_.find("k", sink));
  EXPECT_EQ(find("k"), std::nullopt) << "a key has one value";
}

TEST_F(near_cache_test, drops_what_carries_the_tag) {
  fill("one", {"global", "videos/*", "videos/id=1"}, "1");
  fill("two", {"global", "videos/*", "videos/id=2"}, "2");
  fill("list", {"global", "videos/*", "videos/?"}, "1, 2");
  near_.drop("videos/id=1");
  EXPECT_EQ(find("one"), std::nullopt);
  EXPECT_EQ(find("two"), "2");
  EXPECT_EQ(find("list"), "1, 2");
  near_.drop(tags{"videos/?", "videos/*"});
  EXPECT_EQ(find("two"), std::nullopt);
  EXPECT_EQ(find("list"), std::nullopt);

  fill("one", {"global", "videos/*", "videos/id=1"}, "1 again");
  EXPECT_EQ(find("one"), "1 again");
  near_.drop("global");
  EXPECT_EQ(find("one"), std::nullopt);
  EXPECT_EQ(near_.stats().drops, 4U);
}

TEST_F(near_cache_test, keeps_nothing_whose_tag_was_dropped_after_the_read_began) {
  const auto before = near_.begin(tags{"a", "b"});
  near_.drop("b");  // the message overtakes the answer
  fill("k", before, "old");
  EXPECT_EQ(find("k"), std::nullopt);
  fill("k", near_.begin(tags{"a", "b"}), "new");
  fill("k", before, "old");
  EXPECT_EQ(find("k"), "new") << "the slow reader has put an old value over a new one";
}

TEST_F(near_cache_test, keeps_nothing_from_before_a_flush) {
  const auto before = near_.begin(tags{"t"});
  fill("kept", {"t"}, "v");
  near_.flush();
  EXPECT_EQ(find("kept"), std::nullopt);
  fill("k", before, "old");
  EXPECT_EQ(find("k"), std::nullopt);
  EXPECT_EQ(near_.stats().flushes, 1U);
}

TEST_F(near_cache_test, answers_only_while_somebody_tells_what_is_dropped) {
  fill("k", {"t"}, "v");
  const auto before = near_.begin(tags{"t"});
  near_.distrust();
  EXPECT_EQ(find("k"), std::nullopt);
  const auto during = near_.begin(tags{"t"});
  near_.trust(fake_now() + 1h);
  EXPECT_EQ(find("k"), std::nullopt) << "kept over a gap";
  fill("k", before, "old");
  fill("k", during, "old");
  EXPECT_EQ(find("k"), std::nullopt) << "filled over a gap";
  fill("k", {"t"}, "new");
  EXPECT_EQ(find("k"), "new");
}

TEST_F(near_cache_test, stops_by_itself_when_the_listener_gets_no_time) {
  near_.trust(fake_now() + 1500ms);
  fill("k", {"t"}, "v");
  advance(1499ms);
  EXPECT_EQ(find("k"), "v");
  advance(1ms);
  EXPECT_EQ(find("k"), std::nullopt);
  near_.trust(fake_now() + 1ms);  // and all that came meanwhile has been heard
  EXPECT_EQ(find("k"), "v");
}

TEST_F(near_cache_test, counts_the_lifetime_from_the_beginning_of_the_read) {
  const auto at = near_.begin(tags{"t"});
  advance(1500ms);
  fill("k", at, "v");
  advance(499ms);
  EXPECT_EQ(find("k"), "v");
  advance(1ms);
  EXPECT_EQ(find("k"), std::nullopt);

  const auto slow = near_.begin(tags{"t"});
  advance(2s);
  fill("k", slow, "v");
  EXPECT_EQ(find("k"), std::nullopt);
}

TEST_F(near_cache_test, keeps_no_value_longer_than_its_own_life) {
  fill("k", near_.begin(tags{"t"}), "v", 300ms);
  advance(299ms);
  EXPECT_EQ(find("k"), "v");
  advance(1ms);
  EXPECT_EQ(find("k"), std::nullopt);
  fill("k", near_.begin(tags{"t"}), "v", 0ms);
  EXPECT_EQ(find("k"), std::nullopt);
}

TEST_F(near_cache_test, is_bounded_and_prefers_what_is_used) {
  for (int i = 0; i < 8; ++i) fill(std::to_string(i), {"t"}, "v");
  EXPECT_EQ(find("3"), "v");
  for (int i = 8; i < 15; ++i) fill(std::to_string(i), {"t"}, "v");
  EXPECT_EQ(near_.stats().entries, 8U);
  EXPECT_EQ(near_.stats().evictions, 7U);
  EXPECT_EQ(find("3"), "v");
  EXPECT_EQ(find("4"), std::nullopt);
  EXPECT_EQ(find("14"), "v");
}

TEST_F(near_cache_test, makes_room_from_what_is_no_longer_valid) {
  for (int i = 0; i < 8; ++i) fill(std::to_string(i), {i == 5 ? "gone" : "t"}, "v");
  for (int i = 0; i < 8; ++i) EXPECT_EQ(find(std::to_string(i)), "v");
  near_.drop("gone");
  fill("new", {"t"}, "v");
  EXPECT_EQ(near_.stats().evictions, 0U);
  EXPECT_EQ(find("new"), "v");
}

TEST_F(near_cache_test, answers_nothing_in_the_child_of_a_fork) {
  fill("k", {"t"}, "v");
  const auto child = ::fork();
  if (child == 0) ::_exit(find("k") || near_.trusted() || near_.stats().hits > 0 ? 1 : 0);
  int status = -1;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  EXPECT_EQ(find("k"), "v");
}

TEST(near_cache_bound_test, holds_exactly_for_any_size) {
  for (const std::size_t most : {1U, 7U, 64U, 1000U, 4099U}) {
    near_cache near{{.entries = most, .ttl = 2s}, fake_now};
    near.trust(fake_now() + 1h);
    std::string value = "v";
    for (std::size_t i = 0; i < 3 * most + 1000; ++i) {
      near.fill(std::to_string(i), near.begin(tags{"t"}), sink_of(value), 1h);
    }
    EXPECT_LE(near.stats().entries, most);
    EXPECT_GE(near.stats().entries, most / 2);
  }
}

/// Keys that fall on one shard and one bucket must still be told apart; and a random history must
/// agree with a map that does the same by the book.
TEST(near_cache_model_test, never_gives_another_keys_or_a_dropped_value) {
  near_cache near{{.entries = 100, .ttl = 1min}, fake_now};
  near.trust(fake_now() + 24h);
  std::map<std::string, int> current;  // by key; its tag is its first digit
  std::uint32_t random = 12345;
  const auto next = [&](std::uint32_t below) {
    random = random * 1664525U + 1013904223U;
    return (random >> 8U) % below;
  };
  std::uint64_t hits = 0;
  for (int step = 0; step < 200'000; ++step) {
    const auto key = std::to_string(next(300));
    const tags on{key.substr(0, 1)};
    if (next(20) == 0) {
      ++current[on[0]];
      near.drop(on);
    }
    int seen = 0;
    auto sink = sink_of(seen);
    const int truth = current[on[0]] * 1000 + std::stoi(key);
    if (near.find(key, sink)) {
      ++hits;
      ASSERT_EQ(seen, truth) << "step " << step;
    } else {
      seen = truth;
      near.fill(key, near.begin(on), sink, 1h);
    }
  }
  EXPECT_GT(hits, 1000U);
}

/// Readers copy a row under the row's lock, writers change it and then drop its tag, as a commit
/// does. Whoever looks afterwards must not find the old one.
TEST(near_cache_threads_test, nobody_reads_what_was_dropped_before) {
  constexpr int rows = 16;
  struct row {
    std::mutex mutex;
    int version = 0;
    std::atomic<int> acknowledged{0};
  };
  std::vector<row> table(rows);
  near_cache near{{.entries = rows / 2, .ttl = 1min}};
  near.trust(near_cache::clock::now() + 1h);
  std::atomic<int> stale{0};
  std::atomic<std::uint64_t> hits{0};
  const auto read = [&](int i) {
    auto& at = table[static_cast<std::size_t>(i)];
    const auto key = std::to_string(i);
    const int promised = at.acknowledged.load();
    int seen = 0;
    auto sink = sink_of(seen);
    if (near.find(key, sink)) {
      ++hits;
    } else {
      const auto place = near.begin(tags{"all", key});
      {
        const std::lock_guard lock{at.mutex};
        seen = at.version;
      }
      near.fill(key, place, sink, 1h);
    }
    if (seen < promised) ++stale;
  };
  const auto write = [&](int i) {
    auto& at = table[static_cast<std::size_t>(i)];
    int version = 0;
    {
      const std::lock_guard lock{at.mutex};
      version = ++at.version;
    }
    near.drop(std::to_string(i));
    // Another writer of the row may be ahead.
    int seen = at.acknowledged.load();
    while (seen < version && !at.acknowledged.compare_exchange_weak(seen, version)) {
    }
  };
  {
    std::vector<std::jthread> threads;
    for (int t = 0; t < 4; ++t) {
      threads.emplace_back([&, t] {
        for (int i = 0; i < 20'000; ++i) {
          if (t == 0 && i % 500 == 0) near.flush();
          if (i % 8 == t) {
            write((i / 8 + t) % rows);
          } else {
            read((i % 3 == 0 ? i : i * i) % rows);  // squares: some rows are read more
          }
        }
      });
    }
  }
  EXPECT_EQ(stale.load(), 0);
  EXPECT_GT(hits.load(), 100U);
}

}  // namespace
}  // namespace soundhash::db
