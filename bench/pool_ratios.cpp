#include "pool_ratios.hpp"

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <mutex>
#include <stdexcept>
#include <thread>
#include <vector>

#include <soundhash/db/database.hpp>

namespace sdb = soundhash::db;

namespace {

using std::chrono::steady_clock;

/// Makes the compiler believe that the value is used.
template <class T>
void keep(T& value) {
  asm volatile("" : : "r"(&value) : "memory");
}

/// Somebody else's session, for the baselines.
struct handle {};

/// The pool that one writes first.
class deque_pool {
 public:
  explicit deque_pool(std::vector<handle>& all) {
    for (auto& each : all) idle_.push_back(&each);
  }
  handle* acquire() {
    const std::lock_guard lock{mutex_};
    auto* const taken = idle_.back();
    idle_.pop_back();
    return taken;
  }
  void release(handle* returned) {
    const std::lock_guard lock{mutex_};
    idle_.push_back(returned);
  }

 private:
  std::mutex mutex_;
  std::deque<handle*> idle_;
};

/// The same for callers who must wait.
class waiting_pool {
 public:
  explicit waiting_pool(std::vector<handle>& all) {
    for (auto& each : all) idle_.push_back(&each);
  }
  handle* acquire() {
    std::unique_lock lock{mutex_};
    returned_.wait(lock, [this] { return !idle_.empty(); });
    auto* const taken = idle_.back();
    idle_.pop_back();
    return taken;
  }
  void release(handle* one) {
    {
      const std::lock_guard lock{mutex_};
      idle_.push_back(one);
    }
    returned_.notify_one();
  }

 private:
  std::mutex mutex_;
  std::condition_variable returned_;
  std::deque<handle*> idle_;
};

sdb::database open(const ratio_run& run, std::size_t size) {
  auto settings = run.settings;
  settings.pool.size = size;
  settings.pool.max_overflow = 0;
  auto db = sdb::database::open(settings);
  std::vector<sdb::pooled_connection> all;
  for (std::size_t i = 0; i < size; ++i) all.push_back(db.acquire());
  return db;
}

/// One distribution of waits: median and 99th percentile, microseconds.
cost of_waits(std::vector<double> waits) {
  std::sort(waits.begin(), waits.end());
  return {waits[waits.size() / 2], 0, waits[waits.size() * 99 / 100]};
}

constexpr std::size_t fair_threads = 8;
constexpr std::size_t fair_connections = 2;
constexpr std::size_t waits_per_thread = 250;
constexpr std::chrono::milliseconds hold{1};

/// `serve()` acquires and returns what releases when destroyed.
template <class Serve>
cost time_waits(Serve serve) {
  std::vector<std::vector<double>> waits(fair_threads);
  const auto total =
      time_threads(fair_threads, fair_threads * waits_per_thread, [&](std::size_t thread) {
        while (waits[thread].size() < waits_per_thread) {
          const auto began = steady_clock::now();
          const auto held = serve();
          const std::chrono::duration<double, std::micro> waited = steady_clock::now() - began;
          waits[thread].push_back(waited.count());
          std::this_thread::sleep_for(hold);
        }
      });
  std::vector<double> all;
  for (const auto& each : waits) all.insert(all.end(), each.begin(), each.end());
  auto measured = of_waits(std::move(all));
  measured.cpu_us = total.cpu_us;
  return measured;
}

}  // namespace

ratio_result measure_pool_cycle(const ratio_run& run, std::size_t threads) {
  constexpr std::size_t cycles = 1'000'000;
  const auto each = cycles / threads;
  auto db = open(run, threads);
  std::vector<handle> handles(threads);
  deque_pool by_hand{handles};
  const auto before = db.pool_stats().acquired_at_once;

  ratio_result row;
  row.name = "pool_cycle_" + std::to_string(threads) + "t";
  row.unit = "acquire + release";
  row.baseline_name = "mutex + deque";
  const auto ours = [&] {
    return time_threads(threads, cycles, [&](std::size_t) {
      for (std::size_t i = 0; i < each; ++i) {
        const auto held = db.acquire();
        keep(held);
      }
    });
  };
  const auto baseline = [&] {
    return time_threads(threads, cycles, [&](std::size_t) {
      for (std::size_t i = 0; i < each; ++i) {
        auto* const held = by_hand.acquire();
        keep(*held);
        by_hand.release(held);
      }
    });
  };
  compete(run.rounds, ours, baseline, row);
  const auto acquired = db.pool_stats().acquired_at_once - before;
  if (acquired != cycles * static_cast<std::uint64_t>(run.rounds)) {
    throw std::runtime_error{row.name + ": the pool counted " + std::to_string(acquired) +
                             " acquires"};
  }
  judge(row, "p50", row.ours.p50_us / row.baseline->p50_us, threads == 1 ? 1.0 : 0.3);
  return row;
}

ratio_result measure_pool_fairness(const ratio_run& run) {
  auto db = open(run, fair_connections);
  std::vector<handle> handles(fair_connections);
  waiting_pool by_hand{handles};

  ratio_result row;
  row.name = "pool_fairness";
  row.unit = "wait";
  row.baseline_name = "mutex + condition variable";
  const auto ours = [&] { return time_waits([&] { return db.acquire(); }); };
  const auto baseline = [&] {
    const auto release = [&](handle* held) { by_hand.release(held); };
    return time_waits([&] {
      return std::unique_ptr<handle, decltype(release)>{by_hand.acquire(), release};
    });
  };
  compete(run.rounds, ours, baseline, row);
  judge(row, "p99/p50", *row.ours.p99_us / row.ours.p50_us, 2.5);
  judge(row, "p99", *row.ours.p99_us / *row.baseline->p99_us, 0.5);
  return row;
}
