#include "observe/interceptor_chain.hpp"

#include <chrono>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include <soundhash/db/core/error.hpp>

#include "observe/timing_interceptor.hpp"

namespace soundhash::db {
namespace {

using namespace std::chrono_literals;

class recorder final : public interceptor {
 public:
  recorder(std::string name, std::vector<std::string>& calls)
      : name_{std::move(name)}, calls_{calls} {}
  void on_start(const statement_event& event) override { note("start", event); }
  void on_finish(const statement_event& event) override { note("finish", event); }

 private:
  void note(const std::string& phase, const statement_event& event) {
    calls_.push_back(name_ + " " + phase + " " + std::string{event.name});
  }

  std::string name_;
  std::vector<std::string>& calls_;
};

class thrower final : public interceptor {
 public:
  void on_start(const statement_event&) override { throw std::runtime_error{"start"}; }
  void on_finish(const statement_event&) override { throw 42; }
};

class watcher final : public interceptor {};

TEST(interceptor_chain, starts_in_order_and_finishes_in_reverse) {
  metrics registry{100ms};
  std::vector<std::string> calls;
  const interceptor_chain chain{
      {std::make_shared<recorder>("a", calls), std::make_shared<recorder>("b", calls)}, registry};
  statement_event event;
  event.name = "q";
  chain.on_start(event);
  chain.on_finish(event);
  EXPECT_EQ(calls,
            (std::vector<std::string>{"a start q", "b start q", "b finish q", "a finish q"}));
}

TEST(interceptor_chain, counts_what_throws_and_goes_on) {
  metrics registry{100ms};
  std::vector<std::string> calls;
  const interceptor_chain chain{
      {std::make_shared<recorder>("a", calls), std::make_shared<thrower>(),
       std::make_shared<recorder>("b", calls), std::make_shared<timing_interceptor>(registry)},
      registry};
  statement_event event;
  event.name = "q";
  chain.on_start(event);
  chain.on_finish(event);
  EXPECT_EQ(calls.size(), 4U);
  EXPECT_EQ(registry.snapshot().interceptor_failures, 2U);
  EXPECT_EQ(registry.snapshot().total_queries, 1U);
}

TEST(interceptor_chain, an_interceptor_may_watch_nothing) {
  metrics registry{100ms};
  const interceptor_chain chain{{std::make_shared<watcher>()}, registry};
  chain.on_start({});
  chain.on_finish({});
  EXPECT_EQ(registry.snapshot().interceptor_failures, 0U);
}

TEST(interceptor_chain, refuses_a_null_member) {
  metrics registry{100ms};
  EXPECT_THROW((interceptor_chain{{nullptr}, registry}), config_error);
}

TEST(interceptor_chain, timing_feeds_the_registry_on_finish_only) {
  metrics registry{100ms};
  const interceptor_chain chain{{std::make_shared<timing_interceptor>(registry)}, registry};
  statement_event event;
  event.name = "q";
  chain.on_start(event);
  EXPECT_EQ(registry.snapshot().total_queries, 0U);
  event.execute = 2s;
  chain.on_finish(event);
  EXPECT_EQ(registry.snapshot().slow_queries, 1U);
}

}  // namespace
}  // namespace soundhash::db
