#include "migrate/file_runner.hpp"

#include <algorithm>
#include <thread>
#include <utility>

#include <soundhash/db/core/error.hpp>
#include <soundhash/db/core/sqlstate.hpp>

#include "migrate/concurrent_index.hpp"
#include "migrate/jitter.hpp"
#include "migrate/sha256.hpp"

namespace soundhash::db::migrate {
namespace {

using std::chrono::milliseconds;
using event = migration_event::kind;

constexpr int lock_tries = 5;
constexpr milliseconds first_retry_pause{100};

bool is_lock_conflict(const error& e) {
  return e.sqlstate() == sqlstate::lock_not_available ||
         e.sqlstate() == sqlstate::deadlock_detected;
}

/// The server refuses it inside a transaction block (25001), or it commits by itself (2D000).
bool needs_autocommit(const error& e) {
  return e.sqlstate() == "25001" || e.sqlstate() == "2D000";
}

migration_record new_record(const file_run& what) {
  if (what.begun != nullptr) return *what.begun;
  return {.version = what.file.version, .name = what.file.name};
}

}  // namespace

std::size_t file_run::statements_done() const {
  if (begun == nullptr || begun->state == migration_state::applied) return 0;
  return static_cast<std::size_t>(begun->statements_done);
}

std::string done_checksum(const std::vector<sql_statement>& statements, std::size_t count) {
  if (count == 0) return {};
  std::string text;
  for (std::size_t i = 0; i < std::min(count, statements.size()); ++i) {
    text.append(statements[i].text).append(";\n");
  }
  return sha256_hex(text);
}

void file_runner::run(const file_run& what) {
  started_ = std::chrono::steady_clock::now();
  statements_ = what.script().statements();
  completed_ = statement_ = what.statements_done();
  row_ = new_record(what);
  row_.checksum = what.file.up.checksum;
  row_.tool_version = SOUNDHASH_DB_VERSION;
  lock_.require_held();
  tell(what, event::file_started);
  if (what.script().transactional) {
    run_in_transaction(what);
  } else {
    check_done(what);
    run_stepwise(what);
  }
  on_.reset();
  tell(what, event::file_finished);
}

// --- transactional -------------------------------------------------------------------------------

void file_runner::run_in_transaction(const file_run& what) try {
  with_lock_retries(what, [&] { transaction_once(what); });
} catch (const error& e) {
  on_.rollback();
  throw migration_error(errc::migration_failed, failure_text(what, e), e.sqlstate());
}

void file_runner::transaction_once(const file_run& what) {
  statement_ = 0;
  on_.execute("BEGIN");
  set_limits(what.script(), "LOCAL");
  for (const auto& statement : statements_) {
    ++statement_;
    on_.run_foreign(statement.text);
    tell(what, event::statement_finished);
  }
  record_end(what);
  on_.commit();
}

// --- statement by statement ----------------------------------------------------------------------

void file_runner::run_stepwise(const file_run& what) try {
  const auto done = completed_;
  const bool begun = what.begun != nullptr && what.begun->state != migration_state::applied;
  row_.state = what.direction == migration_direction::up ? migration_state::running
                                                         : migration_state::reverting;
  record_step(done);
  for (auto index = done; index < statements_.size(); ++index) {
    statement_ = index + 1;
    with_lock_retries(what, [&] { run_step(what, index, begun && index == done); });
    completed_ = statement_;
    tell(what, event::statement_finished);
  }
  record_end(what);
} catch (const error& e) {
  on_.rollback();
  note_failure(what, e);
  throw migration_error(errc::migration_half_applied, failure_text(what, e), e.sqlstate());
}

void file_runner::check_done(const file_run& what) const {
  const auto done = what.statements_done();
  if (done == 0 || done_checksum(statements_, done) == row_.done_checksum) return;
  throw migration_error(
      errc::migration_half_applied,
      what.script().file_name + ": the first " + std::to_string(done) +
          " statements were done already, but are others in the file now; restore "
          "them, or accept the file as it is: soundhash-db migrate repair " +
          std::to_string(what.file.version) + " --accept-checksum");
}

void file_runner::run_step(const file_run& what, std::size_t index, bool resumed) {
  index_repair indexes{on_};
  const auto build = parse_concurrent_index(statements_[index]);
  const auto dropped = [&](const std::string& name) { tell(what, event::index_dropped, name); };
  if (build && indexes.is_done(*build, resumed, dropped)) {
    tell(what, event::statement_skipped,
         "index " + std::string{build->name} + " is as it should be");
    record_step(index + 1);
    return;
  }
  const bool alone = statements_[index].mentions("CONCURRENTLY");
  if (!alone && run_step_in_transaction(what, index)) return;
  run_step_alone(what, index);
  if (build) indexes.require_valid(*build);
  record_step(index + 1);
}

/// Statement and record in one transaction. False when the server does not allow it; then nothing
/// was done.
bool file_runner::run_step_in_transaction(const file_run& what, std::size_t index) try {
  on_.execute("BEGIN");
  set_limits(what.script(), "LOCAL");
  on_.run_foreign(statements_[index].text);
  record_step(index + 1);
  on_.commit();
  return true;
} catch (const error& e) {
  on_.rollback();
  if (!needs_autocommit(e) || !on_.usable()) throw;
  return false;
}

void file_runner::run_step_alone(const file_run& what, std::size_t index) {
  set_limits(what.script(), "SESSION");
  on_.run_foreign(statements_[index].text);
  on_.execute("RESET lock_timeout; RESET statement_timeout");
}

/// The row already says "running", which is as good, so a failure here changes nothing.
void file_runner::note_failure(const file_run& what, const error& failure) noexcept try {
  if (!on_.usable()) return;
  on_.reset();
  if (what.direction == migration_direction::up) row_.state = migration_state::failed;
  set_done(completed_);
  row_.last_error =
      "statement " + std::to_string(statement_) + ": SQLSTATE " + std::string{failure.sqlstate()};
  records_.write(row_);
} catch (...) {  // NOLINT(bugprone-empty-catch)
}

// --- both ----------------------------------------------------------------------------------------

void file_runner::record_end(const file_run& what) {
  if (what.direction == migration_direction::down) {
    records_.erase(what.file.version);
    return;
  }
  row_.state = migration_state::applied;
  row_.statements_done = 0;
  row_.done_checksum.clear();
  row_.last_error.clear();
  row_.execution += elapsed();
  records_.write(row_);
}

void file_runner::set_done(std::size_t done) {
  row_.statements_done = static_cast<std::int32_t>(done);
  row_.done_checksum = done_checksum(statements_, done);
}

void file_runner::record_step(std::size_t done) {
  set_done(done);
  records_.write(row_);
}

void file_runner::with_lock_retries(const file_run& what, function_ref<void()> attempt) {
  auto pause = first_retry_pause;
  for (int tried = 1;; ++tried, pause *= 2) {
    try {
      attempt();
      return;
    } catch (const error& e) {
      on_.rollback();
      if (!is_lock_conflict(e) || tried == lock_tries || !on_.usable()) throw;
      tell(what, event::retrying, "SQLSTATE " + std::string{e.sqlstate()});
    }
    std::this_thread::sleep_for(jittered(pause));
  }
}

void file_runner::set_limits(const migration_script& script, std::string_view scope) {
  // An index build that waits gains nothing by giving up: it would leave an INVALID index.
  const auto lock_default = script.transactional ? options_.lock_timeout : milliseconds{0};
  const auto lock = script.lock_timeout.value_or(lock_default).count();
  const auto statement = script.statement_timeout.value_or(options_.statement_timeout).count();
  const std::string set = "SET " + std::string{scope};
  on_.execute(set + " lock_timeout = " + std::to_string(lock) + "; " + set +
              " statement_timeout = " + std::to_string(statement));
}

void file_runner::tell(const file_run& what, event kind, std::string detail) const {
  if (!options_.on_event) return;
  options_.on_event({.what = kind,
                     .direction = what.direction,
                     .version = what.file.version,
                     .name = what.file.name,
                     .statement = statement_,
                     .statements = statements_.size(),
                     .elapsed = elapsed(),
                     .detail = std::move(detail)});
}

std::string file_runner::failure_text(const file_run& what, const error& failure) const {
  std::string text = what.script().file_name;
  if (statement_ > 0 && statement_ <= statements_.size()) {
    text.append(", statement ").append(std::to_string(statement_)).append(" of ");
    text.append(std::to_string(statements_.size())).append(" (line ");
    text.append(std::to_string(statements_[statement_ - 1].line)).append(")");
  }
  text.append(": ").append(failure.what());
  if (what.script().transactional) {
    return text.append(failure.connection_usable()
                           ? "; nothing of this file was applied"
                           : "; the connection is gone: see `soundhash-db migrate status`");
  }
  return text.append("; ")
      .append(std::to_string(completed_))
      .append(" statements are done and recorded, the next run goes on after them");
}

milliseconds file_runner::elapsed() const {
  return std::chrono::duration_cast<milliseconds>(std::chrono::steady_clock::now() - started_);
}

}  // namespace soundhash::db::migrate
