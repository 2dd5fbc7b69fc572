// The pool under a seeded scheduler: fake connections, a fake clock, fibers for threads. Every
// lock, wait and atomic step is a place where the scheduler may let somebody else go on first, so
// that races are found by their seed and not by luck.

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <random>
#include <stop_token>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "fake_clock.hpp"
#include "pool/basic_pool.hpp"
#include "queue_order.hpp"
#include "support/fibers.hpp"

namespace soundhash::db {
namespace {

using namespace std::chrono_literals;
using driver::transaction_status;
using test::fake_clock;
using test::fibers;
using test::simulation;

/// How the fake server behaves at the moment, and what it has seen.
struct world {
  explicit world(std::uint64_t seed) : random{seed} {}

  bool chance(int one_in) { return std::uniform_int_distribution<>{1, one_in}(random) == 1; }
  int between(int low, int high) { return std::uniform_int_distribution<>{low, high}(random); }

  /// Input or output: others go on meanwhile.
  void io() {
    for (int i = between(0, 3); i > 0; --i) simulation::current().point();
  }

  void turn() {
    refuses = chance(4);
    denies = chance(12);
    answers = !chance(4);
    quiet = !chance(4);
    if (chance(3)) ++incarnation;  // a restart: all sessions are dead, and nobody knows yet
  }
  void heal() {
    refuses = denies = false;
    answers = quiet = true;
  }

  std::mt19937_64 random;
  bool refuses = false;
  bool denies = false;
  bool answers = true;
  bool quiet = true;
  int incarnation = 0;
  int open = 0;
  std::uint64_t granted = 0;
  std::uint64_t refused = 0;
  std::map<std::uint32_t, int> unanswered;  // pings by who sent them
};

class model_connection {
 public:
  explicit model_connection(world& server) : server_{server}, incarnation_{server.incarnation} {
    ++server_.open;
  }
  ~model_connection() {
    EXPECT_FALSE(lent_) << "closed under its holder";
    --server_.open;
  }
  model_connection(const model_connection&) = delete;
  model_connection& operator=(const model_connection&) = delete;

  bool usable() const noexcept { return usable_; }
  transaction_status status() const noexcept {
    return usable_ ? status_ : transaction_status::unknown;
  }
  bool quiet() const noexcept { return server_.quiet && !dead(); }
  bool ping(deadline) noexcept {
    server_.io();
    const bool answered = server_.answers && !dead();
    if (!answered) ++server_.unanswered[fibers::self().number];
    return answered;
  }
  std::string command(std::string_view sql, deadline) {
    server_.io();
    if (dead()) {
      usable_ = false;
      throw connection_error{"lost", {.code = errc::lost}};
    }
    status_ = transaction_status::idle;
    return std::string{sql};
  }
  void abort() noexcept { usable_ = false; }
  void cut() noexcept { usable_ = false; }

  /// The holder uses it, and leaves it in some state.
  void use() {
    EXPECT_FALSE(std::exchange(lent_, true)) << "lent to two callers";
    EXPECT_TRUE(status_ == transaction_status::idle) << "another caller's transaction";
    server_.io();
    if (dead()) usable_ = false;
    if (server_.chance(8)) status_ = transaction_status::in_transaction;
    if (server_.chance(16)) status_ = transaction_status::failed;
    if (server_.chance(32)) status_ = transaction_status::unknown;
    server_.io();
    lent_ = false;
  }

 private:
  bool dead() const noexcept { return incarnation_ != server_.incarnation; }

  world& server_;
  int incarnation_;
  bool usable_ = true;
  bool lent_ = false;
  transaction_status status_ = transaction_status::idle;
};

using model_pool = basic_pool<model_connection, fake_clock, fibers>;

[[noreturn]] void fail_connect(errc code) {
  throw connection_error{"cannot connect", {.code = code}};
}

class model {
 public:
  explicit model(std::uint64_t seed) : server_{seed}, sim_{seed + 1} {
    pool_options options;
    options.size = 2;
    options.max_overflow = 2;
    options.min_idle = seed % 2;
    options.recycle = 300s;
    options.keepalive = seed % 3 == 0 ? 20s : 0s;
    options.idle_timeout = 40s;
    options.leak_after = 1s;
    options.max_waiters = 8;
    const auto connect = [this, alive = core_](deadline) {
      server_.io();
      if (server_.denies) fail_connect(errc::authentication);
      if (server_.refuses) fail_connect(errc::refused);
      return std::make_unique<model_connection>(server_);
    };
    pool_ = std::make_unique<model_pool>(options, "model", connect, pool_hooks<model_connection>{},
                                         seed);
    ceiling_ = 4;
    for (int i = 0; i < 8; ++i) callers_.push_back(&sim_.spawn([this] { be_a_caller(); }));
  }

  /// After a failure the fibers stand where they stood, so that nothing of them may be destroyed.
  ~model() {
    if (pool_) static_cast<void>(pool_.release());
  }
  model(const model&) = delete;
  model& operator=(const model&) = delete;

  /// Returns the steps taken.
  std::uint64_t run(std::uint64_t steps) {
    while (sim_.steps() < steps && !::testing::Test::HasFailure()) {
      advance();
      disturb();
      check();
    }
    server_.heal();
    if (server_.chance(2)) {
      settle();
      EXPECT_EQ(pool_->stats().used, 0u);
      EXPECT_EQ(pool_->stats().waiting, 0u);
    }
    end();
    return sim_.steps();
  }

  [[nodiscard]] const world& server() const { return server_; }
  test::queue_order order;

 private:
  // Callers

  void be_a_caller() {
    while (!finished_) {
      const bool with_stop = server_.chance(5);
      const bool impatient = server_.chance(4);
      sim_.be_impatient(impatient);
      call(with_stop, !with_stop && !impatient, server_.chance(20));
      sim_.be_impatient(false);
      server_.io();
    }
  }

  void call(bool with_stop, bool patient, bool too_late) {
    std::stop_source source;
    if (with_stop) stop_some_time(source);
    const deadline until = too_late ? deadline{deadline::clock::time_point{}} : deadline{};
    const auto before = sim_.last_wait().began;
    const int unanswered = server_.unanswered[fibers::self().number];
    try {
      auto lease = pool_->acquire(until, with_stop ? source.get_token() : std::stop_token{});
      ++server_.granted;
      const auto wait = sim_.last_wait();
      // Who was given a dead one waits again, at the front.
      const bool served_once = unanswered == server_.unanswered[fibers::self().number];
      if (wait.began != before && patient && served_once) order.add(wait);
      if (server_.chance(10)) lease.guard(deadline::in(server_.chance(2) ? 0s : 1h));
      lease->use();
      if (server_.chance(20)) lease.discard();
    } catch (const error& failure) {
      EXPECT_NE(failure.code(), errc::nested_acquire) << "a caller holds one at most";
      ++server_.refused;
    }
  }

  void stop_some_time(std::stop_source source) {
    sim_.spawn([this, source]() mutable {
      for (int i = server_.between(0, 40); i > 0; --i) sim_.point();
      sim_.undisturbed([&] { source.request_stop(); });
    });
  }

  // The world

  void advance() {
    if (sim_.step()) {
      stuck_ = 0;
      return;
    }
    // Everybody waits: only time can help.
    fake_clock::advance(200ms);
    sim_.pass_time();
    ASSERT_LT(++stuck_, 5000) << "a lost wake-up: nobody goes on, whatever the time";
  }

  void disturb() {
    if (server_.chance(64)) fake_clock::advance(std::chrono::milliseconds{server_.between(0, 50)});
    if (server_.chance(4000)) fake_clock::advance(std::chrono::seconds{server_.between(1, 60)});
    if (server_.chance(48)) sim_.pass_time();
    if (server_.chance(700)) server_.turn();
    if (server_.chance(300)) server_.heal();
    if (server_.chance(3000) && sim_.unlocked()) {
      const auto size = static_cast<std::size_t>(server_.between(1, 3));
      sim_.spawn([this, size] { pool_->resize(size, size - 1); });
    }
  }

  void check() {
    if (!sim_.unlocked() || !server_.chance(4)) return;
    const auto seen = pool_->stats();
    ASSERT_GE(seen.hold_time, hold_time_) << "a counter went back";
    hold_time_ = seen.hold_time;
    const auto total = seen.idle + seen.used + seen.connecting + seen.closing;
    ceiling_ = std::max(seen.limit, std::min(ceiling_, total));
    ASSERT_LE(total, ceiling_);
    ASSERT_LE(static_cast<std::size_t>(server_.open), total) << "a connection nobody counts";
    ASSERT_LE(seen.waiting, 8u);
    ASSERT_TRUE(seen.waiting == 0 || seen.idle == 0) << "somebody waits beside an idle connection";
  }

  /// Every caller must come to its end.
  void settle() {
    finished_ = true;
    const auto all_ended = [this] {
      return std::all_of(callers_.begin(), callers_.end(),
                         [this](const auto* each) { return sim_.ended(*each); });
    };
    while (!all_ended() && !::testing::Test::HasFailure()) advance();
    while (sim_.step()) continue;  // what the pool's threads have still to do
  }

  /// The end of the pool, with callers or without.
  void end() {
    if (::testing::Test::HasFailure()) return;
    const auto& closing = sim_.spawn([this] { EXPECT_TRUE(pool_->close({}).empty()); });
    while (!sim_.ended(closing) && !::testing::Test::HasFailure()) advance();
    settle();
    if (::testing::Test::HasFailure()) return;
    sim_.spawn([this] { pool_.reset(); });
    while (sim_.step()) continue;  // the last threads too
    EXPECT_EQ(server_.open, 0);
    EXPECT_EQ(core_.use_count(), 1) << "the pool is kept by something";
  }

  world server_;
  simulation sim_;
  std::unique_ptr<model_pool> pool_;
  std::vector<simulation::fiber*> callers_;
  std::shared_ptr<int> core_ = std::make_shared<int>();  // also held by the pool's connector
  std::size_t ceiling_ = 0;
  std::chrono::nanoseconds hold_time_{};
  int stuck_ = 0;
  bool finished_ = false;
};

TEST(pool_model, a_million_random_steps_break_no_rule) {
  constexpr std::uint64_t wanted = 1'000'000;
  constexpr std::uint64_t per_seed = 20'000;
  std::uint64_t steps = 0;
  std::uint64_t granted = 0;
  std::uint64_t refused = 0;
  for (std::uint64_t seed = 1; steps < wanted; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    model one{seed};
    steps += one.run(per_seed);
    granted += one.server().granted;
    refused += one.server().refused;
    EXPECT_EQ(one.order.overtakers(), 0u);
    if (HasFailure()) return;
  }
  // The faults are real, and service goes on between them.
  EXPECT_GT(granted, steps / 100);
  EXPECT_GT(refused, steps / 1000);
}

}  // namespace
}  // namespace soundhash::db
