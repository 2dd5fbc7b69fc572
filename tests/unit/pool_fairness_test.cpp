// Who waits for a connection is served in the order of coming, by real threads and their races.

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "pool/basic_pool.hpp"
#include "queue_order.hpp"
#include "support/fibers.hpp"

namespace soundhash::db {
namespace {

/// Real threads whose waits are on record. The pool waits and notifies under its mutex, which
/// guards the count, so that the record is exact.
struct recorded_threads : os_threads {
  class condition {
   public:
    template <class Lock, class... Predicate>
    void wait(Lock& lock, Predicate... ready) {
      real_.wait(lock, ready...);
    }
    template <class Lock, class Span>
    void wait_for(Lock& lock, Span span) {
      real_.wait_for(lock, span);
    }
    template <class Lock, class Time, class Predicate>
    bool wait_until(Lock& lock, Time until, Predicate ready) {
      record_.began = ++count;
      const bool came = real_.wait_until(lock, until, ready);
      last_wait = record_;
      return came;
    }
    void notify_one() noexcept {
      record_.notified = ++count;
      real_.notify_one();
    }
    void notify_all() noexcept { real_.notify_all(); }

   private:
    std::condition_variable real_;
    test::wait_record record_;
  };

  static inline std::uint64_t count = 0;
  static inline thread_local test::wait_record last_wait{};
};

/// Always well.
struct healthy_connection {
  bool usable() const noexcept { return true; }
  driver::transaction_status status() const noexcept { return driver::transaction_status::idle; }
  bool quiet() const noexcept { return true; }
  bool ping(deadline) noexcept { return true; }
  std::string command(std::string_view sql, deadline) { return std::string{sql}; }
  void abort() noexcept {}
  void cut() noexcept {}
};

pool_options one_connection() {
  pool_options options;
  options.size = 1;
  options.max_overflow = 0;
  return options;
}

constexpr std::size_t callers = 8;

TEST(pool_fairness, a_million_contended_grants_come_in_the_order_of_the_queue) {
  constexpr std::size_t wanted = 1'000'000;
  using simulated_pool = basic_pool<healthy_connection, pool_clock, test::fibers>;
  test::simulation simulated{7, test::simulation::races::at_waits};
  auto pool = std::make_unique<simulated_pool>(
      one_connection(), "nowhere", [](deadline) { return std::make_unique<healthy_connection>(); },
      pool_hooks<healthy_connection>{}, 7);
  test::queue_order order;
  const auto call = [&] {
    const auto before = simulated.last_wait().began;
    const auto lease = pool->acquire();
    const auto wait = simulated.last_wait();
    if (wait.began != before) order.add(wait);
    simulated.yield();
  };
  for (std::size_t i = 0; i < callers; ++i) {
    simulated.spawn([&] {
      while (order.size() < wanted) call();
    });
  }
  while (simulated.step()) continue;
  EXPECT_GE(order.size(), wanted);
  EXPECT_EQ(order.overtakers(), 0u);
  simulated.spawn([&] { pool.reset(); });
  while (simulated.step()) continue;
}

TEST(pool_fairness, real_threads_are_served_in_the_order_of_the_queue) {
  constexpr std::size_t wanted = 200'000;
  std::atomic<std::size_t> served{0};
  basic_pool<healthy_connection, pool_clock, recorded_threads> pool{
      one_connection(), "nowhere", [](deadline) { return std::make_unique<healthy_connection>(); }};
  std::vector<test::queue_order> orders(callers);
  std::vector<std::thread> threads;
  for (auto& order : orders) {
    threads.emplace_back([&] {
      while (served < wanted) {
        const auto before = recorded_threads::last_wait.began;
        const auto lease = pool.acquire();
        const auto wait = recorded_threads::last_wait;
        if (wait.began != before) {
          order.add(wait);
          ++served;
        }
        std::this_thread::yield();  // so that the others come, and the next acquire waits
      }
    });
  }
  for (auto& thread : threads) thread.join();

  test::queue_order all;
  for (const auto& order : orders) all.add(order);
  EXPECT_GE(all.size(), wanted);
  EXPECT_EQ(all.overtakers(), 0u);
}

}  // namespace
}  // namespace soundhash::db
