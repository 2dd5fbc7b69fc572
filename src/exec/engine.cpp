#include "exec/engine.hpp"

#include <algorithm>
#include <utility>

#include <soundhash/db/core/error.hpp>

#include "exec/open_stream.hpp"
#include "exec/pipeline_run.hpp"
#include "exec/reruns.hpp"
#include "exec/retry_layer.hpp"
#include "exec/retry_policy.hpp"
#include "exec/transaction_impl.hpp"

namespace soundhash::db {
namespace {

using clock = deadline::clock;

/// Reading few rows costs less than reading the clock twice.
constexpr std::size_t decode_timed_from = 16;

void validate(const transaction_options& options) {
  if (options.deferrable && (options.isolation != isolation::serializable || !options.read_only)) {
    throw invalid_argument{"transaction_options::deferrable",
                           "needs isolation serializable and read_only"};
  }
  if (options.attempts < 1 || options.attempts > 100) {
    throw invalid_argument{"transaction_options::attempts", "is outside 1 to 100"};
  }
}

}  // namespace

engine::engine(const pool_options& limits, std::chrono::milliseconds statement_timeout,
               std::string endpoint, connection_pool::connector connect,
               pool_hooks<driver::connection> hooks, std::shared_ptr<metrics> registry,
               interceptor_chain watchers, std::shared_ptr<tag_listener> listener)
    : acquire_timeout_{limits.acquire_timeout},
      statement_timeout_{statement_timeout},
      registry_{std::move(registry)},
      watchers_{std::move(watchers)},
      listener_{std::move(listener)},
      budget_{clock::now()},
      pool_{limits, std::move(endpoint), std::move(connect), std::move(hooks)} {}

deadline engine::effective(deadline wanted) const {
  if (!wanted.is_never() || patience().count() == 0) return wanted;
  return deadline::in(patience());
}

std::chrono::milliseconds engine::patience() const {
  if (statement_timeout_.count() == 0) return statement_timeout_;
  return acquire_timeout_ + statement_timeout_ + std::chrono::seconds{1};
}

connection_pool::lease engine::acquire(deadline until, std::stop_token stop,
                                       const std::source_location& where) {
  return pool_.acquire(until, std::move(stop), where);
}

connection_pool::lease engine::acquire_for(const query& statement, deadline until,
                                           std::stop_token stop) {
  auto granted = acquire(until, std::move(stop));
  granted.used_for(statement);
  return granted;
}

void engine::run(const query& statement, const params& values, const call_options& options,
                 function_ref<void(const result&)> consume) {
  run(statement, values, options, consume, nullptr);
}

fetched engine::fetch(const query& statement, const params& values, const call_options& options) {
  fetched found;
  run(
      statement, values, options, [](const result&) {}, &found);
  return found;
}

void engine::run(const query& statement, const params& values, const call_options& options,
                 function_ref<void(const result&)> consume, fetched* keep) {
  const call_options bounded{effective(options.until), options.stop};
  budget_.called();
  try {
    return run_once(statement, values, bounded, consume, keep);
  } catch (const error& failure) {
    if (failure.code() == errc::commit_in_doubt) counters_.doubts.count(doubt_in::statement);
    if (!may_run_once_more(failure, statement.access(), bounded.until)) throw;
  }
  run_once(statement, values, bounded, consume, keep);
}

std::unique_ptr<row_source> engine::open_stream(const query& statement, const params& values,
                                                const call_options& options) {
  budget_.called();
  try {
    return open_stream_once(statement, values, options);
  } catch (const error& failure) {
    if (!may_run_once_more(failure, statement.access(), options.until)) throw;
  }
  return open_stream_once(statement, values, options);
}

std::unique_ptr<row_source> engine::open_stream_once(const query& statement, const params& values,
                                                     const call_options& options) {
  auto lease = acquire_for(statement, effective(options.until), options.stop);
  auto rows = std::make_unique<db::open_stream>(shared_from_this(), *lease,
                                                driver::statement{.name = statement.name(),
                                                                  .sql = statement.sql(),
                                                                  .values = &values,
                                                                  .access = statement.access(),
                                                                  .until = options.until,
                                                                  .stop = options.stop},
                                                lease.waited());
  rows->own(std::move(lease));
  return rows;
}

void engine::run_pipeline(std::span<const std::shared_ptr<pipeline_step>> steps,
                          const call_options& options) {
  if (steps.empty()) return;
  const call_options bounded{effective(options.until), options.stop};
  std::vector<pipeline_step*> under_way;
  for (const auto& step : steps) under_way.push_back(step.get());
  budget_.called();
  run_together(*this, under_way, bounded);
  std::erase_if(under_way, [&](const pipeline_step* step) {
    return !may_run_once_more(*step, bounded.until);
  });
  if (under_way.empty()) return;
  try {
    run_together(*this, under_way, bounded);
  } catch (const error&) {
    // Nothing was sent this time: the first failures stand.
  }
}

bool engine::may_run_once_more(const pipeline_step& step, deadline until) {
  try {
    if (step.failure) std::rethrow_exception(step.failure);
  } catch (const error& failure) {
    return may_run_once_more(failure, step.statement.access(), until);
  }
  return false;
}

bool engine::may_run_once_more(const error& failure, access kind, deadline until) {
  const auto rule = rule_for(failure, kind);
  if (rule.limit == retry_limit::never || retry_layer::takes(failure)) return false;
  if (until.passed()) {
    counters_.refusals.count(retry_refusal::deadline);
    return false;
  }
  if (!budget_.take(clock::now())) {
    counters_.refusals.count(retry_refusal::budget);
    return false;
  }
  counters_.retries.count(rule.reason);
  return true;
}

void engine::run_once(const query& statement, const params& values, const call_options& options,
                      function_ref<void(const result&)> consume, fetched* keep) {
  statement_event event{.name = statement.name(), .sql = statement.sql()};
  auto rows = [&] {
    auto lease = acquire_for(statement, options.until, options.stop);
    event.acquire = lease.waited();
    if (keep != nullptr) keep->from_primary = lease->parameter("in_hot_standby") != "on";
    return observe(event, *lease,
                   {.name = statement.name(),
                    .sql = statement.sql(),
                    .values = &values,
                    .access = statement.access(),
                    .until = options.until,
                    .stop = options.stop});
  }();  // the connection is free again before the rows are read
  deliver(event, rows, consume);
  if (keep != nullptr) keep->rows = std::move(rows);
}

result engine::observe(statement_event& event, driver::connection& on,
                       const driver::statement& what) {
  watchers_.on_start(event);
  driver::timing cost;
  try {
    auto rows = on.run(what, &cost);
    event.prepare = cost.prepare;
    event.execute = cost.execute;
    event.rows = std::max<std::uint64_t>(rows.size(), rows.affected());
    return rows;
  } catch (const error& failure) {
    event.prepare = cost.prepare;
    event.execute = cost.execute;
    event.failure = &failure;
    event.sqlstate = failure.sqlstate();
    watchers_.on_finish(event);
    throw;
  } catch (...) {
    watchers_.on_finish(event);
    throw;
  }
}

void engine::deliver(statement_event& event, const result& rows,
                     function_ref<void(const result&)> consume) {
  try {
    if (rows.size() < decode_timed_from) {
      consume(rows);
    } else {
      const auto started = clock::now();
      consume(rows);
      event.decode = clock::now() - started;
    }
  } catch (const error& failure) {
    event.failure = &failure;
    watchers_.on_finish(event);
    throw;
  } catch (...) {
    watchers_.on_finish(event);
    throw;
  }
  watchers_.on_finish(event);
}

std::string engine::observe_command(std::string_view name, driver::connection& on,
                                    std::string_view sql, deadline until) {
  statement_event event{.kind = statement_kind::transaction, .name = name, .sql = sql};
  watchers_.on_start(event);
  const auto started = clock::now();
  try {
    auto tag = on.command(sql, until);
    event.execute = clock::now() - started;
    watchers_.on_finish(event);
    return tag;
  } catch (const error& failure) {
    event.execute = clock::now() - started;
    event.failure = &failure;
    event.sqlstate = failure.sqlstate();
    watchers_.on_finish(event);
    throw;
  }
}

void engine::report(statement_event& event) {
  watchers_.on_start(event);
  watchers_.on_finish(event);
}

transaction engine::begin(const transaction_options& options, const std::source_location& where) {
  validate(options);
  return transaction{std::make_unique<transaction::impl>(shared_from_this(), options, where)};
}

void engine::with_transaction(const transaction_options& options,
                              function_ref<void(transaction&)> body,
                              const std::source_location& where) {
  validate(options);
  budget_.called();
  for (reruns tries{options, budget_, counters_};;) {
    try {
      const retry_layer here{options};
      auto tx = begin(options, where);
      body(tx);
      if (!tx.committed()) tx.commit();  // the body may have done so itself
      return;
    } catch (const error& failure) {
      // The transaction, and with it the connection, is gone before the pause.
      if (!tries.allow(failure, rule_for(failure, options))) throw;
    }
  }
}

void engine::add_figures(std::vector<figure>& out) const {
  counters_.add_figures(out);
}

}  // namespace soundhash::db
