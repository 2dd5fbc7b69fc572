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
  std::vector<pipelined*> all;
  for (auto& each : statements) all.push_back(&each);
  pass(all, syncs::shared, limits);
  if (!again_.empty()) pass(std::exchange(again_, {}), syncs::each, limits);
  for (auto* const each : lost_) {
    attempt(*each, [&] { each->rows = on_.run(each->what, &each->cost); });
  }
}

void pipeline::pass(const std::vector<pipelined*>& statements, syncs how,
                    const wait_limits& limits) {
  PQenterPipelineMode(on_.raw());
  started_ = answered_ = deadline::clock::now();
  const auto under_way = send_all(statements, how);
  flush(limits, statements.front()->what.name);
  for (const auto& next : under_way) attempt(*next.of, [&] { collect(next, limits); });
  on_.answered();
}

std::vector<pipeline::pending> pipeline::send_all(const std::vector<pipelined*>& statements,
                                                  syncs how) {
  preparing_ = {};
  group_.clear();
  group_limit_.reset();
  std::vector<pending> under_way;
  under_way.reserve(statements.size());
  for (auto* const each : statements) {
    const bool alone = how == syncs::each || each->what.access == access::write;
    if (alone) end_group(under_way);
    pending next{.of = each};
    if (attempt(*each, [&] { send(next); })) under_way.push_back(next);
    if (alone) end_group(under_way);
  }
  end_group(under_way);
  return under_way;
}

/// An interrupted wait is found out by each statement that waits for its answer.
void pipeline::flush(const wait_limits& limits, std::string_view name) {
  try {
    on_.wire.flush(limits, name);
  } catch (const error&) {  // the answers tell
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
  on_.wire.require_not_interrupted(what.name);
  on_.require_sendable(what);
  const bool named = !on_.pooled && !what.name.empty();
  const bool known = !named || on_.statements.find(what.name, what.sql) != nullptr ||
                     preparing_.find(what.name, what.sql) != nullptr;
  if (!known) on_.require_runnable(what);
  const auto text = named ? std::string{} : on_.unnamed_text(what);
  const bound_values values{what};
  const bool sent_all = send_setting(next) && (known || send_prepare(next)) &&
                        (named ? on_.send_named(what, values) : on_.send_unnamed(text, values));
  if (!sent_all) on_.wire.throw_lost(what.name, sent::no, {}, on_.wire.message());
}

/// One limit for all of a group, ahead of its first.
bool pipeline::send_setting(pending& next) {
  if (group_limit_) {
    next.limit = *group_limit_;
    return true;
  }
  next.limit = on_.settings.shorter_limit(next.of->what.until);
  group_limit_ = next.limit;
  const auto setting = on_.settings.ahead(next.limit);
  if (!setting) return true;
  ++next.expected;
  return on_.send_ahead(*setting);
}

bool pipeline::send_prepare(pending& next) {
  const auto& what = next.of->what;
  const auto& text = preparing_.add(what.name, statement_cache::text_of(what.name, what.sql));
  next.prepares = true;
  ++next.expected;
  return PQsendPrepare(on_.raw(), std::string{what.name}.c_str(), text.c_str(), 0, nullptr) != 0;
}

void pipeline::end_group(std::vector<pending>& under_way) {
  if (under_way.empty() || under_way.back().ends_group) return;
  under_way.back().ends_group = true;
  PQpipelineSync(on_.raw());  // if it fails, there is no answer
  on_.settings.transaction_ended();
  group_limit_.reset();
}

void pipeline::collect(const pending& next, const wait_limits& limits) {
  const auto& what = next.of->what;
  auto reply = on_.or_in_doubt(what, [&] { return read(next, limits); });
  note(next);
  if (next.prepares && reply.succeeded >= next.expected - 1) {
    on_.statements.add(what.name, statement_cache::text_of(what.name, what.sql));
  }
  if (reply.aborted && !reply.failed) {
    again_.push_back(next.of);
  } else if (const bool named = !on_.pooled && !what.name.empty();
             named && on_.is_lost(reply, what)) {
    lost_.push_back(next.of);
  } else {
    void_group(reply, what);
    on_.require_success(reply, what, on_.last_context, sent::maybe);
    next.of->rows = to_result(what.name, std::move(reply.rows));
    next.ends_group ? group_.clear() : group_.push_back(next.of);
  }
}

/// After a serialization failure, what its transaction had read before means nothing.
void pipeline::void_group(const answer& reply, const statement& what) {
  if (!reply.failed) return;
  if (server_error::from(reply.failed.get(), what.sql).sqlstate.starts_with("40")) {
    again_.insert(again_.end(), group_.begin(), group_.end());
  }
  group_.clear();
}

/// Up to the end of its own answer; the last of a group up to the Sync, since an implicit
/// transaction may fail after its last command tag.
answer pipeline::read(const pending& next, const wait_limits& limits) {
  answer whole{.rows = {},
               .failed = {},
               .expected = next.expected,
               .until = next.ends_group ? 0 : next.expected,
               .pipeline = true};
  on_.wire.read_on(whole, limits, next.of->what.name);
  if (!next.ends_group && whole.ended == whole.until) whole.answered = true;
  return whole;
}

/// When the answer came, and how late that is.
void pipeline::note(const pending& next) {
  const auto now = deadline::clock::now();
  next.of->cost.execute = now - std::exchange(answered_, now);
  on_.last_context = {.name = next.of->what.name,
                      .limit = next.limit.value_or(on_.settings.usual_limit()),
                      .limit_from_deadline = next.limit.has_value(),
                      .elapsed = now - started_};
}

}  // namespace soundhash::db::driver
