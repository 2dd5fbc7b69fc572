#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <soundhash/db/core/error.hpp>
#include <soundhash/db/core/function_ref.hpp>
#include <soundhash/db/core/sqlstate.hpp>

#include "driver/bound_values.hpp"
#include "driver/connect.hpp"
#include "driver/connection.hpp"
#include "driver/link.hpp"
#include "driver/local_settings.hpp"
#include "driver/pg_result.hpp"
#include "driver/pqxx_compat.hpp"
#include "driver/server_error.hpp"
#include "driver/session_need.hpp"
#include "driver/statement_cache.hpp"
#include "driver/wait.hpp"

namespace soundhash::db::driver {

/// A session and how one statement passes it: what is read row by row and what goes in pipelines
/// adds to this in files of its own.
struct connection::impl {
  explicit impl(handle opened, const conninfo& where)
      : wire{opened.get(), where.endpoint()},
        settings{where},
        pooled{where.pooled},
        adopted{adopt(opened.get())} {
    static_cast<void>(opened.release());  // libpqxx owns it now
    PQsetNoticeReceiver(
        raw(), [](void*, const PGresult*) {}, nullptr);
  }

  /// PQfinish sends a farewell, and after native use would wait for a peer that does not read. What
  /// is idle has sent everything, so that leaving that mode sends nothing.
  ~impl() {
    if (PQisnonblocking(raw()) != 0) return;
    const bool quiet = status() == transaction_status::idle;
    quiet ? static_cast<void>(PQsetnonblocking(raw(), 1)) : wire.abort();
  }
  impl(const impl&) = delete;
  impl& operator=(const impl&) = delete;

  // --- before sending ------------------------------------------------------------------------

  /// Refuses to send: nothing has left.
  void require_ready(std::string_view name, deadline until) {
    if (!wire.usable()) wire.throw_lost(name, sent::no, {}, "the session was closed before");
    if (until.passed()) {
      throw timeout_error{"query \"" + std::string{name} + "\": the deadline passed before sending",
                          {.code = errc::deadline_exceeded, .query_name = std::string{name}}};
    }
    PQsetnonblocking(raw(), 1);  // native use may have changed it
  }

  /// Before anything is sent a stop costs nothing.
  void require_not_stopped(const statement& what) {
    if (!what.stop.stop_requested()) return;
    throw cancelled{"query \"" + std::string{what.name} + "\" was stopped before it was sent",
                    {.code = errc::cancelled, .query_name = std::string{what.name}}};
  }

  /// Looks at the text of a name that is new here.
  void require_runnable(const statement& what) const {
    if (const auto why = misuse(what.sql); !why.empty()) {
      throw invalid_argument{"query \"" + std::string{what.name} + "\"", std::string{why}};
    }
    const auto need = pooled ? session_need(what.sql) : std::string_view{};
    if (need.empty()) return;
    throw connection_error{
        "query \"" + std::string{what.name} + "\" uses " + std::string{need} +
            ", which needs a session that lasts; behind a pooler in transaction mode "
            "(SOUNDHASH_DB_POOLER=transaction) there is none: use what is local to a transaction "
            "(SET LOCAL, pg_advisory_xact_lock), or connect to the server itself",
        {.code = errc::refused_behind_pooler, .query_name = std::string{what.name}}};
  }

  // --- errors --------------------------------------------------------------------------------

  /// A transaction that was declared read-only is refused writes by every server.
  void note_begin(std::string_view begin) {
    if (in_transaction) return;
    declared_read_only =
        begin.starts_with("BEGIN") && begin.find(" READ ONLY") != std::string_view::npos;
  }

  bool is_demoted() const {
    return parameter("in_hot_standby") == "on" ||
           parameter("default_transaction_read_only") == "on";
  }

  std::string parameter(const char* name) const {
    const char* value = PQparameterStatus(raw(), name);
    return value == nullptr ? std::string{} : std::string{value};
  }

  /// Throws unless the statement succeeded.
  void require_success(const answer& reply, const statement& what, statement_context context,
                       enum sent how_far) {
    if (reply.copies) throw_copy(what, how_far);
    if (reply.failed) {
      const auto failed = server_error::from(reply.failed.get(), what.sql);
      if (failed.ends_session()) throw_ended(failed, reply, what, how_far);
      context.demoted = !declared_read_only && is_demoted();
      if (context.demoted && failed.sqlstate == sqlstate::read_only_sql_transaction) wire.abort();
      throw_server_error(failed, context);
    }
    if (!reply.answered) throw_ended({}, reply, what, how_far);
  }

  /// A COPY that was not recognised before it was sent. Its session is closed, and whether it had
  /// done something outside a transaction, as COPY (INSERT …) does, is not known.
  [[noreturn]] void throw_copy(const statement& what, enum sent how_far) {
    if (how_far != sent::no && is_autocommit_write(what)) {
      throw_in_doubt(what, "it is a COPY, which this call cannot run");
    }
    throw query_error{"query \"" + std::string{what.name} +
                          "\" is a COPY, which this call cannot run; its session is closed",
                      {.code = errc::server_error,
                       .sent = how_far,
                       .connection_usable = false,
                       .query_name = std::string{what.name}}};
  }

  /// A session that ended under a statement. The server announces a termination before it commits
  /// anything, so FATAL before the command tag means rolled back; otherwise an autocommit write is
  /// in doubt.
  [[noreturn]] void throw_ended(const server_error& failed, const answer& reply,
                                const statement& what, enum sent how_far) {
    const bool announced = failed.is_from_server() && !reply.completed();
    const auto why = failed.message.empty() ? wire.message() : failed.message;
    if (how_far != sent::no && !announced && is_autocommit_write(what)) throw_in_doubt(what, why);
    wire.throw_lost(what.name, how_far, failed.sqlstate, why);
  }

  [[nodiscard]] bool is_autocommit_write(const statement& what) const {
    return what.access == access::write && what.begin.empty() && !in_transaction;
  }

  [[noreturn]] void throw_in_doubt(const statement& what, const std::string& why) {
    wire.abort();
    throw commit_in_doubt{
        "query \"" + std::string{what.name} + "\": sent to " + wire.endpoint() +
            ", but no answer came, so the change may or may not be stored: " + why,
        {.code = errc::commit_in_doubt,
         .sent = sent::maybe,
         .connection_usable = false,
         .query_name = std::string{what.name}},
        {.backend_pid = PQbackendPID(raw())}};
  }

  // --- one round trip ------------------------------------------------------------------------

  /// What one round trip is about, whether it prepares or runs.
  struct round_trip {
    std::string_view name;
    std::string_view begin;
    deadline until;
    bool by_row = false;
  };

  bool send_ahead(std::string_view begin) {
    return PQsendQueryParams(raw(), std::string{begin}.c_str(), 0, nullptr, nullptr, nullptr,
                             nullptr, 0) != 0;
  }

  bool send_ahead(const set_config_call& call) {
    std::vector<const char*> values;
    for (const auto& value : call.values) values.push_back(value.c_str());
    return PQsendQueryParams(raw(), call.sql.c_str(), static_cast<int>(values.size()), nullptr,
                             values.data(), nullptr, nullptr, 0) != 0;
  }

  /// Sends by `send_one`, with BEGIN and settings ahead in one pipeline when there are any.
  answer exchange(const round_trip& what, const std::optional<set_config_call>& setting,
                  const wait_limits& limits, function_ref<bool()> send_one) {
    const bool pipeline = !what.begin.empty() || setting;
    bool sent_all = !pipeline || PQenterPipelineMode(raw()) != 0;
    if (!what.begin.empty()) sent_all = sent_all && send_ahead(what.begin);
    if (setting) sent_all = sent_all && send_ahead(*setting);
    sent_all = sent_all && send_one() && (!pipeline || PQpipelineSync(raw()) != 0);
    if (!sent_all) wire.throw_lost(what.name, sent::no, {}, wire.message());
    wire.flush(limits, what.name);
    const int sent_count = 1 + (what.begin.empty() ? 0 : 1) + (setting ? 1 : 0);
    answer reply{.rows = {},
                 .failed = {},
                 .expected = sent_count,
                 .pipeline = pipeline,
                 .by_row = what.by_row};
    read_on(reply, limits, what.name);
    return reply;
  }

  void read_on(answer& reply, const wait_limits& limits, std::string_view name) {
    wire.read_on(reply, limits, name);
    if (reply.answered) answered();
  }

  /// Reads what is left of an answer, as far as it comes in time; closes the session otherwise.
  void read_off(answer& reply, deadline until) noexcept {
    wire.read_off(reply, until);
    if (reply.answered) answered();
  }

  /// The server is ready for the next message.
  void answered() noexcept {
    wire.leave_pipeline();
    if (status() == transaction_status::idle) settings.transaction_ended();
  }

  answer timed_exchange(const round_trip& what, const wait_limits& limits,
                        std::chrono::nanoseconds* cost, function_ref<bool()> send_one) {
    const auto shorter = settings.shorter_limit(what.until);
    const auto setting = settings.ahead(shorter);
    const auto started = deadline::clock::now();
    auto reply = exchange(what, setting, limits, send_one);
    const auto took = deadline::clock::now() - started;
    if (cost != nullptr) *cost = took;
    last_context = {.name = what.name,
                    .limit = shorter.value_or(settings.usual_limit()),
                    .limit_from_deadline = shorter.has_value(),
                    .elapsed = took,
                    .demoted = false};
    return reply;
  }

  // --- named statements ----------------------------------------------------------------------

  /// The text to send without a name; what is refused behind a pooler is looked for once a name.
  std::string unnamed_text(const statement& what) {
    if (!what.name.empty()) {
      if (const auto* known = statements.find(what.name, what.sql)) return *known;
    }
    require_runnable(what);
    if (what.name.empty()) return std::string{what.sql};
    return statements.add(what.name, statement_cache::text_of(what.name, what.sql));
  }

  void prepare(const statement& what, const wait_limits& limits, timing* cost) {
    if (what.name.empty() || statements.find(what.name, what.sql) != nullptr) return;
    require_runnable(what);
    const std::string name{what.name};
    auto text = statement_cache::text_of(what.name, what.sql);
    // Parsing waits for table locks too, so the call's own limit goes ahead of it as well.
    const auto parse = [&] {
      return timed_exchange(
          {what.name, {}, what.until}, limits, cost ? &cost->prepare : nullptr,
          [&] { return PQsendPrepare(raw(), name.c_str(), text.c_str(), 0, nullptr) != 0; });
    };
    auto reply = parse();
    if (is_lost(reply, what) && heal(!in_transaction, limits)) reply = parse();
    require_success(reply, what, last_context, sent::no);
    statements.add(name, std::move(text));
  }

  /// Did the statement fail because the server does not know it as we do?
  bool is_lost(const answer& reply, const statement& what) {
    if (!reply.failed || !server_error::from(reply.failed.get(), what.sql).is_lost_statement()) {
      return false;
    }
    statements.mark_stale(what.name);
    last_context.lost_statement = true;
    return true;
  }

  /// Outside a transaction only: inside one that failed, the server forgets nothing.
  bool heal(bool outside_transaction, const wait_limits& limits) {
    if (outside_transaction) forget_stale(limits);
    return outside_transaction;
  }

  void forget_stale(const wait_limits& limits) {
    for (const auto& name : statements.take_stale()) {
      const std::string text = "DEALLOCATE \"" + name + "\"";
      PQsendQuery(raw(), text.c_str());
      wire.flush(limits, name);
      wire.collect(limits, name);  // fails when the server lost it already, which is as good
    }
  }

  // --- one statement -------------------------------------------------------------------------

  bool send_named(const statement& what, const bound_values& values) {
    return PQsendQueryPrepared(raw(), std::string{what.name}.c_str(), values.count(), values.data(),
                               values.sizes(), values.formats(), binary_format) != 0;
  }

  bool send_unnamed(const std::string& text, const bound_values& values) {
    return PQsendQueryParams(raw(), text.c_str(), values.count(), nullptr, values.data(),
                             values.sizes(), values.formats(), binary_format) != 0;
  }

  /// Waits that end early leave the fate of an autocommit write open.
  answer or_in_doubt(const statement& what, function_ref<answer()> wait) {
    try {
      return wait();
    } catch (const timeout_error& unanswered) {
      if (is_autocommit_write(what)) throw_in_doubt(what, unanswered.what());
      throw;
    } catch (const cancelled& stopped) {
      if (is_autocommit_write(what)) throw_in_doubt(what, stopped.what());
      throw;
    }
  }

  answer execute(const statement& what, const wait_limits& limits, timing* cost,
                 function_ref<bool()> send) {
    return or_in_doubt(what, [&] {
      return timed_exchange({what.name, what.begin, what.until, what.by_row}, limits,
                            cost ? &cost->execute : nullptr, send);
    });
  }

  answer run_unnamed(const statement& what, const wait_limits& limits, timing* cost) {
    const auto text = unnamed_text(what);
    const bound_values values{what};
    return execute(what, limits, cost, [&] { return send_unnamed(text, values); });
  }

  answer run_prepared(const statement& what, const wait_limits& limits, timing* cost) {
    const bound_values values{what};
    const auto run_once = [&] {
      prepare(what, limits, cost);
      return execute(what, limits, cost, [&] { return send_named(what, values); });
    };
    auto reply = run_once();
    const bool outside = !in_transaction && what.begin.empty();
    if (is_lost(reply, what) && heal(outside, limits)) reply = run_once();
    return reply;
  }

  /// Nothing has been sent yet. Throws: as require_ready(), and cancelled.
  void require_sendable(const statement& what) {
    require_ready(what.name, what.until);
    require_not_stopped(what);
  }

  /// Sends the statement and reads its answer, or that answer's first row.
  answer start(const statement& what, const wait_limits& limits, timing* cost) {
    in_transaction = status() != transaction_status::idle;
    note_begin(what.begin);
    if (!in_transaction) forget_stale(limits);
    return pooled || what.name.empty() ? run_unnamed(what, limits, cost)
                                       : run_prepared(what, limits, cost);
  }

  result run(const statement& what, timing* cost) {
    require_sendable(what);
    const stop_signal stop{what.stop};
    auto reply = start(what, {what.until, stop}, cost);
    require_success(reply, what, last_context, sent::maybe);
    return to_result(what.name, std::move(reply.rows));
  }

  std::string command(std::string_view sql, deadline until) {
    const std::string text{sql};
    require_ready(text, until);
    const stop_signal no_stop{{}};
    const wait_limits limits{until, no_stop};
    in_transaction = status() != transaction_status::idle;
    note_begin(sql);
    const statement what{.name = {}, .sql = sql};
    const auto started = deadline::clock::now();
    if (PQsendQuery(raw(), text.c_str()) == 0) wire.throw_lost({}, sent::no, {}, wire.message());
    wire.flush(limits, {});
    const auto reply = wire.collect(limits, {});
    if (sql.starts_with("ROLLBACK TO")) settings.savepoint_rolled_back();
    answered();
    require_success(reply, what,
                    {.name = {},
                     .limit = settings.usual_limit(),
                     .limit_from_deadline = false,
                     .elapsed = deadline::clock::now() - started},
                    sent::maybe);
    return reply.rows ? std::string{PQcmdStatus(reply.rows.get())} : std::string{};
  }

  // --- state ---------------------------------------------------------------------------------

  [[nodiscard]] PGconn* raw() const noexcept { return wire.raw(); }

  [[nodiscard]] transaction_status status() const noexcept {
    if (!wire.usable()) return transaction_status::unknown;
    switch (PQtransactionStatus(raw())) {
      case PQTRANS_IDLE:
        return transaction_status::idle;
      case PQTRANS_INTRANS:
        return transaction_status::in_transaction;
      case PQTRANS_INERROR:
        return transaction_status::failed;
      case PQTRANS_ACTIVE:
        return transaction_status::active;
      default:
        return transaction_status::unknown;
    }
  }

  link wire;
  local_settings settings;
  bool pooled;
  std::unique_ptr<native_connection> adopted;
  statement_cache statements;
  statement_context last_context;
  bool in_transaction = false;
  bool declared_read_only = false;  ///< the transaction that was begun last
};

}  // namespace soundhash::db::driver
