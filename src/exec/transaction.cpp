#include <algorithm>
#include <thread>
#include <utility>

#include <soundhash/db/core/error.hpp>
#include <soundhash/db/exec/transaction.hpp>

#include "exec/open_stream.hpp"
#include "exec/transaction_impl.hpp"

namespace soundhash::db {
namespace {

constexpr std::chrono::seconds rollback_budget{2};

std::string begin_text(const transaction_options& options) {
  std::string text = "BEGIN ISOLATION LEVEL ";
  switch (options.isolation) {
    case isolation::read_committed:
      text.append("READ COMMITTED");
      break;
    case isolation::repeatable_read:
      text.append("REPEATABLE READ");
      break;
    case isolation::serializable:
      text.append("SERIALIZABLE");
      break;
  }
  if (options.read_only) text.append(" READ ONLY");
  if (options.deferrable) text.append(" DEFERRABLE");
  return text;
}

[[noreturn]] void throw_rolled_back(const std::string& why) {
  throw transaction_error{"the transaction was rolled back: " + why,
                          {.code = errc::rolled_back, .sent = sent::yes}};
}

/// Asks other sessions of the pool until the transaction has ended there.
commit_outcome ask_outcome(engine& owner, const transaction_identity& about, deadline until) {
  const auto run = [&](const query& statement, const params& values,
                       function_ref<void(const result&)> consume) {
    owner.run(statement, values, {.until = until, .stop = {}}, consume);
  };
  try {
    while (!until.passed()) {
      if (const auto known = transaction_tracker::ask(about, run)) return *known;
      std::this_thread::sleep_for(std::chrono::milliseconds{10});
    }
  } catch (const error&) {
    return commit_outcome::unknown;  // unreachable, a standby, or the id is unknown there
  }
  return commit_outcome::unknown;
}

}  // namespace

transaction::impl::impl(std::shared_ptr<engine> shared, const transaction_options& wanted,
                        const std::source_location& where)
    : owner{std::move(shared)},
      options{wanted},
      begin_sql{begin_text(wanted)},
      lease{owner->acquire(wanted.until, wanted.stop, where)},
      changes{owner->listener()} {}

/// The pool rolls back what comes back open, on its own thread: the caller does not wait for it.
transaction::impl::~impl() {
  stop_reading();
}

deadline transaction::impl::limit(deadline call) const {
  return owner->effective(std::min(call, options.until));
}

void transaction::impl::require_open() const {
  if (at == state::committed) {
    throw invalid_argument{"transaction", "it was committed already; begin another one"};
  }
  if (at == state::in_doubt) {
    throw invalid_argument{"transaction", "its commit is in doubt; begin another one"};
  }
  if (at == state::finished) throw_rolled_back("it has ended already; begin another one");
  if (failed) throw_rolled_back("an earlier statement failed; begin another one");
  require_not_reading();
}

void transaction::impl::require_not_reading() const {
  if (reading == nullptr) return;
  throw invalid_argument{
      "transaction", "a stream of it has not ended; read all of its rows or end it, then go on"};
}

void transaction::impl::stop_reading() noexcept {
  if (reading != nullptr) reading->leave();
}

void transaction::impl::stream_ended(const error* failure) noexcept {
  reading = nullptr;
  failed = failed || failure != nullptr;
}

/// BEGIN arrived together with the first statement.
void transaction::impl::begun() {
  if (at != state::fresh || lease->status() == driver::transaction_status::idle) return;
  at = state::open;
  statement_event event{.kind = statement_kind::transaction, .name = "tx.begin", .sql = begin_sql};
  owner->report(event);
}

void transaction::impl::run(const query& statement, const params& values, const call_options& call,
                            function_ref<void(const result&)> consume) {
  require_open();
  statement_event event{.name = statement.name(), .sql = statement.sql()};
  if (at == state::fresh) event.acquire = lease.waited();
  std::optional<result> rows;
  try {
    auto what = to_send(statement, values, call);
    what.until = limit(call.until);
    rows = owner->observe(event, *lease, what);
  } catch (...) {
    failed = true;  // also when the caller swallows the exception: commit() will refuse
    begun();
    throw;
  }
  ++answered;
  if (lease->status() == driver::transaction_status::idle) throw_ended_by(statement);
  begun();
  owner->deliver(event, *rows, consume);
}

driver::statement transaction::impl::to_send(const query& statement, const params& values,
                                             const call_options& call) const {
  return {.name = statement.name(),
          .sql = statement.sql(),
          .values = &values,
          .access = statement.access(),
          .begin = at == state::fresh ? std::string_view{begin_sql} : "",
          .until = std::min(call.until, options.until),
          .stop = call.stop.stop_possible() ? call.stop : options.stop};
}

std::unique_ptr<row_source> transaction::impl::open_stream(const query& statement,
                                                           const params& values,
                                                           const call_options& call) {
  require_open();
  const auto acquired = at == state::fresh ? lease.waited() : std::chrono::nanoseconds{};
  std::unique_ptr<db::open_stream> rows;
  try {
    rows = std::make_unique<db::open_stream>(owner, *lease, to_send(statement, values, call),
                                             acquired);
  } catch (...) {
    failed = true;
    begun();
    throw;
  }
  ++answered;
  if (lease->status() == driver::transaction_status::idle) throw_ended_by(statement);
  begun();
  rows->enter(*this);
  return rows;
}

/// The server would answer a later COMMIT with COMMIT, whatever had become of the transaction.
void transaction::impl::throw_ended_by(const query& statement) {
  finish(state::in_doubt);
  changes.committed();  // perhaps, and then it is acknowledged
  throw invalid_argument{"query \"" + std::string{statement.name()} + "\"",
                         "ended its transaction; use commit() and rollback() instead"};
}

/// A body that throws may have changed something unless a statement of it failed: then the
/// transaction, or the savepoint around it, is rolled back.
void transaction::impl::run_changing(std::string_view table, executor& self,
                                     function_ref<void(executor&, tag_set&)> body) {
  auto rows = changes.no_rows();
  const auto before = answered;
  try {
    body(self, rows);
  } catch (...) {
    if (answered != before && !failed) changes.add_all(table);
    throw;
  }
  changes.add(table, rows);
}

void transaction::impl::invalidate(const cache_tag& tag) {
  require_open();
  changes.add(tag);
}

/// A command of the transaction itself; BEGIN goes ahead when nothing was sent yet.
void transaction::impl::command(std::string_view name, const std::string& sql) {
  const auto text = at == state::fresh ? begin_sql + "; " + sql : sql;
  try {
    owner->observe_command(name, *lease, text, limit({}));
  } catch (...) {
    failed = true;
    begun();
    throw;
  }
  begun();
}

void transaction::impl::finish(state how) {
  at = how;
  lease = {};
}

transaction_identity transaction::impl::identify() {
  if (!options.track_outcome || options.read_only) return {};
  return owner->tracker().identify(
      [this](const query& statement, const params& values,
             function_ref<void(const result&)> consume) { run(statement, values, {}, consume); });
}

void transaction::impl::throw_in_doubt(const error& cause, const transaction_identity& about,
                                       int backend_pid) {
  commit_in_doubt::resolver resolve;
  if (!about.id.empty()) {
    resolve = [shared = owner, about, changed = changes](std::chrono::milliseconds limit) {
      const auto outcome = ask_outcome(*shared, about, deadline::in(limit));
      shared->counters().resolutions.count(outcome);
      if (outcome != commit_outcome::unknown) changed.committed();
      return outcome;
    };
  }
  throw commit_in_doubt{
      std::string{"COMMIT was sent, but no answer came, so the transaction may or may not be "
                  "stored: "} +
          cause.what(),
      {.code = errc::commit_in_doubt,
       .sent = sent::maybe,
       .connection_usable = false,
       .sqlstate = std::string{cause.sqlstate()}},
      {.backend_pid = backend_pid, .transaction_id = about.id},
      std::move(resolve)};
}

void transaction::impl::send_commit() {
  const auto tag = owner->observe_command("tx.commit", *lease, "COMMIT", limit({}));
  if (tag == "COMMIT") return;
  // The server answers ROLLBACK, without an error, when the transaction had failed.
  if (tag == "ROLLBACK") throw_rolled_back("the server answered COMMIT with ROLLBACK");
  lease->abort();  // what else comes is not the server's answer, and says nothing
  throw connection_error{"the answer to COMMIT is \"" + sanitize(tag, 32) + "\"",
                         {.code = errc::lost, .sent = sent::maybe, .connection_usable = false}};
}

/// COMMIT did not happen for certain. What may run again keeps its type, and so does what names a
/// constraint; everything else is the one thing that matters: rolled back.
void transaction::impl::throw_not_committed(const error& cause) {
  rollback();
  changes.rolled_back();
  switch (cause.code()) {
    case errc::serialization:
    case errc::deadlock:
    case errc::rolled_back:
    case errc::unannounced:
    case errc::constraint:
    case errc::lost:
      throw;
    default:
      throw transaction_error{std::string{"the transaction was rolled back: "} + cause.what(),
                              {.code = errc::rolled_back,
                               .sent = sent::yes,
                               .connection_usable = cause.connection_usable(),
                               .sqlstate = std::string{cause.sqlstate()}}};
  }
}

void transaction::impl::commit() {
  if (ended()) require_open();
  require_not_reading();
  lease.require_own();
  if (at == state::fresh && !failed) {
    finish(state::committed);
    return changes.committed();
  }
  auto& ends = owner->counters().commits;
  try {
    commit_open();
    ends.count(commit_end::committed);
  } catch (const commit_in_doubt&) {
    ends.count(commit_end::in_doubt);
    owner->counters().doubts.count(doubt_in::transaction);
    throw;
  } catch (const error&) {
    ends.count(commit_end::rolled_back);
    throw;
  }
}

void transaction::impl::commit_open() {
  if (failed) {
    rollback();
    throw_rolled_back("a statement had failed, and its error was swallowed");
  }
  transaction_identity about;
  try {
    about = identify();
    announce_changes();
  } catch (const error& failure) {
    throw_not_committed(failure);
  }
  const int backend_pid = lease->backend_pid();
  try {
    send_commit();
  } catch (const error& failure) {
    if (failure.sent() != sent::maybe) throw_not_committed(failure);
    finish(state::in_doubt);
    changes.in_doubt();
    throw_in_doubt(failure, about, backend_pid);
  } catch (...) {
    changes.in_doubt();
    throw;
  }
  finish(state::committed);
  changes.committed();
}

void transaction::impl::announce_changes() {
  if (changes.announce()) return;
  throw transaction_error{
      "the transaction was rolled back: its changes could not be announced to the cache, and "
      "SOUNDHASH_DB_CACHE_STRICT is closed; is Redis reachable?",
      {.code = errc::unannounced, .sent = sent::yes, .retryable = true}};
}

void transaction::impl::rollback() noexcept {
  if (ended()) return;
  stop_reading();
  try {
    if (lease->usable() && lease->status() != driver::transaction_status::idle) {
      owner->observe_command("tx.rollback", *lease, "ROLLBACK", deadline::in(rollback_budget));
    }
  } catch (const std::exception&) {
    lease.discard();  // the server rolls back when the session ends
  }
  finish(state::finished);
}

int transaction::impl::open_savepoint() {
  require_open();
  const int mark = ++savepoints;
  command("tx.savepoint", "SAVEPOINT sp_" + std::to_string(mark));
  return mark;
}

void transaction::impl::release_savepoint(int mark) {
  require_open();
  command("tx.release", "RELEASE SAVEPOINT sp_" + std::to_string(mark));
}

void transaction::impl::rollback_to_savepoint(int mark) noexcept {
  stop_reading();
  if (at != state::open || !lease->usable()) return;
  try {
    const auto name = "sp_" + std::to_string(mark);
    // ROLLBACK TO alone keeps the savepoint, and the next one would nest inside it.
    command("tx.rollback_to", "ROLLBACK TO SAVEPOINT " + name + "; RELEASE SAVEPOINT " + name);
    failed = false;
  } catch (const std::exception&) {
    failed = true;  // commit() will refuse
  }
}

transaction::transaction(std::unique_ptr<impl> state) : state_{std::move(state)} {}
transaction::transaction(transaction&&) noexcept = default;
transaction& transaction::operator=(transaction&&) noexcept = default;

transaction::~transaction() = default;

bool transaction::committed() const noexcept {
  return state_->committed();
}
void transaction::commit() {
  state_->commit();
}
void transaction::rollback() noexcept {
  state_->rollback();
}

void transaction::run(const query& statement, const params& values, const call_options& options,
                      function_ref<void(const result&)> consume) {
  state_->run(statement, values, options, consume);
}

std::unique_ptr<row_source> transaction::open_stream(const query& statement, const params& values,
                                                     const call_options& options) {
  return state_->open_stream(statement, values, options);
}

void transaction::run_atomically(const call_options&, function_ref<void(executor&)> body) {
  body(*this);
}

void transaction::run_changing(std::string_view table, const call_options&,
                               function_ref<void(executor&, tag_set&)> body) {
  state_->run_changing(table, *this, body);
}

void transaction::invalidate(const cache_tag& tag) {
  state_->invalidate(tag);
}

int transaction::open_savepoint() {
  return state_->open_savepoint();
}
void transaction::release_savepoint(int mark) {
  state_->release_savepoint(mark);
}
void transaction::rollback_to_savepoint(int mark) noexcept {
  state_->rollback_to_savepoint(mark);
}

}  // namespace soundhash::db
