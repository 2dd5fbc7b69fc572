// Schedules that once broke the pool, each made by stopping a caller, a worker or the clock at the
// point where it matters.

#include <atomic>
#include <chrono>
#include <functional>
#include <future>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "fake_clock.hpp"
#include "fake_connection.hpp"
#include "pool/basic_pool.hpp"
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

/// Calls `script` with the number of each atomic step that others can see, ahead of it; the steps
/// of the script itself do not count.
struct scripted_threads : os_threads {
  static inline thread_local std::function<void(int)> script;
  static inline thread_local int steps = 0;
  static void point() noexcept {
    if (const auto now = std::exchange(script, nullptr)) {
      now(++steps);
      script = now;
    }
  }

  /// What this thread's next acquire does once it has taken the lowest connection, and before
  /// anything is written of that.
  static void after_taking(std::function<void()> what) {
    steps = 0;
    script = [what = std::move(what)](int step) {
      if (step == 3) what();
    };
  }
};

/// No thread can be started while `none`.
struct scarce_threads : os_threads {
  static inline std::atomic<bool> none{false};
  struct thread : std::thread {
    thread() = default;
    template <class Body>
    explicit thread(Body body) : std::thread{start(std::move(body))} {}
    template <class Body>
    static std::thread start(Body body) {
      if (none) throw std::system_error{EAGAIN, std::generic_category()};
      return std::thread{std::move(body)};
    }
  };
};

/// A ping waits in the gate and then fails or not.
class gated_connection : public fake_connection {
 public:
  gated_connection(fake_server& server, gate& pinging, bool answers)
      : fake_connection{server}, pinging_{pinging}, answers_{answers} {}
  bool ping(deadline) noexcept {
    pinging_.pass();
    return answers_;
  }

 private:
  gate& pinging_;
  bool answers_;
};

[[noreturn]] void refuse(errc code) {
  throw connection_error{"cannot reach the fake server", {.code = code}};
}

/// Connections that are too old long before the pool's own thread looks for such.
pool_options short_lived(std::size_t size) {
  auto options = small(size);
  options.recycle = 10ms;
  return options;
}

class pool_races : public ::testing::Test {
 protected:
  template <class Pool>
  std::unique_ptr<Pool> make(const pool_options& options, pool_hooks<fake_connection> hooks = {}) {
    return std::make_unique<Pool>(
        options, "fake",
        [this, alive = core_](deadline) {
          server_.connect_now();
          return std::make_unique<fake_connection>(server_);
        },
        std::move(hooks), 1);
  }

  template <class Pool>
  std::unique_ptr<Pool> make_gated(const pool_options& options, gate& pinging, bool answers) {
    return std::make_unique<Pool>(
        options, "fake", [this, &pinging, answers, alive = core_](deadline) {
          return std::make_unique<gated_connection>(server_, pinging, answers);
        });
  }

  /// Acquires and returns; the code of the error if there was one.
  template <class Pool>
  static std::optional<errc> outcome_of(Pool& pool, deadline until = deadline::in(20s)) {
    try {
      (void)pool.acquire(until);
      return std::nullopt;
    } catch (const error& failure) {
      return failure.code();
    }
  }

  [[nodiscard]] bool core_is_gone() const { return core_.use_count() == 1; }

  fake_server server_;
  std::shared_ptr<int> core_ = std::make_shared<int>();  // also held by the pool's connector
};

using plain_pool = basic_pool<fake_connection, fake_clock>;
using gated_pool = basic_pool<gated_connection, fake_clock>;
using scripted_pool = basic_pool<fake_connection, fake_clock, scripted_threads>;

// The end

TEST_F(pool_races, a_ping_that_fails_after_the_end_leaves_nothing_behind) {
  gate pinging;
  auto pool = make_gated<gated_pool>(small(1), pinging, false);
  (void)pool->acquire();
  fake_clock::advance(60s);
  auto caller = std::async(std::launch::async, [&] { return outcome_of(*pool); });
  pinging.await_arrivals(1);
  pool->close(long_ago);
  pinging.open();
  EXPECT_EQ(caller.get(), errc::pool_closed);
  pool.reset();
  EXPECT_EQ(server_.open, 0);
  EXPECT_TRUE(core_is_gone());
}

TEST_F(pool_races, a_caller_that_took_an_expired_one_before_the_end_leaves_nothing_behind) {
  gate taken;
  auto pool = make<scripted_pool>(short_lived(1));
  (void)pool->acquire();
  fake_clock::advance(900ms);
  auto caller = std::async(std::launch::async, [&] {
    scripted_threads::after_taking([&] { taken.pass(); });
    return outcome_of(*pool);
  });
  taken.await_arrivals(1);
  pool->close(long_ago);
  taken.open();
  EXPECT_EQ(caller.get(), errc::pool_closed);
  pool.reset();
  EXPECT_EQ(server_.open, 0);
  EXPECT_TRUE(core_is_gone());
}

// What the housekeeping sees between two steps of a caller

TEST_F(pool_races, a_lease_that_begins_is_no_leak) {
  auto options = small(1);
  options.leak_after = 5s;
  int leaks = 0;
  pool_hooks<fake_connection> hooks;
  hooks.on_leak = [&](const held_lease&) { ++leaks; };
  auto pool = make<scripted_pool>(options, hooks);
  (void)pool->acquire();
  scripted_threads::after_taking([&] {
    fake_clock::advance(10s);
    pool->run_due();
  });
  (void)pool->acquire();
  EXPECT_EQ(leaks, 0);
}

TEST_F(pool_races, another_callers_beginning_lease_is_not_taken_for_ones_own) {
  gate taken;
  auto pool = make<scripted_pool>(small(2));
  auto first = pool->acquire();
  const auto second = pool->acquire();
  first = {};  // idle, and last held by this thread
  auto other = std::async(std::launch::async, [&] {
    scripted_threads::after_taking([&] { taken.pass(); });
    (void)pool->acquire();
  });
  taken.await_arrivals(1);
  EXPECT_EQ(outcome_of(*pool, deadline::in(50ms)), errc::pool_timeout);
  taken.open();
}

TEST_F(pool_races, a_connection_that_waited_for_its_end_is_checked_before_it_serves_again) {
  gate connecting;
  gate taken;
  auto pool = make<scripted_pool>(short_lived(2));
  {
    const auto first = pool->acquire();
    const auto second = pool->acquire();
  }
  server_.on_connect([&] { connecting.pass(); });
  server_.answers = false;
  server_.quiet = false;
  fake_clock::advance(900ms);
  auto slow = std::async(std::launch::async, [&] {
    scripted_threads::after_taking([&] { taken.pass(); });
    return outcome_of(*pool, deadline::in(1s));
  });
  taken.await_arrivals(1);
  fake_clock::advance(2h);
  pool->run_due();  // recycles the other, so that this one must wait
  auto waiting =
      std::async(std::launch::async, [&] { return outcome_of(*pool, deadline::in(2s)); });
  ASSERT_TRUE(eventually([&] { return pool->stats().waiting == 1; }));
  taken.open();
  EXPECT_TRUE(waiting.get() == errc::pool_timeout || server_.pings > 0);
  connecting.open();
  slow.get();
}

// What moves without the mutex

TEST_F(pool_races, a_connection_returned_at_any_step_of_an_acquire_serves_it) {
  auto pool = make<scripted_pool>(small(2));
  const auto own = pool->acquire();
  bool waited_before = false;
  for (int wanted = 1; !waited_before && !HasFailure(); ++wanted) {
    auto others = std::async(std::launch::async, [&] { return pool->acquire(); }).get();
    std::atomic<bool> returning{false};
    const auto give_back = [&] {
      if (!returning.exchange(true)) others = {};
    };
    // The last time the acquire waits without having taken that step.
    auto at_last = std::async(std::launch::async, [&] {
      EXPECT_TRUE(eventually([&] { return returning || pool->stats().waiting == 1; }));
      give_back();
    });
    std::future<void> at_step;
    scripted_threads::steps = 0;
    scripted_threads::script = [&](int step) {
      if (step != wanted) return;
      at_step = std::async(std::launch::async, give_back);
      at_step.wait_for(20ms);  // it has ended then, or waits for the mutex
    };
    EXPECT_EQ(outcome_of(*pool), std::nullopt) << "returned at step " << wanted;
    scripted_threads::script = nullptr;
    at_last.get();
    waited_before = !at_step.valid();
  }
}

// What hangs

TEST_F(pool_races, hanging_rollbacks_do_not_hold_back_connects) {
  gate rolling_back;
  auto pool = make<plain_pool>(small(12));
  std::vector<plain_pool::lease> held;
  for (int i = 0; i < 9; ++i) held.push_back(pool->acquire());
  server_.on_command = [&](std::string_view) { rolling_back.pass(); };
  for (auto& each : held) each->set(transaction_status::in_transaction);
  held.clear();
  rolling_back.await_arrivals(4);
  EXPECT_EQ(outcome_of(*pool), std::nullopt);
  rolling_back.open();
}

TEST_F(pool_races, keepalive_leaves_connections_for_callers) {
  gate pinging;
  auto options = small(3);
  options.keepalive = 20s;
  auto pool = make_gated<gated_pool>(options, pinging, true);
  {
    const auto first = pool->acquire();
    const auto second = pool->acquire();
    const auto third = pool->acquire();
  }
  fake_clock::advance(20s);
  pool->run_due();
  pinging.await_arrivals(1);
  EXPECT_EQ(pool->stats().idle, 2u);
  pinging.open();
}

TEST_F(pool_races, a_smaller_pool_keeps_what_works_not_what_hangs) {
  gate connecting;
  auto pool = make<plain_pool>(small(4));
  auto first = pool->acquire();
  auto second = pool->acquire();
  server_.on_connect([&] { connecting.pass(); });
  auto third =
      std::async(std::launch::async, [&] { return outcome_of(*pool, deadline::in(50ms)); });
  auto fourth =
      std::async(std::launch::async, [&] { return outcome_of(*pool, deadline::in(50ms)); });
  EXPECT_EQ(third.get(), errc::pool_timeout);
  EXPECT_EQ(fourth.get(), errc::pool_timeout);
  pool->resize(2, 0);
  first = {};
  second = {};
  EXPECT_EQ(pool->stats().idle, 2u);
  connecting.open();
  EXPECT_TRUE(eventually([&] { return server_.open == 2; }));
}

TEST_F(pool_races, in_a_declared_outage_a_hanging_probe_is_not_waited_for) {
  gate probing;
  auto options = small(1);
  options.fail_fast_after = 0ms;
  auto pool = make<plain_pool>(options);
  server_.on_connect([] { refuse(errc::refused); });
  EXPECT_EQ(outcome_of(*pool), errc::refused);
  fake_clock::advance(2s);
  server_.on_connect([&] { probing.pass(); });
  auto waiting = std::async(std::launch::async, [&] { return outcome_of(*pool); });
  probing.await_arrivals(1);
  fake_clock::advance(2s);
  pool->run_due();
  EXPECT_EQ(waiting.get(), errc::refused);
  EXPECT_EQ(outcome_of(*pool), errc::refused);
  probing.open();
}

// What failed once

TEST_F(pool_races, a_failed_connect_does_not_end_recycling) {
  auto pool = make<plain_pool>(small(1, 1));
  {
    auto held = pool->acquire();
    server_.on_connect([] { refuse(errc::too_many_connections); });
    auto waiting = std::async(std::launch::async, [&] { return outcome_of(*pool); });
    ASSERT_TRUE(eventually([&] { return pool->stats().connect_failures > 0; }));
    server_.on_connect({});
    held = {};
    EXPECT_EQ(waiting.get(), std::nullopt);
  }
  EXPECT_TRUE(eventually([&] {
    fake_clock::advance(30min);
    pool->run_due();
    (void)pool->acquire();
    return pool->stats().closed_recycled > 0;
  }));
}

TEST_F(pool_races, a_thread_that_could_not_be_started_is_started_later) {
  auto pool = make<basic_pool<fake_connection, pool_clock, scarce_threads>>(small(1));
  scarce_threads::none = true;
  EXPECT_EQ(outcome_of(*pool, deadline::in(20ms)), errc::pool_timeout);
  scarce_threads::none = false;
  EXPECT_EQ(outcome_of(*pool), std::nullopt);
}

TEST_F(pool_races, min_idle_stays_within_the_size) {
  gate connecting;
  server_.on_connect([&] { connecting.pass(); });
  auto options = small(2, 2);
  options.min_idle = 2;
  auto pool = make<plain_pool>(options);
  connecting.await_arrivals(2);
  auto caller = std::async(std::launch::async, [&] { return outcome_of(*pool); });
  ASSERT_TRUE(eventually([&] { return pool->stats().waiting == 1; }));
  EXPECT_EQ(pool->stats().connecting, 2u);
  connecting.open();
  EXPECT_EQ(caller.get(), std::nullopt);
}

TEST_F(pool_races, a_caller_in_a_hurry_does_not_condemn_a_healthy_connection) {
  gate pinging;
  pinging.open();
  auto pool = make_gated<gated_pool>(small(1), pinging, false);
  (void)pool->acquire();
  fake_clock::advance(60s);
  EXPECT_EQ(outcome_of(*pool, deadline::in(50ms)), std::nullopt);
  EXPECT_EQ(pool->stats().closed_broken, 0u);
}

// What is told

TEST_F(pool_races, the_end_of_an_outage_is_told_after_its_beginning) {
  gate telling;
  auto options = small(2);
  options.fail_fast_after = 0ms;
  std::mutex mutex;
  std::vector<bool> told;
  pool_hooks<fake_connection> hooks;
  hooks.on_outage = [&](const connect_failure* cause) {
    if (cause) telling.pass();
    const std::lock_guard lock{mutex};
    told.push_back(cause != nullptr);
  };
  auto pool = make<plain_pool>(options, hooks);
  server_.on_connect([] { refuse(errc::refused); });
  EXPECT_EQ(outcome_of(*pool), errc::refused);
  telling.await_arrivals(1);
  server_.on_connect({});
  fake_clock::advance(2s);
  EXPECT_EQ(outcome_of(*pool), std::nullopt);
  telling.open();
  const auto all_told = [&] {
    const std::lock_guard lock{mutex};
    return told.size() == 2;
  };
  ASSERT_TRUE(eventually(all_told));
  EXPECT_EQ(told, (std::vector<bool>{true, false}));
}

TEST_F(pool_races, no_outage_is_told_while_callers_are_served) {
  std::atomic<int> told{0};
  pool_hooks<fake_connection> hooks;
  hooks.on_outage = [&](const connect_failure*) { ++told; };
  auto pool = make<plain_pool>(small(1, 1), hooks);
  {
    const auto held = pool->acquire();
    server_.on_connect([] { refuse(errc::authentication); });
    EXPECT_EQ(outcome_of(*pool), errc::authentication);
  }
  EXPECT_EQ(outcome_of(*pool), std::nullopt);
  pool->close({});  // whoever had to tell has told
  EXPECT_EQ(told, 0);
}

}  // namespace
}  // namespace soundhash::db
