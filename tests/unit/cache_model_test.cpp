#include <algorithm>
#include <array>
#include <cstdint>
#include <memory>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include <gtest/gtest.h>

#include "support/fibers.hpp"
#include "unit/cached_versions.hpp"

// Readers and writers of two processes, and one kind of fault, interleaved by a seed at every step
// that others can see. A read that begins after a write was acknowledged to be dropped never gets
// an older version; nor one that begins in the writer's process after the write has returned.
namespace soundhash::db {
namespace {

using namespace test;
using std::chrono::milliseconds;
using fate = fake_redis::fate;

enum class fault : std::uint8_t {
  none,
  flushed,    ///< FLUSHALL at any time
  evicted,    ///< any key may go at any time
  lost,       ///< calls are lost on their way, happen without an answer, or late
  doubt,      ///< COMMIT is in doubt, and happens later or not at all
  crashed,    ///< the writer, announced, is gone after COMMIT
  restarted,  ///< the server comes back with an old dump
  away,       ///< the connection of a process comes and goes
};

constexpr std::array<std::string_view, 8> fault_names{"none",  "flushed", "evicted",   "lost",
                                                      "doubt", "crashed", "restarted", "away"};

class model {
 public:
  model(fault kind, std::uint64_t seed)
      : kind_{kind}, random_{seed}, sim_{seed, simulation::races::at_waits} {
    items_.versions = {{1, 1}, {2, 1}};
    const process::setup with{.strict = kind == fault::crashed ? cache_strictness::fail_closed
                                                               : cache_strictness::off};
    for (auto& each : processes_) {
      each.on = std::make_unique<process>(redis_, items_, with);
      each.on->link->decide = [this](const auto&) { return fate_of_call(); };
    }
    meet_all();
  }

  void run() {
    for (int i = 0; i < 4; ++i) sim_.spawn([this, i] { read_some(processes_[at(i)]); });
    for (int i = 0; i < 2; ++i) sim_.spawn([this, i] { write_some(processes_[at(i)]); });
    sim_.spawn([this] { disturb(); });
    while (sim_.step()) {
    }
    quiet_ = true;
    for (auto& each : processes_) reconnect(each);
    for (auto& each : processes_) sim_.spawn([&] { read_all(each); });
    while (sim_.step()) {
    }
  }

  [[nodiscard]] int reads() const noexcept { return reads_; }
  [[nodiscard]] double hits() const {
    return processes_[0].on->answers("hit") + processes_[1].on->answers("hit");
  }
  [[nodiscard]] const std::string& failure() const noexcept { return failure_; }

 private:
  struct member {
    std::unique_ptr<process> on;
    std::array<std::int64_t, 3> own{};  // by item: what its writers have written
  };

  static std::size_t at(int i) { return static_cast<std::size_t>(i % 2); }
  int below(int limit) { return std::uniform_int_distribution<>{0, limit - 1}(random_); }
  bool chance(int one_in) { return below(one_in) == 0; }
  void step() {
    if (!quiet_) simulation::current().yield();
  }

  fate fate_of_call() {
    step();
    if (kind_ != fault::lost || quiet_ || !chance(4)) return fate::answered;
    return std::array{fate::lost_before, fate::lost_after,
                      fate::late}[static_cast<std::size_t>(below(3))];
  }

  // --- reading

  void read_some(member& in) {
    for (int i = 0; i < 6; ++i) read(in, 1 + below(2));
  }
  void read_all(member& in) {
    for (const int id : {1, 2, 1, 2}) read(in, id);
  }

  void read(member& in, int id) {
    step();
    const auto item = static_cast<std::size_t>(id);
    const auto least = std::max(acknowledged_[item], in.own[item]);
    const auto found = in.on->read_by(id, {}, [&] {
      step();
      auto rows = items_.read(id);
      step();
      return loaded{std::move(rows)};
    });
    ++reads_;
    if (found < least) {
      failure_ = "read " + std::to_string(found.value_or(0)) + " of item " + std::to_string(id) +
                 " after " + std::to_string(least);
    }
  }

  // --- writing

  void write_some(member& in) {
    for (int i = 0; i < 3; ++i) write(in, 1 + below(2));
  }

  void write(member& in, int id) {
    step();
    const auto changed = process::changes(id);
    if (kind_ == fault::doubt && chance(2)) return write_in_doubt(in, id, changed);
    if (in.on->through->strict() && !in.on->through->announce(changed)) return;
    step();
    const auto version = commit(id);
    step();
    if (kind_ == fault::crashed && chance(2)) return acknowledge(id, version);
    in.on->through->committed(changed);
    in.own[static_cast<std::size_t>(id)] = std::max(in.own[static_cast<std::size_t>(id)], version);
    if (is_delivered(in)) acknowledge(id, version);
  }

  void write_in_doubt(member& in, int id, const tag_set& changed) {
    in.on->through->in_doubt(changed);
    if (chance(2)) {
      for (int i = below(6); i > 0; --i) step();
      acknowledge(id, commit(id));
    }
    if (chance(2)) {
      step();
      in.on->through->committed(changed);
    }
  }

  std::int64_t commit(int id) { return ++items_.versions[id]; }
  void acknowledge(int id, std::int64_t version) {
    auto& known = acknowledged_[static_cast<std::size_t>(id)];
    known = std::max(known, version);
  }
  static bool is_delivered(const member& in) {
    return in.on->figure_of("soundhash_cache_undelivered_tags") == 0;
  }

  // --- faults

  void disturb() {
    for (int i = 0; i < 6; ++i) {
      for (int steps = below(12); steps > 0; --steps) step();
      disturb_once();
    }
  }

  void disturb_once() {
    auto& some = processes_[at(below(2))];
    switch (kind_) {
      case fault::flushed:
        return redis_.flush();
      case fault::evicted: {
        const auto keys = redis_.keys();
        if (!keys.empty()) redis_.evict(keys[static_cast<std::size_t>(below(int(keys.size())))]);
        return;
      }
      case fault::lost:
        (void)some.on->link->do_late();
        return;
      case fault::restarted:
        return restart_or_dump();
      case fault::away:
        if (some.on->link->up) {
          some.on->link->cut();
        } else {
          reconnect(some);
        }
        return;
      default:
        return;
    }
  }

  void restart_or_dump() {
    if (!dumped_) {
      dump_ = redis_.dump();
      dumped_ = true;
      return;
    }
    for (auto& each : processes_) each.on->link->cut();
    redis_.restart(dump_, "run-" + std::to_string(++runs_));
    for (auto& each : processes_) {
      step();
      reconnect(each);
    }
    dumped_ = false;
  }

  void reconnect(member& in) {
    fake_redis session{redis_};
    session.decide = [this](const auto&) {
      step();
      return fate::answered;
    };
    if (!in.on->link->up) in.on->link->up = in.on->through->before_use(session, {});
  }

  void meet_all() {
    quiet_ = true;
    for (auto& each : processes_) {
      each.on->link->cut();
      reconnect(each);
    }
    quiet_ = false;
  }

  fault kind_;
  std::mt19937_64 random_;
  simulation sim_;
  fake_store redis_;
  fake_items items_;
  std::array<member, 2> processes_{};
  std::array<std::int64_t, 3> acknowledged_{};
  decltype(redis_.dump()) dump_{};
  bool dumped_ = false;
  bool quiet_ = false;
  int runs_ = 1;
  int reads_ = 0;
  std::string failure_;
};

class cache_model : public ::testing::TestWithParam<fault> {};

TEST_P(cache_model, no_read_is_older_than_what_was_acknowledged) {
  constexpr std::uint64_t seeds = 150;
  int reads = 0;
  double hits = 0;
  for (std::uint64_t seed = 1; seed <= seeds; ++seed) {
    model run{GetParam(), seed};
    run.run();
    ASSERT_EQ(run.failure(), "") << "seed " << seed;
    reads += run.reads();
    hits += run.hits();
  }
  EXPECT_EQ(reads, 32 * static_cast<int>(seeds));
  EXPECT_GT(hits, reads / 20) << "or nothing was tested";
}

INSTANTIATE_TEST_SUITE_P(with_fault, cache_model,
                         ::testing::Values(fault::none, fault::flushed, fault::evicted, fault::lost,
                                           fault::doubt, fault::crashed, fault::restarted,
                                           fault::away),
                         [](const auto& kind) {
                           return std::string{fault_names[static_cast<std::size_t>(kind.param)]};
                         });

}  // namespace
}  // namespace soundhash::db
