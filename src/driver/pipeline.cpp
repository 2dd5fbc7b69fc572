#include "driver/pipeline.hpp"

#include <string>
#include <utility>

#include <soundhash/db/core/error.hpp>

#include "driver/connection_impl.hpp"

namespace soundhash::db::driver {

void pipeline::run(std::span<pipelined> statements) {
  if (statements.empty()) return;
  const auto& first = statements.front().what;
  on_.require_sendable(first);
  const stop_signal stop{first.stop};
  const wait_limits limits{first.until, stop};
  on_.in_transaction = false;
  on_.note_begin({});
  on_.forget_stale(limits);
  if (PQenterPipelineMode(on_.raw()) == 0) {
    on_.wire.throw_lost(first.name, sent::no, {}, on_.wire.message());
  }
  started_ = answered_ = deadline::clock::now();
  std::vector<pending> under_way;
  for (auto& each : statements) {
    pending next{.of = &each};
    if (attempt(each, [&] { send(next); })) under_way.push_back(next);
  }
  flush(limits, first.name);
  for (const auto& next : under_way) attempt(*next.of, [&] { collect(next, limits); });
  on_.answered();
  for (auto* const each : lost_)
    attempt(*each, [&] { each->rows = on_.run(each->what, &each->cost); });
}

/// An interrupted one is found out by each statement that waits for its answer.
void pipeline::flush(const wait_limits& limits, std::string_view name) {
  try {
    on_.wire.flush(limits, name);
  } catch (const error&) {
  }
}

/// What goes wrong with one is its own failure.
bool pipeline::attempt(pipelined& each, function_ref<void()> step) {
  try {
    step();
    return true;
  } catch (...) {
    each.failure = std::current_exception();
    return false;
  }
}

void pipeline::send(pending& next) {
  const auto& what = next.of->what;
  if (!on_.wire.usable()) on_.wire.throw_lost(what.name, sent::no, {}, on_.wire.message());
  const bool named = !on_.pooled && !what.name.empty();
  const bool known = !named || on_.statements.find(what.name, what.sql) != nullptr ||
                     preparing_.find(what.name, what.sql) != nullptr;
  const auto text = named ? std::string{} : on_.unnamed_text(what);
  next.limit = on_.settings.shorter_limit(what.until);
  bool sent_all = send_setting(next) && (known || send_prepare(next));
  const bound_values values{what.values};
  sent_all = sent_all && (named ? on_.send_named(what, values) : on_.send_unnamed(text, values)) &&
             PQpipelineSync(on_.raw()) != 0;
  if (!sent_all) on_.wire.throw_lost(what.name, sent::no, {}, on_.wire.message());
}

bool pipeline::send_setting(pending& next) {
  const auto setting = on_.settings.ahead(next.limit);
  on_.settings.transaction_ended();  // by its own Sync
  if (!setting) return true;
  ++next.expected;
  return on_.send_ahead(*setting);
}

bool pipeline::send_prepare(pending& next) {
  const auto& what = next.of->what;
  const auto& text = preparing_.add(what.name, statement_cache::text_of(what.name, what.sql));
  next.prepared_at = next.expected++;
  return PQsendPrepare(on_.raw(), std::string{what.name}.c_str(), text.c_str(), 0, nullptr) != 0;
}

void pipeline::collect(const pending& next, const wait_limits& limits) {
  const auto& what = next.of->what;
  auto reply = on_.or_in_doubt(what, [&] {
    answer whole{.rows = {}, .failed = {}, .expected = next.expected, .pipeline = true};
    on_.wire.read_on(whole, limits, what.name);
    return whole;
  });
  settle(next, std::move(reply));
}

void pipeline::settle(const pending& next, answer reply) {
  const auto& what = next.of->what;
  const auto now = deadline::clock::now();
  next.of->cost.execute = now - std::exchange(answered_, now);
  on_.last_context = {.name = what.name,
                      .limit = next.limit.value_or(on_.settings.usual_limit()),
                      .limit_from_deadline = next.limit.has_value(),
                      .elapsed = now - started_};
  if (next.prepared_at != 0 && reply.succeeded >= next.prepared_at) {
    on_.statements.add(what.name, statement_cache::text_of(what.name, what.sql));
  }
  const bool named = !on_.pooled && !what.name.empty();
  if (named && on_.is_lost(reply, what)) return lost_.push_back(next.of);
  on_.require_success(reply, what, on_.last_context, sent::maybe);
  next.of->rows = to_result(what.name, std::move(reply.rows));
}

}  // namespace soundhash::db::driver
