#include "pool/basic_pool.hpp"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <exception>
#include <functional>
#include <future>
#include <memory>
#include <mutex>
#include <random>
#include <source_location>
#include <stdexcept>
#include <stop_token>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "fake_clock.hpp"
#include "fake_connection.hpp"
#include "support/eventually.hpp"

namespace soundhash::db {
namespace {

using namespace std::chrono_literals;
using driver::transaction_status;
using test::eventually;
using test::fake_clock;
using test::fake_connection;
using test::fake_server;
using test::gate;
using test::small;

const deadline long_ago{deadline::clock::time_point{}};

using pool_type = basic_pool<fake_connection, fake_clock>;
using lease = pool_type::lease;

[[noreturn]] void throw_connect(errc code, const std::string& text) {
  error_details details;
  details.code = code;
  throw connection_error{text, details};
}

class basic_pool_test : public ::testing::Test {
 protected:
  std::unique_ptr<pool_type> make(const pool_options& options,
                                  pool_hooks<fake_connection> hooks = {}) {
    return std::make_unique<pool_type>(
        options, "db.example:5432",
        [this](deadline) {
          ++server_.attempts;
          server_.connect_now();
          return std::make_unique<fake_connection>(server_);
        },
        std::move(hooks), 42);
  }

  void refuse(errc code = errc::refused) {
    server_.on_connect([code] { throw_connect(code, "cannot reach the fake server"); });
  }
  void accept() { server_.on_connect({}); }

  /// Opens `count` connections and leaves them idle.
  static void fill(pool_type& pool, std::size_t count) {
    std::vector<lease> held;
    for (std::size_t i = 0; i < count; ++i) held.push_back(pool.acquire());
  }

  /// Starts an acquire and returns when it waits in the queue.
  static std::future<lease> queue_up(pool_type& pool, deadline until = {},
                                     std::stop_token stop = {}) {
    const auto before = pool.stats().waiting;
    auto caller =
        std::async(std::launch::async, [&pool, until, stop] { return pool.acquire(until, stop); });
    EXPECT_TRUE(eventually([&] { return pool.stats().waiting == before + 1; }));
    return caller;
  }

  template <class Error>
  static errc code_of(std::future<lease>& caller) {
    try {
      caller.get();
    } catch (const Error& e) {
      message = e.what();
      return e.code();
    }
    ADD_FAILURE() << "no error";
    return {};
  }

  template <class Error>
  static errc code_of(const std::function<void()>& call) {
    try {
      call();
    } catch (const Error& e) {
      message = e.what();
      return e.code();
    }
    ADD_FAILURE() << "no error";
    return {};
  }

  static bool mentions(const std::string& part) { return message.find(part) != std::string::npos; }

  static inline std::string message;
  fake_server server_;
};

// Leases

TEST_F(basic_pool_test, a_returned_connection_is_used_again) {
  auto pool = make(small(2));
  const int first = pool->acquire()->id();
  EXPECT_EQ(pool->acquire()->id(), first);
  EXPECT_EQ(server_.attempts, 1);
  EXPECT_EQ(pool->stats().acquired_at_once, 1u);
  EXPECT_EQ(pool->stats().acquired_after_wait, 1u);
}

TEST_F(basic_pool_test, connects_only_on_demand) {
  auto pool = make(small(5));
  EXPECT_EQ(server_.attempts, 0);
  EXPECT_EQ(pool->stats().limit, 5u);
}

TEST_F(basic_pool_test, a_moved_lease_is_returned_once) {
  auto pool = make(small(2));
  lease first = pool->acquire();
  lease second = std::move(first);
  EXPECT_FALSE(first);
  EXPECT_EQ(pool->stats().used, 1u);
  second = lease{};
  EXPECT_EQ(pool->stats().used, 0u);
  EXPECT_EQ(pool->stats().idle, 1u);
}

TEST_F(basic_pool_test, a_discarded_connection_never_comes_back) {
  auto pool = make(small(1));
  lease held = pool->acquire();
  const int id = held->id();
  held.discard();
  held = lease{};
  EXPECT_NE(pool->acquire()->id(), id);
  EXPECT_EQ(pool->stats().closed_broken, 1u);
}

TEST_F(basic_pool_test, a_lease_outlives_the_pool) {
  auto pool = make(small(1));
  lease held = pool->acquire();
  pool.reset();
  EXPECT_EQ(held->status(), transaction_status::idle);
  EXPECT_EQ(server_.open, 1);
  held = lease{};
  EXPECT_EQ(server_.open, 0);
  EXPECT_EQ(server_.aborted, 1);
}

// The queue

TEST_F(basic_pool_test, callers_are_served_in_the_order_they_came_with_timeouts_between) {
  auto pool = make(small(1));
  lease held = pool->acquire();
  std::mutex mutex;
  std::vector<int> order;
  std::vector<std::future<void>> callers;
  std::stop_source stop;
  for (int i = 0; i < 30; ++i) {
    const bool leaves = i % 3 == 1;
    callers.push_back(std::async(std::launch::async, [&, i, leaves] {
      try {
        lease mine = pool->acquire({}, leaves ? stop.get_token() : std::stop_token{});
        std::lock_guard lock{mutex};
        order.push_back(i);
      } catch (const cancelled&) {
      }
    }));
    ASSERT_TRUE(
        eventually([&] { return pool->stats().waiting == static_cast<std::size_t>(i + 1); }));
  }
  auto hurried = std::async(std::launch::async, [&] { return pool->acquire(deadline::in(1ms)); });
  EXPECT_EQ(code_of<pool_error>(hurried), errc::pool_timeout);
  stop.request_stop();
  ASSERT_TRUE(eventually([&] { return pool->stats().waiting == 20; }));
  held = lease{};
  for (auto& caller : callers) caller.get();
  EXPECT_EQ(order.size(), 20u);
  EXPECT_TRUE(std::is_sorted(order.begin(), order.end()));
}

TEST_F(basic_pool_test, a_newcomer_does_not_overtake_who_waits) {
  auto pool = make(small(1));
  lease held = pool->acquire();
  auto first = queue_up(*pool);
  held = lease{};  // granted to the one who waits, whether it runs yet or not
  EXPECT_EQ(code_of<pool_error>([&] { (void)pool->acquire(long_ago); }), errc::pool_timeout);
  EXPECT_TRUE(first.get());
}

TEST_F(basic_pool_test, cancelled_waiter_does_not_swallow_a_grant) {
  auto pool = make(small(1));
  for (int round = 0; round < 300; ++round) {
    lease held = pool->acquire();
    std::stop_source stop;
    auto leaving = std::async(std::launch::async, [&] {
      try {
        (void)pool->acquire({}, stop.get_token());
      } catch (const cancelled&) {
      }
    });
    ASSERT_TRUE(eventually([&] { return pool->stats().waiting == 1; }));
    auto staying = queue_up(*pool, deadline::in(20s));
    auto canceller = std::async(std::launch::async, [&] { stop.request_stop(); });
    held = lease{};
    ASSERT_TRUE(staying.get()) << "round " << round;
    leaving.get();
  }
  EXPECT_EQ(server_.attempts, 1);
}

TEST_F(basic_pool_test, timed_out_waiter_does_not_swallow_a_grant) {
  auto pool = make(small(1));
  for (int round = 0; round < 100; ++round) {
    lease held = pool->acquire();
    const auto until = deadline::in(1ms);
    auto leaving = std::async(std::launch::async, [&] {
      try {
        (void)pool->acquire(until);
      } catch (const pool_error&) {
      }
    });
    auto staying = std::async(std::launch::async, [&] { return pool->acquire(deadline::in(20s)); });
    while (!until.passed()) std::this_thread::yield();
    held = lease{};
    ASSERT_TRUE(staying.get()) << "round " << round;
    leaving.get();
  }
  EXPECT_EQ(server_.attempts, 1);
}

TEST_F(basic_pool_test, cancelling_ends_the_wait) {
  auto pool = make(small(1));
  lease held = pool->acquire();
  std::stop_source stop;
  auto caller = queue_up(*pool, {}, stop.get_token());
  stop.request_stop();
  EXPECT_EQ(code_of<cancelled>(caller), errc::cancelled);
  EXPECT_EQ(pool->stats().waiting, 0u);
}

TEST_F(basic_pool_test, the_limit_holds_under_random_load) {
  auto pool = make(small(3, 2));
  std::atomic<int> served{0};
  std::vector<std::thread> threads;
  for (unsigned seed = 0; seed < 8; ++seed) {
    threads.emplace_back([&, seed] {
      std::minstd_rand random{seed + 1};
      for (int i = 0; i < 400; ++i) {
        lease mine = pool->acquire();
        for (unsigned spin = random() % 4; spin > 0; --spin) std::this_thread::yield();
        if (random() % 8 == 0) mine.discard();
        if (random() % 8 == 0) mine->break_link();
        if (random() % 8 == 0) mine->set(transaction_status::in_transaction);
        ++served;
      }
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(served, 3200);
  EXPECT_LE(server_.most_open, 5);
  pool->close(deadline::in(20s));
  EXPECT_EQ(server_.open, 0);
}

TEST_F(basic_pool_test, waiters_beyond_the_bound_are_refused_at_once) {
  auto options = small(1);
  options.max_waiters = 1;
  auto pool = make(options);
  lease held = pool->acquire();
  auto first = queue_up(*pool);
  auto refused = std::async(std::launch::async, [&] { return pool->acquire(); });
  EXPECT_EQ(code_of<pool_error>(refused), errc::pool_overloaded);
  EXPECT_EQ(pool->stats().overloads, 1u);
  held = lease{};
  EXPECT_TRUE(first.get());
}

TEST_F(basic_pool_test, a_thread_that_holds_everything_gets_nested_acquire) {
  auto pool = make(small(1, 1));
  lease first = pool->acquire();
  lease second = pool->acquire();
  EXPECT_EQ(code_of<pool_error>([&] { (void)pool->acquire(); }), errc::nested_acquire);
  auto other = queue_up(*pool);  // another thread may wait
  second = lease{};
  EXPECT_TRUE(other.get());
}

TEST_F(basic_pool_test, timeout_tells_counts_and_the_last_connect_error) {
  auto pool = make(small(1, 1));
  lease held = pool->acquire();
  refuse(errc::too_many_connections);
  auto caller = std::async(std::launch::async, [&] { return pool->acquire(deadline::in(50ms)); });
  EXPECT_EQ(code_of<pool_error>(caller), errc::pool_timeout);
  EXPECT_TRUE(mentions("no connection to db.example:5432 within 50 ms")) << message;
  EXPECT_TRUE(mentions("limit 2: 1 used, 0 idle")) << message;
  EXPECT_TRUE(mentions("last connect error: cannot reach the fake server")) << message;
  EXPECT_EQ(pool->stats().timeouts, 1u);
}

TEST_F(basic_pool_test, the_acquire_timeout_bounds_a_wait_without_deadline) {
  auto options = small(1);
  options.acquire_timeout = 10ms;
  options.min_idle = 1;  // the first acquire shall not wait
  auto pool = make(options);
  ASSERT_TRUE(eventually([&] { return pool->stats().idle == 1; }));
  lease held = pool->acquire();
  auto caller = std::async(std::launch::async, [&] { return pool->acquire(); });
  EXPECT_EQ(code_of<pool_error>(caller), errc::pool_timeout);
  EXPECT_TRUE(mentions("within 10 ms")) << message;
}

TEST_F(basic_pool_test, a_passed_deadline_gets_what_is_idle_and_does_not_queue) {
  auto pool = make(small(1));
  const deadline past = long_ago;
  EXPECT_EQ(code_of<pool_error>([&] { (void)pool->acquire(past); }), errc::pool_timeout);
  EXPECT_EQ(server_.attempts, 0);
  fill(*pool, 1);
  EXPECT_TRUE(pool->acquire(past));
  fake_clock::advance(1min);  // would be pinged, and there is no time to
  EXPECT_TRUE(pool->acquire(past));
  EXPECT_EQ(server_.pings, 0);
}

// Connects

TEST_F(basic_pool_test, failed_connect_wakes_the_waiter_and_is_tried_again) {
  gate first;
  auto pool = make(small(1));
  server_.on_connect([&] {
    if (server_.attempts == 1) {
      first.pass();
      throw_connect(errc::refused, "once");
    }
  });
  auto caller = queue_up(*pool);
  first.open();
  ASSERT_TRUE(eventually([&] { return pool->stats().connect_failures == 1; }));
  fake_clock::advance(50ms);  // the longest first delay; the timer does the rest
  EXPECT_TRUE(caller.get());
  EXPECT_EQ(server_.attempts, 2);
}

TEST_F(basic_pool_test, a_closed_connection_makes_room_for_the_waiter) {
  auto pool = make(small(1));
  lease held = pool->acquire();
  auto caller = queue_up(*pool);
  held->break_link();
  held = lease{};
  EXPECT_TRUE(caller.get());
  EXPECT_EQ(server_.attempts, 2);
  EXPECT_EQ(server_.most_open, 1);
}

TEST_F(basic_pool_test, a_caller_that_gives_up_does_not_kill_its_connect) {
  gate slow;
  auto pool = make(small(2));
  server_.on_connect([&] { slow.pass(); });
  std::stop_source stop;
  auto caller = queue_up(*pool, {}, stop.get_token());
  slow.await_arrivals(1);
  stop.request_stop();
  EXPECT_EQ(code_of<cancelled>(caller), errc::cancelled);
  EXPECT_EQ(pool->stats().connecting, 1u);
  slow.open();
  ASSERT_TRUE(eventually([&] { return pool->stats().idle == 1; }));
  EXPECT_EQ(pool->stats().connects, 1u);
}

TEST_F(basic_pool_test, at_most_four_connects_at_a_time_and_no_more_than_waiters) {
  gate slow;
  auto pool = make(small(10));
  server_.on_connect([&] { slow.pass(); });
  std::vector<std::future<lease>> callers;
  for (std::size_t i = 1; i <= 8; ++i) {
    callers.push_back(queue_up(*pool));
    EXPECT_EQ(pool->stats().connecting, std::min<std::size_t>(i, 4));
  }
  slow.open();
  std::vector<lease> held;
  for (auto& caller : callers) held.push_back(caller.get());
  EXPECT_EQ(server_.attempts, 8);
}

TEST_F(basic_pool_test, a_return_serves_the_head_while_a_connect_hangs) {
  gate hanging;
  auto pool = make(small(2));
  lease held = pool->acquire();
  server_.on_connect([&] { hanging.pass(); });
  auto caller = queue_up(*pool);
  hanging.await_arrivals(1);
  const int id = held->id();
  held = lease{};
  EXPECT_EQ(caller.get()->id(), id);
  hanging.open();
}

// Health

TEST_F(basic_pool_test, recent_use_is_trusted_longer_idle_is_looked_at_then_pinged) {
  auto pool = make(small(1));
  fill(*pool, 1);
  server_.quiet = false;
  fake_clock::advance(500ms);
  EXPECT_TRUE(pool->acquire());
  EXPECT_EQ(server_.pings, 0);
  fake_clock::advance(510ms);
  EXPECT_TRUE(pool->acquire());  // not quiet: pinged
  EXPECT_EQ(server_.pings, 1);
  server_.quiet = true;
  fake_clock::advance(30s);
  EXPECT_TRUE(pool->acquire());
  EXPECT_EQ(server_.pings, 1);
  fake_clock::advance(31s);
  EXPECT_TRUE(pool->acquire());
  EXPECT_EQ(server_.pings, 2);
  EXPECT_EQ(pool->stats().pings, 2u);
}

TEST_F(basic_pool_test, a_dead_connection_is_replaced) {
  auto pool = make(small(1));
  fill(*pool, 1);
  server_.answers = false;
  fake_clock::advance(1min);
  EXPECT_TRUE(pool->acquire());
  EXPECT_EQ(server_.attempts, 2);
  EXPECT_EQ(pool->stats().closed_broken, 1u);
  EXPECT_EQ(server_.most_open, 1);
}

TEST_F(basic_pool_test, the_second_dead_connection_within_a_second_drops_all_idle_ones) {
  auto pool = make(small(5));
  fill(*pool, 5);
  server_.answers = false;
  fake_clock::advance(1min);
  EXPECT_TRUE(pool->acquire());
  EXPECT_EQ(server_.pings, 2);
  EXPECT_EQ(pool->stats().closed_broken, 2u);
  EXPECT_EQ(pool->stats().closed_invalidated, 3u);
  EXPECT_EQ(server_.attempts, 6);
}

TEST_F(basic_pool_test, what_was_in_use_when_all_were_dropped_is_closed_on_return) {
  auto pool = make(small(3));
  fill(*pool, 3);
  lease old = pool->acquire();
  server_.answers = false;
  fake_clock::advance(1min);
  EXPECT_TRUE(pool->acquire());
  old = lease{};
  EXPECT_TRUE(eventually([&] { return server_.open == 1; }));
  EXPECT_EQ(pool->stats().closed_broken, 2u);
  EXPECT_EQ(pool->stats().closed_invalidated, 1u);
}

TEST_F(basic_pool_test, after_a_broken_return_the_recently_used_ones_are_looked_at) {
  auto pool = make(small(2));
  lease victim = pool->acquire();
  { lease other = pool->acquire(); }
  victim->break_link();
  victim = lease{};
  server_.quiet = false;
  server_.answers = false;
  EXPECT_TRUE(pool->acquire());
  EXPECT_EQ(server_.pings, 1);
  EXPECT_EQ(server_.attempts, 3);
}

TEST_F(basic_pool_test, old_connections_are_replaced_each_at_its_own_age_and_a_tenth_a_second) {
  auto options = small(20);
  options.recycle = 1000s;
  options.ping_after = 24h;
  auto pool = make(options);
  fill(*pool, 20);
  const auto recycled = [&] { return pool->stats().closed_recycled; };
  fake_clock::advance(899s);
  fill(*pool, 20);
  EXPECT_EQ(recycled(), 0u);
  for (int second = 899; second < 1011; ++second) {
    const auto before = recycled();
    if (second == 950) {
      EXPECT_GT(before, 0u);
      EXPECT_LT(before, 20u);
    }
    fake_clock::advance(1s);
    fill(*pool, 20);
    EXPECT_LE(recycled(), before + 2);
  }
  EXPECT_EQ(recycled(), 20u);
}

TEST_F(basic_pool_test, an_old_connection_is_replaced_on_return) {
  auto options = small(1);
  options.recycle = 1000s;
  auto pool = make(options);
  lease held = pool->acquire();
  fake_clock::advance(1000s);
  held = lease{};
  EXPECT_EQ(pool->stats().closed_recycled, 1u);
  EXPECT_TRUE(eventually([&] { return server_.open == 0; }));
}

// Upkeep

TEST_F(basic_pool_test, overflow_closes_when_load_falls) {
  auto pool = make(small(2, 3));
  fill(*pool, 5);
  fake_clock::advance(3999ms);
  pool->run_due();
  EXPECT_EQ(pool->stats().idle, 5u);
  fake_clock::advance(1001ms);
  pool->run_due();
  EXPECT_EQ(pool->stats().idle, 2u);
  EXPECT_EQ(pool->stats().closed_overflow, 3u);
  EXPECT_TRUE(eventually([&] { return server_.open == 2; }));
}

TEST_F(basic_pool_test, a_thread_that_comes_back_at_once_gets_the_same_connection) {
  const auto pool = make(small(2));
  auto lowest = pool->acquire();
  auto other = pool->acquire();
  const fake_connection* const had = &*other;
  lowest = {};
  other = {};
  for (int i = 0; i < 3; ++i) EXPECT_EQ(&*pool->acquire(), had);
}

TEST_F(basic_pool_test, callers_that_come_rarely_gather_on_one_connection) {
  const auto pool = make(small(2));
  auto lowest = pool->acquire();
  auto other = pool->acquire();
  const fake_connection* const first = &*lowest;
  lowest = {};
  other = {};
  fake_clock::advance(100ms);
  EXPECT_EQ(&*pool->acquire(), first);
}

TEST_F(basic_pool_test, idle_connections_close_after_idle_timeout_down_to_min_idle) {
  auto options = small(5);
  options.min_idle = 2;
  options.idle_timeout = 60s;
  auto pool = make(options);
  fill(*pool, 5);
  fake_clock::advance(59s);
  pool->run_due();
  EXPECT_EQ(pool->stats().idle, 5u);
  fake_clock::advance(1s);
  pool->run_due();
  EXPECT_EQ(pool->stats().idle, 2u);
  EXPECT_EQ(pool->stats().closed_idle, 3u);
}

TEST_F(basic_pool_test, min_idle_is_kept_warm_ahead_of_demand) {
  auto options = small(4);
  options.min_idle = 2;
  auto pool = make(options);
  EXPECT_TRUE(eventually([&] { return pool->stats().idle == 2; }));
  lease first = pool->acquire();
  lease second = pool->acquire();
  pool->run_due();
  fake_clock::advance(1s);
  pool->run_due();
  EXPECT_TRUE(eventually([&] { return pool->stats().idle == 2; }));
  EXPECT_EQ(pool->stats().acquired_at_once, 2u);
  EXPECT_EQ(server_.most_open, 4);
}

TEST_F(basic_pool_test, keepalive_pings_idle_connections_one_after_the_other) {
  auto options = small(3);
  options.keepalive = 20s;
  auto pool = make(options);
  fill(*pool, 3);
  fake_clock::advance(20s);
  for (int pinged = 1; pinged <= 3; ++pinged) {
    pool->run_due();
    EXPECT_TRUE(eventually([&] { return server_.pings == pinged && pool->stats().idle == 3; }));
    fake_clock::advance(1s);
  }
  fake_clock::advance(16s);
  EXPECT_TRUE(pool->acquire());  // 39 s after its last use, but it answered since
  EXPECT_EQ(server_.pings, 3);
}

TEST_F(basic_pool_test, keepalive_buries_the_dead) {
  auto options = small(1);
  options.keepalive = 20s;
  auto pool = make(options);
  fill(*pool, 1);
  server_.answers = false;
  fake_clock::advance(20s);
  pool->run_due();
  EXPECT_TRUE(eventually([&] { return server_.open == 0; }));
  EXPECT_EQ(pool->stats().closed_broken, 1u);
}

TEST_F(basic_pool_test, a_long_lease_is_reported_once_with_the_place_of_its_acquire) {
  auto options = small(2);
  options.leak_after = 60s;
  std::vector<held_lease> reported;
  pool_hooks<fake_connection> hooks;
  hooks.on_leak = [&](const held_lease& leak) { reported.push_back(leak); };
  auto pool = make(options, hooks);
  const auto line = std::source_location::current().line() + 1;
  lease held = pool->acquire();
  for (int i = 0; i < 3; ++i) {
    fake_clock::advance(30s);
    pool->run_due();
  }
  ASSERT_EQ(reported.size(), 1u);
  EXPECT_EQ(reported.front().where.line(), line);
  EXPECT_GE(reported.front().held, 60s);
  EXPECT_EQ(pool->stats().leaks, 1u);
  held = lease{};
  held = pool->acquire();
  fake_clock::advance(61s);
  pool->run_due();
  EXPECT_EQ(reported.size(), 2u);
}

TEST_F(basic_pool_test, a_guarded_lease_is_cut_at_its_time) {
  auto pool = make(small(1));
  lease held = pool->acquire();
  held.guard(deadline{deadline::clock::time_point{(fake_clock::now() + 10s).time_since_epoch()}});
  fake_clock::advance(9999ms);
  pool->run_due();
  EXPECT_TRUE(held->usable());
  fake_clock::advance(1ms);
  pool->run_due();
  EXPECT_FALSE(held->usable());
  held = lease{};
  EXPECT_TRUE(eventually([&] { return server_.open == 0; }));
}

TEST_F(basic_pool_test, late_cut_never_hits_the_next_holder) {
  auto pool = make(small(1));
  lease held = pool->acquire();
  held.guard(deadline{deadline::clock::time_point{(fake_clock::now() + 10s).time_since_epoch()}});
  held = lease{};
  lease next = pool->acquire();
  fake_clock::advance(10s);
  pool->run_due();
  EXPECT_TRUE(next->usable());
}

// Size

TEST_F(basic_pool_test, more_connections_than_the_quick_slots) {
  auto pool = make(small(100));
  std::vector<lease> held;
  for (int i = 0; i < 100; ++i) held.push_back(pool->acquire());
  EXPECT_EQ(pool->stats().used, 100u);
  held.clear();
  EXPECT_EQ(pool->stats().idle, 100u);
  for (int i = 0; i < 100; ++i) held.push_back(pool->acquire());
  EXPECT_EQ(pool->stats().used, 100u);
  EXPECT_EQ(server_.attempts, 100);
  auto waiting = queue_up(*pool);
  held.pop_back();  // a slot beyond the quick ones
  EXPECT_TRUE(waiting.get());
}

TEST_F(basic_pool_test, a_larger_pool_serves_who_waits) {
  auto pool = make(small(1));
  lease held = pool->acquire();
  auto waiting = queue_up(*pool);
  pool->resize(2, 0);
  EXPECT_TRUE(waiting.get());
  EXPECT_EQ(pool->stats().limit, 2u);
}

TEST_F(basic_pool_test, a_smaller_pool_closes_idle_ones_now_and_others_on_return) {
  auto pool = make(small(6));
  std::vector<lease> held;
  for (int i = 0; i < 6; ++i) held.push_back(pool->acquire());
  held.resize(4);
  pool->resize(2, 1);
  EXPECT_EQ(pool->stats().idle, 0u);
  EXPECT_EQ(pool->stats().closed_resized, 2u);
  held.clear();
  EXPECT_EQ(pool->stats().closed_resized, 3u);
  EXPECT_EQ(pool->stats().idle, 3u);
  EXPECT_TRUE(eventually([&] { return server_.open == 3; }));
  lease again = pool->acquire();  // the gate is open again
  EXPECT_EQ(server_.attempts, 6);
}

// Hooks

TEST_F(basic_pool_test, hooks_see_each_connection) {
  std::vector<std::string> seen;
  pool_hooks<fake_connection> hooks;
  hooks.on_connect = [&](fake_connection&) { seen.push_back("connect"); };
  hooks.on_acquire = [&](fake_connection&) { seen.push_back("acquire"); };
  hooks.on_release = [&](fake_connection&) { seen.push_back("release"); };
  auto pool = make(small(1), hooks);
  fill(*pool, 1);
  fill(*pool, 1);
  const std::vector<std::string> expected{"connect", "acquire", "release", "acquire", "release"};
  EXPECT_EQ(seen, expected);
}

TEST_F(basic_pool_test, a_throwing_on_connect_is_a_failed_connect) {
  pool_hooks<fake_connection> hooks;
  hooks.on_connect = [](fake_connection&) { throw std::runtime_error{"no such role"}; };
  auto pool = make(small(1), hooks);
  EXPECT_THROW((void)pool->acquire(), std::runtime_error);
  EXPECT_EQ(server_.open, 0);
  EXPECT_EQ(pool->stats().connect_failures, 1u);
}

TEST_F(basic_pool_test, what_on_acquire_throws_reaches_the_caller_and_costs_the_connection) {
  bool refuse = true;
  pool_hooks<fake_connection> hooks;
  hooks.on_acquire = [&](fake_connection&) {
    if (refuse) throw std::runtime_error{"not this one"};
  };
  auto pool = make(small(1), hooks);
  EXPECT_THROW((void)pool->acquire(), std::runtime_error);
  EXPECT_TRUE(eventually([&] { return server_.open == 0; }));
  refuse = false;
  EXPECT_TRUE(pool->acquire());
}

TEST_F(basic_pool_test, a_throwing_on_release_costs_the_connection) {
  pool_hooks<fake_connection> hooks;
  hooks.on_release = [](fake_connection&) { throw std::runtime_error{"dirty"}; };
  auto pool = make(small(1), hooks);
  fill(*pool, 1);
  EXPECT_TRUE(eventually([&] { return server_.open == 0; }));
  EXPECT_EQ(pool->stats().closed_broken, 1u);
}

// Return

TEST_F(basic_pool_test, an_open_transaction_is_rolled_back_by_a_worker) {
  gate slow;
  auto pool = make(small(1));
  std::thread::id worker;
  std::string sql;
  server_.on_command = [&](std::string_view text) {
    worker = std::this_thread::get_id();
    sql = text;
    slow.pass();
  };
  lease held = pool->acquire();
  const int id = held->id();
  held->set(transaction_status::failed);
  held = lease{};  // returns though the rollback cannot go on
  slow.await_arrivals(1);
  EXPECT_EQ(pool->stats().closing, 1u);
  auto next = queue_up(*pool);
  slow.open();
  EXPECT_EQ(next.get()->id(), id);
  EXPECT_EQ(sql, "ROLLBACK");
  EXPECT_NE(worker, std::this_thread::get_id());
  EXPECT_EQ(pool->stats().rollbacks_on_return, 1u);
}

TEST_F(basic_pool_test, a_failed_rollback_closes_the_connection) {
  auto pool = make(small(1));
  server_.on_command = [](std::string_view) { throw_connect(errc::lost, "gone"); };
  lease held = pool->acquire();
  const int id = held->id();
  held->set(transaction_status::in_transaction);
  held = lease{};
  EXPECT_NE(pool->acquire()->id(), id);
  EXPECT_EQ(pool->stats().closed_broken, 1u);
}

TEST_F(basic_pool_test, a_connection_in_an_unclear_state_is_closed) {
  auto pool = make(small(1));
  lease held = pool->acquire();
  held->set(transaction_status::active);
  held = lease{};
  EXPECT_TRUE(eventually([&] { return server_.open == 0; }));
  EXPECT_EQ(server_.aborted, 1);
}

// Outage

TEST_F(basic_pool_test, waiters_fail_with_the_cause_after_the_given_time) {
  auto pool = make(small(1));
  refuse();
  auto caller = queue_up(*pool);
  ASSERT_TRUE(eventually([&] { return pool->stats().connect_failures >= 1; }));
  EXPECT_EQ(pool->stats().waiting, 1u);
  fake_clock::advance(1s);
  pool->run_due();
  EXPECT_EQ(code_of<connection_error>(caller), errc::refused);
  EXPECT_TRUE(mentions("cannot reach the fake server (pool to db.example:5432; limit 1: 0 used"))
      << message;
}

TEST_F(basic_pool_test, once_declared_callers_fail_at_once_until_the_probe_is_due) {
  gate slow;
  auto options = small(1);
  options.fail_fast_after = 0ms;
  auto pool = make(options);
  refuse();
  EXPECT_EQ(code_of<connection_error>([&] { (void)pool->acquire(); }), errc::refused);
  const int attempts = server_.attempts;
  EXPECT_EQ(code_of<connection_error>([&] { (void)pool->acquire(); }), errc::refused);
  EXPECT_EQ(server_.attempts, attempts);
  fake_clock::advance(1s);
  server_.on_connect([&] { slow.pass(); });
  auto first = queue_up(*pool);
  auto second = queue_up(*pool);
  slow.await_arrivals(1);
  EXPECT_EQ(pool->stats().connecting, 1u);  // one probe, whoever waits
  slow.open();
  EXPECT_TRUE(first.get());
  EXPECT_TRUE(second.get());
}

TEST_F(basic_pool_test, an_authentication_error_fails_all_waiters_at_once) {
  gate slow;
  auto pool = make(small(4));
  server_.on_connect([&] {
    slow.pass();
    throw_connect(errc::authentication, "wrong password");
  });
  auto first = queue_up(*pool);
  auto second = queue_up(*pool);
  slow.await_arrivals(2);
  slow.open();
  EXPECT_EQ(code_of<connection_error>(first), errc::authentication);
  EXPECT_EQ(code_of<connection_error>(second), errc::authentication);
}

TEST_F(basic_pool_test, an_exception_of_another_type_reaches_the_caller) {
  auto pool = make(small(1));
  server_.on_connect([] { throw std::logic_error{"hook"}; });
  EXPECT_THROW((void)pool->acquire(), std::logic_error);
}

TEST_F(basic_pool_test, service_resumes_after_an_outage) {
  auto pool = make(small(1));
  refuse(errc::not_ready);
  auto early = queue_up(*pool);
  ASSERT_TRUE(eventually([&] { return pool->stats().connect_failures >= 1; }));
  accept();
  fake_clock::advance(50ms);  // a restart shorter than fail_fast_after is no error
  pool->run_due();
  EXPECT_TRUE(early.get());
  EXPECT_TRUE(pool->acquire());
}

TEST_F(basic_pool_test, an_outage_is_told_once_when_it_begins_and_when_it_ends) {
  std::mutex mutex;
  std::vector<std::string> told;
  pool_hooks<fake_connection> hooks;
  hooks.on_outage = [&](const connect_failure* cause) {
    const std::lock_guard lock{mutex};
    told.push_back(cause ? cause->message : "over");
  };
  const auto count = [&] {
    const std::lock_guard lock{mutex};
    return told.size();
  };
  auto pool = make(small(2), hooks);
  refuse(errc::authentication);
  for (int i = 0; i < 3; ++i) {
    fake_clock::advance(1s);
    EXPECT_THROW((void)pool->acquire(), connection_error);
  }
  EXPECT_TRUE(eventually([&] { return count() == 1; }));
  accept();
  fake_clock::advance(1s);
  EXPECT_TRUE(pool->acquire());
  EXPECT_TRUE(eventually([&] { return count() == 2; }));
  const std::vector<std::string> expected{"cannot reach the fake server", "over"};
  EXPECT_EQ(told, expected);
}

TEST_F(basic_pool_test, a_hanging_probe_does_not_hold_back_the_next) {
  gate lost;
  auto options = small(2);
  options.fail_fast_after = 1h;
  auto pool = make(options);
  refuse();
  auto caller = queue_up(*pool);
  ASSERT_TRUE(eventually([&] { return pool->stats().connect_failures > 0; }));
  server_.on_connect([&] { lost.pass(); });
  fake_clock::advance(1s);
  pool->run_due();
  lost.await_arrivals(1);
  accept();  // the server is back, but the probe's packet is lost
  fake_clock::advance(1s);
  pool->run_due();
  EXPECT_TRUE(caller.get());
  lost.open();
}

TEST_F(basic_pool_test, too_many_connections_does_not_fail_waiters_while_one_lives) {
  auto pool = make(small(1, 1));
  lease held = pool->acquire();
  refuse(errc::too_many_connections);
  auto caller = queue_up(*pool);
  ASSERT_TRUE(eventually([&] { return pool->stats().connect_failures >= 1; }));
  fake_clock::advance(2h);
  pool->run_due();
  EXPECT_EQ(pool->stats().waiting, 1u);
  held = lease{};  // kept, though old: nothing would replace it
  EXPECT_TRUE(caller.get());
}

TEST_F(basic_pool_test, by_the_real_clock_the_timer_retries_and_fails_waiters_in_time) {
  auto options = small(1);
  options.fail_fast_after = 100ms;
  int attempts = 0;
  basic_pool<fake_connection> pool{options, "db.example:5432",
                                   [&](deadline) -> std::unique_ptr<fake_connection> {
                                     ++attempts;
                                     throw_connect(errc::refused, "nobody listens");
                                   }};
  const auto until = deadline::in(10s);
  EXPECT_EQ(code_of<connection_error>([&] { (void)pool.acquire(); }), errc::refused);
  EXPECT_FALSE(until.passed());
  pool.close(until);
  EXPECT_GE(attempts, 2);
}

// Close

TEST_F(basic_pool_test, close_fails_waiters_and_names_and_cuts_the_holders) {
  auto pool = make(small(1));
  const auto line = __LINE__ + 1;
  lease held = pool->acquire();
  auto caller = queue_up(*pool);
  const auto left = pool->close(deadline::in(1ms));
  EXPECT_EQ(code_of<pool_error>(caller), errc::pool_closed);
  ASSERT_EQ(left.size(), 1u);
  EXPECT_EQ(left[0].where.line(), static_cast<unsigned>(line));
  EXPECT_FALSE(held->usable());
  EXPECT_EQ(code_of<pool_error>([&] { (void)pool->acquire(); }), errc::pool_closed);
}

TEST_F(basic_pool_test, close_waits_for_holders) {
  auto pool = make(small(2));
  fill(*pool, 2);
  lease held = pool->acquire();
  auto closing = std::async(std::launch::async, [&] { return pool->close(deadline::in(20s)); });
  ASSERT_TRUE(eventually([&] { return server_.open == 1; }));
  held = lease{};
  EXPECT_TRUE(closing.get().empty());
  EXPECT_EQ(server_.open, 0);
}

TEST_F(basic_pool_test, close_during_a_connect_closes_what_it_opens) {
  gate slow;
  auto pool = make(small(1));
  server_.on_connect([&] { slow.pass(); });
  std::stop_source stop;
  auto caller = queue_up(*pool, {}, stop.get_token());
  slow.await_arrivals(1);
  auto closing = std::async(std::launch::async, [&] { pool->close(deadline::in(20s)); });
  EXPECT_EQ(code_of<pool_error>(caller), errc::pool_closed);
  slow.open();
  closing.get();
  EXPECT_EQ(server_.open, 0);
}

}  // namespace
}  // namespace soundhash::db
