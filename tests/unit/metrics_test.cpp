#include <algorithm>
#include <atomic>
#include <deque>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include <soundhash/db/core/error.hpp>
#include <soundhash/db/observe/metrics.hpp>

namespace soundhash::db {
namespace {

using namespace std::chrono_literals;

const query_error refusal{"refused", {.code = errc::server_error}};

statement_event statement(std::string_view name, std::chrono::nanoseconds execute) {
  statement_event event;
  event.name = name;
  event.execute = execute;
  return event;
}

statement_event failed(std::string_view name, std::string_view sqlstate) {
  auto event = statement(name, 1ms);
  event.failure = &refusal;
  event.sqlstate = sqlstate;
  return event;
}

/// Names that live at an address each, as those of queries do.
std::deque<std::string> many_names(std::size_t count) {
  std::deque<std::string> names;
  for (std::size_t i = 0; i < count; ++i) names.push_back("query." + std::to_string(i));
  return names;
}

std::uint64_t count_of(const metrics_snapshot& all, std::string_view name) {
  const auto* one = all.query(name);
  return one == nullptr ? 0 : one->count;
}

class metrics_test : public testing::Test {
 protected:
  metrics registry_{100ms};
};

TEST_F(metrics_test, is_all_zero_when_empty) {
  const auto all = registry_.snapshot();
  EXPECT_EQ(all.total_queries, 0U);
  EXPECT_EQ(all.slow_queries, 0U);
  EXPECT_EQ(all.total_duration, 0);
  EXPECT_EQ(all.average_duration, 0);
  EXPECT_EQ(all.slow_query_percentage, 0);
  EXPECT_TRUE(all.queries.empty());
  EXPECT_EQ(all.query("video.find"), nullptr);
}

TEST_F(metrics_test, gives_the_five_figures_in_seconds_and_percent) {
  registry_.record(statement("a", 50ms));
  registry_.record(statement("b", 100ms));
  registry_.record(statement("b", 150ms));
  registry_.record(statement("b", 700ms));
  const auto all = registry_.snapshot();
  EXPECT_EQ(all.total_queries, 4U);
  EXPECT_EQ(all.slow_queries, 2U);
  EXPECT_DOUBLE_EQ(all.total_duration, 1.0);
  EXPECT_DOUBLE_EQ(all.average_duration, .25);
  EXPECT_DOUBLE_EQ(all.slow_query_percentage, 50);
}

TEST_F(metrics_test, slow_is_strictly_longer_than_the_threshold) {
  registry_.record(statement("a", 100ms));
  EXPECT_EQ(registry_.snapshot().slow_queries, 0U);
  registry_.record(statement("a", 100ms + 1ns));
  EXPECT_EQ(registry_.snapshot().slow_queries, 1U);
}

TEST_F(metrics_test, the_wait_for_a_connection_is_apart) {
  auto event = statement("a", 1ms);
  event.acquire = 2s;
  registry_.record(event);
  const auto all = registry_.snapshot();
  EXPECT_EQ(all.slow_queries, 0U);
  EXPECT_DOUBLE_EQ(all.total_duration, .001);
  EXPECT_DOUBLE_EQ(all.query("a")->wait_duration, 2);
}

TEST_F(metrics_test, only_user_statements_make_the_five_figures) {
  for (const auto kind :
       {statement_kind::transaction, statement_kind::ping, statement_kind::migration}) {
    auto event = failed("other", "23505");
    event.kind = kind;
    event.execute = 1s;
    registry_.record(event);
  }
  const auto all = registry_.snapshot();
  EXPECT_EQ(all.total_queries, 0U);
  EXPECT_EQ(all.slow_queries, 0U);
  EXPECT_EQ(all.errors, 0U);
  ASSERT_EQ(all.queries.size(), 3U);
  EXPECT_EQ(all.queries[0].kind, statement_kind::transaction);
  EXPECT_EQ(all.queries[2].kind, statement_kind::migration);
  EXPECT_EQ(all.queries[1].slow, 1U);
}

TEST_F(metrics_test, counts_failed_statements_by_sqlstate) {
  registry_.record(statement("a", 1ms));
  registry_.record(failed("a", "23505"));
  registry_.record(failed("a", "23505"));
  registry_.record(failed("a", ""));
  const auto all = registry_.snapshot();
  EXPECT_EQ(all.total_queries, 4U);
  EXPECT_EQ(all.errors, 3U);
  EXPECT_EQ(all.query("a")->errors, 3U);
  EXPECT_EQ(all.query("a")->errors_by_sqlstate,
            (std::map<std::string, std::uint64_t>{{"", 1}, {"23505", 2}}));
}

TEST_F(metrics_test, bounds_the_number_of_sqlstates) {
  for (int i = 0; i < 100; ++i) registry_.record(failed("a", std::to_string(10'000 + i)));
  const auto all = registry_.snapshot();
  const auto& states = all.query("a")->errors_by_sqlstate;
  EXPECT_EQ(states.size(), 65U);
  EXPECT_EQ(states.at("other"), 36U);
  EXPECT_EQ(all.query("a")->errors, 100U);
}

TEST_F(metrics_test, percentiles_and_maximum_are_in_seconds) {
  for (int i = 1; i <= 100; ++i) {
    auto event = statement("a", i * 1ms);
    event.rows = 2;
    registry_.record(event);
  }
  const auto all = registry_.snapshot();
  const auto& one = *all.query("a");
  EXPECT_GE(one.p50, .050);
  EXPECT_LE(one.p50, .050 * 1.125);
  EXPECT_GE(one.p95, .095);
  EXPECT_LE(one.p95, .100);
  EXPECT_GE(one.p99, .099);
  EXPECT_DOUBLE_EQ(one.max, .100);
  EXPECT_EQ(one.rows, 200U);
  EXPECT_EQ(one.buckets, (std::vector<std::uint64_t>{1, 5, 10, 50, 100, 100, 100, 100, 100, 100}));
}

TEST_F(metrics_test, a_negative_duration_counts_as_none) {
  registry_.record(statement("a", -1ms));
  EXPECT_EQ(registry_.snapshot().total_queries, 1U);
  EXPECT_EQ(registry_.snapshot().total_duration, 0);
}

TEST_F(metrics_test, a_duration_beyond_the_histogram_is_the_maximum) {
  registry_.record(statement("a", 1h));
  EXPECT_DOUBLE_EQ(registry_.snapshot().query("a")->max, 3600);
  EXPECT_DOUBLE_EQ(registry_.snapshot().query("a")->p50, 3600);
}

TEST_F(metrics_test, the_same_name_at_two_addresses_is_one_series) {
  const std::string first = "video.find";
  const std::string second = "video.find";
  registry_.record(statement(first, 1ms));
  registry_.record(statement(second, 1ms));
  EXPECT_EQ(count_of(registry_.snapshot(), "video.find"), 2U);
}

TEST_F(metrics_test, an_address_used_again_for_another_name_is_another_series) {
  std::string reused = "video.find";
  registry_.record(statement(reused, 1ms));
  reused.replace(6, 4, "drop");
  registry_.record(statement(reused, 1ms));
  registry_.record(statement(std::string_view{reused}.substr(0, 5), 1ms));
  const auto all = registry_.snapshot();
  EXPECT_EQ(count_of(all, "video.find"), 1U);
  EXPECT_EQ(count_of(all, "video.drop"), 1U);
  EXPECT_EQ(count_of(all, "video"), 1U);
}

TEST_F(metrics_test, queries_beyond_the_limit_share_a_series_of_their_kind) {
  const auto names = many_names(metrics::max_series + 10);
  for (const auto& name : names) registry_.record(statement(name, 1ms));
  auto late = statement("tx.late", 1s);
  late.kind = statement_kind::transaction;
  registry_.record(late);
  registry_.record(statement(names.back(), 1ms));
  const auto all = registry_.snapshot();
  EXPECT_EQ(all.queries.size(), metrics::max_series + 2);
  EXPECT_EQ(count_of(all, "(other)"), 11U);
  EXPECT_EQ(count_of(all, names[metrics::max_series - 1]), 1U);
  EXPECT_EQ(all.total_queries, metrics::max_series + 11);
  EXPECT_EQ(all.slow_queries, 0U) << "the overflow of transactions is no user query";
}

TEST_F(metrics_test, counts_on_when_the_table_of_addresses_is_full) {
  const std::deque<std::string> copies(10'000, "video.find");
  for (const auto& copy : copies) registry_.record(statement(copy, 1us));
  const auto all = registry_.snapshot();
  EXPECT_EQ(all.queries.size(), 1U);
  EXPECT_EQ(count_of(all, "video.find"), copies.size());
}

TEST_F(metrics_test, queries_are_sorted_by_name) {
  for (const auto* name : {"b", "c", "a"}) registry_.record(statement(name, 1ms));
  const auto all = registry_.snapshot();
  EXPECT_TRUE(std::is_sorted(all.queries.begin(), all.queries.end(),
                             [](const auto& a, const auto& b) { return a.name < b.name; }));
}

TEST_F(metrics_test, reset_counts_from_now_and_leaves_the_totals) {
  registry_.record(statement("a", 5s));
  registry_.record(failed("a", "23505"));
  registry_.interceptor_failed();
  registry_.reset();
  EXPECT_EQ(registry_.snapshot().total_queries, 0U);
  EXPECT_EQ(registry_.snapshot().query("a"), nullptr);
  EXPECT_EQ(registry_.snapshot().interceptor_failures, 0U);

  registry_.record(failed("a", "40001"));
  const auto since = registry_.snapshot();
  EXPECT_EQ(since.total_queries, 1U);
  EXPECT_EQ(since.slow_queries, 0U);
  EXPECT_EQ(since.query("a")->errors_by_sqlstate,
            (std::map<std::string, std::uint64_t>{{"40001", 1}}));
  const auto totals = registry_.totals();
  EXPECT_EQ(totals.total_queries, 3U);
  EXPECT_EQ(totals.slow_queries, 1U);
  EXPECT_EQ(totals.interceptor_failures, 1U);
  EXPECT_EQ(totals.query("a")->errors, 2U);
}

TEST_F(metrics_test, the_maximum_after_a_reset_is_the_edge_of_its_bucket) {
  registry_.record(statement("a", 5s));
  registry_.reset();
  registry_.record(statement("a", 10ms));
  const auto since = registry_.snapshot();
  EXPECT_GE(since.query("a")->max, .010);
  EXPECT_LE(since.query("a")->max, .010 * 1.125);
  EXPECT_DOUBLE_EQ(registry_.totals().query("a")->max, 5);
}

TEST_F(metrics_test, asks_the_collectors_at_each_snapshot) {
  int asked = 0;
  registry_.add_collector([&](std::vector<figure>& out) {
    out.push_back({"db_client_connection_count", "state=\"idle\"", double(++asked), false, ""});
  });
  EXPECT_EQ(registry_.snapshot().figures.at(0).value, 1);
  EXPECT_EQ(registry_.totals().figures.at(0).value, 2);
}

TEST_F(metrics_test, a_collector_may_use_the_registry) {
  registry_.add_collector([&](std::vector<figure>&) { registry_.add_collector([](auto&) {}); });
  EXPECT_TRUE(registry_.snapshot().figures.empty());
}

constexpr int thread_count = 8;
constexpr int records_per_thread = 100'000;

void record_mixed(metrics& registry, int thread) {
  constexpr std::string_view names[] = {"a", "b", "c"};
  for (int i = 0; i < records_per_thread; ++i) {
    auto event = statement(names[i % 3], i % 100 == 0 ? 101ms : 10us);
    event.rows = 3;
    if (i % 1'000 == 0) {
      event.failure = &refusal;
      event.sqlstate = thread % 2 == 0 ? "40001" : "40P01";
    }
    registry.record(event);
  }
}

TEST_F(metrics_test, counts_exactly_from_many_threads) {
  std::atomic<bool> done{false};
  std::thread reader{[&] {
    while (!done) {
      const auto seen = registry_.snapshot();
      EXPECT_LE(seen.slow_queries, seen.total_queries);
    }
  }};
  std::vector<std::thread> threads;
  for (int t = 0; t < thread_count; ++t) {
    threads.emplace_back([this, t] { record_mixed(registry_, t); });
  }
  for (auto& thread : threads) thread.join();
  done = true;
  reader.join();

  const auto all = registry_.snapshot();
  constexpr std::uint64_t expected = thread_count * records_per_thread;
  EXPECT_EQ(all.total_queries, expected);
  EXPECT_EQ(all.slow_queries, expected / 100);
  EXPECT_EQ(all.errors, expected / 1'000);
  std::uint64_t rows = 0;
  std::uint64_t serialization = 0;
  for (const auto& one : all.queries) {
    rows += one.rows;
    serialization += one.errors_by_sqlstate.at("40001");
    EXPECT_EQ(one.buckets.back(), one.count);
    EXPECT_DOUBLE_EQ(one.max, .101);
  }
  EXPECT_EQ(rows, 3 * expected);
  EXPECT_EQ(serialization, expected / 2'000);
}

TEST_F(metrics_test, counts_exactly_from_threads_that_share_a_shard) {
  // Shards go round by the order in which threads first record: every eighth one stays and works.
  std::atomic<int> numbered{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 8 * thread_count; ++t) {
    threads.emplace_back([&, t] {
      registry_.record(statement("first", 1us));
      ++numbered;
      numbered.notify_all();
      if (t % 8 == 0) record_mixed(registry_, t);
    });
    numbered.wait(t);
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(registry_.snapshot().total_queries, thread_count * (records_per_thread + 8U));
}

TEST_F(metrics_test, resets_lose_nothing_of_the_totals) {
  std::atomic<bool> done{false};
  std::thread resetter{[&] {
    while (!done) {
      registry_.reset();
      EXPECT_LE(registry_.snapshot().slow_query_percentage, 100);
    }
  }};
  std::vector<std::thread> threads;
  for (int t = 0; t < 2; ++t) threads.emplace_back([this, t] { record_mixed(registry_, t); });
  for (auto& thread : threads) thread.join();
  done = true;
  resetter.join();
  EXPECT_EQ(registry_.totals().total_queries, 2U * records_per_thread);
}

TEST_F(metrics_test, threads_that_meet_a_new_name_share_its_series) {
  const auto names = many_names(200);
  std::vector<std::thread> threads;
  for (int t = 0; t < thread_count; ++t) {
    threads.emplace_back([&] {
      for (const auto& name : names) registry_.record(statement(name, 1us));
    });
  }
  for (auto& thread : threads) thread.join();
  const auto all = registry_.snapshot();
  ASSERT_EQ(all.queries.size(), names.size());
  for (const auto& one : all.queries) EXPECT_EQ(one.count, std::uint64_t{thread_count});
}

}  // namespace
}  // namespace soundhash::db
