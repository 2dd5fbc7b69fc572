#include "exec/pipeline_run.hpp"

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <vector>

#include <soundhash/db/core/error.hpp>
#include <soundhash/db/observe/interceptor.hpp>

#include "driver/pipeline.hpp"
#include "exec/engine.hpp"

namespace soundhash::db {
namespace {

/// The steps on their way through the interceptors, each a statement of its own.
class run_of_steps {
 public:
  run_of_steps(engine& on, std::span<pipeline_step* const> steps, const call_options& options)
      : on_{on}, steps_{steps} {
    for (const auto* step : steps) {
      const auto& what = step->statement;
      events_.push_back({.name = what.name(), .sql = what.sql()});
      auto& sent = sent_.emplace_back().what;
      sent.name = what.name();
      sent.sql = what.sql();
      sent.values = &step->values;
      sent.access = what.access();
      sent.until = options.until;
      sent.stop = options.stop;
    }
  }

  void send(driver::connection& session, std::chrono::nanoseconds acquired) {
    events_.front().acquire = acquired;
    for (const auto& event : events_) on_.watchers().on_start(event);
    try {
      driver::pipeline{session}.run(sent_);
    } catch (const error& failure) {
      for (auto& event : events_) finish(event, &failure);
      throw;
    }
  }

  void settle() {
    for (std::size_t i = 0; i < steps_.size(); ++i) {
      auto& step = *steps_[i];
      step.failure = {};
      step.answered = true;
      try {
        settle(step, events_[i], sent_[i]);
      } catch (const error&) {
        step.failure = std::current_exception();
      }
    }
  }

 private:
  void settle(pipeline_step& step, statement_event& event, driver::pipelined& from) {
    event.execute = from.cost.execute;
    event.prepare = from.cost.prepare;
    try {
      if (from.failure) std::rethrow_exception(from.failure);
    } catch (const error& failure) {
      if (failure.code() == errc::commit_in_doubt) {
        on_.counters().doubts.count(doubt_in::statement);
      }
      finish(event, &failure);
      throw;
    }
    event.rows = std::max<std::uint64_t>(from.rows.size(), from.rows.affected());
    on_.deliver(event, from.rows, [&](const result& rows) { step.read(rows); });
  }

  void finish(statement_event& event, const error* failure) {
    event.failure = failure;
    event.sqlstate = failure->sqlstate();
    on_.watchers().on_finish(event);
  }

  engine& on_;
  std::span<pipeline_step* const> steps_;
  std::vector<statement_event> events_;
  std::vector<driver::pipelined> sent_;
};

}  // namespace

void run_together(engine& on, std::span<pipeline_step* const> steps, const call_options& options) {
  run_of_steps run{on, steps, options};
  {
    const auto lease = on.acquire_for(steps.front()->statement, options.until, options.stop);
    run.send(*lease, lease.waited());
  }  // the connection is free again before the rows are read
  run.settle();
}

}  // namespace soundhash::db
