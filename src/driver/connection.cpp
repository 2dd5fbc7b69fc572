#include "driver/connection.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdint>
#include <cstdlib>
#include <limits>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include <poll.h>

#include <soundhash/db/core/error.hpp>
#include <soundhash/db/core/function_ref.hpp>
#include <soundhash/db/core/sqlstate.hpp>

#include "driver/connect.hpp"
#include "driver/pqxx_compat.hpp"
#include "driver/server_error.hpp"
#include "driver/socket_duplicate.hpp"
#include "driver/wait.hpp"

namespace soundhash::db::driver {
namespace {

using clock = deadline::clock;
using std::chrono::milliseconds;

struct clear {
  void operator()(PGresult* rows) const noexcept { PQclear(rows); }
};
using pg_result = std::unique_ptr<PGresult, clear>;

constexpr int binary = 1;

/// How much later than the server's limit the client gives up: the server's own answer, which
/// keeps the session, shall win whenever the server is alive.
constexpr milliseconds client_grace{100};

/// What statement_timeout can hold.
constexpr milliseconds longest_limit{std::numeric_limits<std::int32_t>::max()};

std::uint64_t affected_rows(PGresult* rows) {
  const char* text = PQcmdTuples(rows);
  return text == nullptr ? 0 : std::strtoull(text, nullptr, 10);
}

/// Takes over a PGresult: cells point into its memory.
result to_result(std::string_view name, pg_result rows) {
  const auto width = static_cast<std::size_t>(PQnfields(rows.get()));
  const auto height = static_cast<std::size_t>(PQntuples(rows.get()));
  std::vector<column_info> columns(width);
  for (std::size_t c = 0; c < width; ++c) {
    const int at = static_cast<int>(c);
    columns[c] = {PQfname(rows.get(), at), PQftype(rows.get(), at)};
  }
  std::vector<detail::cell> cells;
  cells.reserve(width * height);
  for (std::size_t r = 0; r < height; ++r) {
    for (std::size_t c = 0; c < width; ++c) {
      const int row = static_cast<int>(r);
      const int column = static_cast<int>(c);
      const bool null = PQgetisnull(rows.get(), row, column) != 0;
      cells.push_back(
          {PQgetvalue(rows.get(), row, column), null ? -1 : PQgetlength(rows.get(), row, column)});
    }
  }
  const auto touched = affected_rows(rows.get());
  return {
      name, std::move(columns), std::move(cells), touched,
      result::storage{rows.release(), [](void* kept) { PQclear(static_cast<PGresult*>(kept)); }}};
}

/// The values of a statement as libpq's three parallel arrays.
class bound_values {
 public:
  explicit bound_values(const params* values) {
    const auto count = values == nullptr ? 0 : values->size();
    data_.reserve(count);
    sizes_.reserve(count);
    formats_.reserve(count);
    for (std::size_t i = 0; i < count; ++i) {
      const auto value = (*values)[i];
      data_.push_back(value.data);
      sizes_.push_back(static_cast<int>(value.size));
      formats_.push_back(value.binary ? binary : 0);
    }
  }
  [[nodiscard]] int count() const noexcept { return static_cast<int>(data_.size()); }
  [[nodiscard]] const char* const* data() const noexcept { return data_.data(); }
  [[nodiscard]] const int* sizes() const noexcept { return sizes_.data(); }
  [[nodiscard]] const int* formats() const noexcept { return formats_.data(); }

 private:
  std::vector<const char*> data_;
  std::vector<int> sizes_;
  std::vector<int> formats_;
};

milliseconds session_limit(const conninfo& where) {
  const auto found = where.settings.find("statement_timeout");
  if (found == where.settings.end()) return milliseconds::zero();
  return milliseconds{std::strtoll(found->second.c_str(), nullptr, 10)};
}

/// What the answer to one statement came to.
struct answer {
  pg_result rows;         ///< the last result without error
  pg_result failed;       ///< the first error
  int expected = 1;       ///< statements sent: what goes ahead of ours counts too
  int succeeded = 0;      ///< command tags that came
  bool answered = false;  ///< the server's ReadyForQuery came

  /// Our statement was done, so its change may be durable although nothing more came.
  [[nodiscard]] bool completed() const noexcept { return succeeded >= expected; }
};

}  // namespace

struct connection::impl {
  explicit impl(handle opened, const conninfo& where)
      : raw{opened.get()},
        endpoint{where.endpoint()},
        session_timeout{session_limit(where)},
        socket{PQsocket(raw)},
        adopted{adopt(opened.get())} {
    static_cast<void>(opened.release());  // libpqxx owns it now
    PQsetNoticeReceiver(
        raw, [](void*, const PGresult*) {}, nullptr);
  }

  /// PQfinish sends a farewell, and after native use would wait for a peer that does not read. What
  /// is idle has sent everything, so that leaving that mode sends nothing.
  ~impl() {
    if (PQisnonblocking(raw) != 0) return;
    status() == transaction_status::idle ? static_cast<void>(PQsetnonblocking(raw, 1)) : abort();
  }
  impl(const impl&) = delete;
  impl& operator=(const impl&) = delete;

  /// One call's limits.
  struct wait_limits {
    deadline until;
    const stop_signal& stop;
    [[nodiscard]] deadline client_limit() const {
      return until.is_never() ? until : deadline{until.at() + client_grace};
    }
  };

  // --- sending and waiting -------------------------------------------------------------------

  [[noreturn]] void throw_lost(std::string_view name, enum sent how_far, std::string_view state,
                               const std::string& why) {
    abort();
    std::string text = "the connection to " + endpoint + " was lost";
    if (!name.empty()) text.append(" during query \"").append(name).append("\"");
    throw connection_error{text + ": " + why,
                           {.code = errc::lost,
                            .sent = how_far,
                            .retryable = true,
                            .connection_usable = false,
                            .sqlstate = std::string{state},
                            .query_name = std::string{name}}};
  }

  std::string libpq_message() const {
    std::string_view message = PQerrorMessage(raw);
    if (const auto line_end = message.find('\n'); line_end != std::string_view::npos) {
      message = message.substr(0, line_end);
    }
    return message.empty() ? "the server closed the connection" : sanitize(message, 500);
  }

  /// Refuses to send: nothing has left.
  void require_ready(std::string_view name, deadline until) {
    if (!usable()) throw_lost(name, sent::no, {}, "the session was closed before");
    if (until.passed()) {
      throw timeout_error{"query \"" + std::string{name} + "\": the deadline passed before sending",
                          {.code = errc::deadline_exceeded, .query_name = std::string{name}}};
    }
    PQsetnonblocking(raw, 1);  // native use may have changed it
  }

  [[noreturn]] void throw_interrupted(wake how, std::string_view name) {
    abort();
    const auto query_name = std::string{name};
    if (how == wake::stopped) {
      throw cancelled{
          "query \"" + query_name + "\" was stopped by its caller; its session is closed",
          {.code = errc::cancelled,
           .sent = sent::maybe,
           .connection_usable = false,
           .query_name = query_name}};
    }
    throw timeout_error{"query \"" + query_name + "\": " + endpoint +
                            " did not answer by the deadline; its session is closed",
                        {.code = errc::deadline_exceeded,
                         .sent = sent::maybe,
                         .connection_usable = false,
                         .query_name = query_name}};
  }

  void wait(short events, const wait_limits& limits, std::string_view name) {
    const auto how = wait_for(PQsocket(raw), events, limits.client_limit(), limits.stop);
    if (how != wake::ready) throw_interrupted(how, name);
  }

  /// Reads what the socket has. With TLS one record (16 KiB at most) can stay decrypted inside
  /// OpenSSL while poll() sees nothing; libpq takes at least 8 KiB a call, so three calls drain it.
  /// A false PQconsumeInput is not an error yet: the server's last words may be in the buffer.
  void consume() {
    const int calls = PQsslInUse(raw) != 0 ? 3 : 1;
    for (int i = 0; i < calls; ++i) PQconsumeInput(raw);
  }

  /// Reads while writing, or both sides could wait for each other with full buffers.
  void flush(const wait_limits& limits, std::string_view name) {
    for (;;) {
      const int left = PQflush(raw);
      if (left == 0) return;
      if (left < 0) return;  // the answer, or its absence, tells why
      wait(POLLIN | POLLOUT, limits, name);
      consume();
    }
  }

  pg_result next_result(const wait_limits& limits, std::string_view name) {
    while (PQisBusy(raw) != 0 && PQstatus(raw) == CONNECTION_OK) {
      wait(POLLIN, limits, name);
      consume();
    }
    return pg_result{PQgetResult(raw)};
  }

  static bool is_failure(const PGresult* rows) {
    const auto status = PQresultStatus(rows);
    return status == PGRES_FATAL_ERROR || status == PGRES_BAD_RESPONSE ||
           status == PGRES_NONFATAL_ERROR;
  }

  static bool ends_in_copy(const PGresult* rows) {
    const auto status = PQresultStatus(rows);
    return status == PGRES_COPY_IN || status == PGRES_COPY_OUT || status == PGRES_COPY_BOTH;
  }

  void take(pg_result rows, answer& so_far, std::string_view name) {
    if (ends_in_copy(rows.get())) {
      abort();
      throw query_error{"query \"" + std::string{name} +
                            "\" is a COPY, which this call cannot run; its session is closed",
                        {.code = errc::server_error,
                         .sent = sent::yes,
                         .connection_usable = false,
                         .query_name = std::string{name}}};
    }
    if (is_failure(rows.get())) {
      if (!so_far.failed) so_far.failed = std::move(rows);
    } else if (PQresultStatus(rows.get()) != PGRES_PIPELINE_ABORTED) {
      ++so_far.succeeded;
      so_far.rows = std::move(rows);
    }
  }

  /// The answer up to ReadyForQuery. In the extended protocol an implicit transaction commits after
  /// its command tag was sent, so a later error still means failure: everything is read.
  answer collect(const wait_limits& limits, std::string_view name) {
    answer all;
    while (auto rows = next_result(limits, name)) take(std::move(rows), all, name);
    all.answered = PQstatus(raw) == CONNECTION_OK;
    return all;
  }

  answer collect_pipeline(int statements, const wait_limits& limits, std::string_view name) {
    answer all{.rows = {}, .failed = {}, .expected = statements};
    for (;;) {
      auto rows = next_result(limits, name);
      if (!rows) {
        if (PQstatus(raw) != CONNECTION_OK) return all;
        continue;  // the end of one statement's results
      }
      if (PQresultStatus(rows.get()) == PGRES_PIPELINE_SYNC) {
        all.answered = true;
        PQexitPipelineMode(raw);
        return all;
      }
      take(std::move(rows), all, name);
    }
  }

  // --- statement cache -----------------------------------------------------------------------

  void prepare(const statement& what, const wait_limits& limits, timing* cost) {
    if (what.name.empty()) return;
    if (const auto known = prepared.find(what.name); known != prepared.end()) {
      if (known->second == what.sql) return;
      throw invalid_argument{
          "query \"" + std::string{what.name} + "\"",
          "the name is used with two different SQL texts; give each its own name"};
    }
    const std::string name{what.name};
    const std::string commented = "/* " + name + " */ " + std::string{what.sql};
    // Parsing waits for table locks too, so the call's own limit goes ahead of it as well.
    const auto reply = timed_exchange(
        {what.name, {}, what.until}, limits, cost ? &cost->prepare : nullptr,
        [&] { return PQsendPrepare(raw, name.c_str(), commented.c_str(), 0, nullptr) != 0; });
    require_success(reply, what, last_context, sent::no);
    prepared.emplace(name, what.sql);
  }

  // --- errors --------------------------------------------------------------------------------

  bool is_demoted() const {
    return parameter("in_hot_standby") == "on" ||
           parameter("default_transaction_read_only") == "on";
  }

  std::string parameter(const char* name) const {
    const char* value = PQparameterStatus(raw, name);
    return value == nullptr ? std::string{} : std::string{value};
  }

  /// Throws unless the statement succeeded.
  void require_success(const answer& reply, const statement& what, statement_context context,
                       enum sent how_far) {
    if (reply.failed) {
      const auto failed = server_error::from(reply.failed.get(), what.sql);
      if (failed.ends_session()) throw_ended(failed, reply, what, how_far);
      context.demoted = is_demoted();
      if (context.demoted && failed.sqlstate == sqlstate::read_only_sql_transaction) abort();
      throw_server_error(failed, context);
    }
    if (!reply.answered) throw_ended({}, reply, what, how_far);
  }

  /// A session that ended under a statement. The server announces a termination before it commits
  /// anything, so FATAL before the command tag means rolled back; otherwise an autocommit write is
  /// in doubt.
  [[noreturn]] void throw_ended(const server_error& failed, const answer& reply,
                                const statement& what, enum sent how_far) {
    const bool announced = !failed.sqlstate.empty() && !reply.completed();
    const auto why = failed.message.empty() ? libpq_message() : failed.message;
    if (how_far != sent::no && !announced && is_autocommit_write(what)) throw_in_doubt(what, why);
    throw_lost(what.name, how_far, failed.sqlstate, why);
  }

  [[nodiscard]] bool is_autocommit_write(const statement& what) const {
    return what.access == access::write && what.begin.empty() && !in_transaction;
  }

  [[noreturn]] void throw_in_doubt(const statement& what, const std::string& why) {
    abort();
    throw commit_in_doubt{
        "query \"" + std::string{what.name} + "\": sent to " + endpoint +
            ", but no answer came, so the change may or may not be stored: " + why,
        {.code = errc::commit_in_doubt,
         .sent = sent::maybe,
         .connection_usable = false,
         .query_name = std::string{what.name}},
        {.backend_pid = PQbackendPID(raw)}};
  }

  // --- one statement -------------------------------------------------------------------------

  /// The server's own limit for this statement when the call's deadline is the shorter one.
  [[nodiscard]] std::optional<milliseconds> shorter_limit(deadline until) const {
    if (until.is_never()) return std::nullopt;
    const auto left = std::chrono::ceil<milliseconds>(until.remaining());
    if (session_timeout.count() != 0 && left >= session_timeout) return std::nullopt;
    if (left > longest_limit) return std::nullopt;
    return std::max(left, milliseconds{1});
  }

  /// The setting to send ahead, if any; empty means none is needed.
  std::string limit_setting(const std::optional<milliseconds>& wanted) {
    const auto value = wanted.value_or(session_timeout);
    if (!wanted && !local_limit) return {};
    local_limit = wanted;
    return std::to_string(value.count());
  }

  void send_ahead(std::string_view begin, const std::string& limit, std::string_view name) {
    bool sent_all = PQenterPipelineMode(raw) != 0;
    if (!begin.empty()) {
      sent_all = sent_all && PQsendQueryParams(raw, std::string{begin}.c_str(), 0, nullptr, nullptr,
                                               nullptr, nullptr, 0) != 0;
    }
    if (!limit.empty()) {
      const char* values[] = {limit.c_str()};
      sent_all =
          sent_all && PQsendQueryParams(raw, "SELECT set_config('statement_timeout', $1, true)", 1,
                                        nullptr, values, nullptr, nullptr, 0) != 0;
    }
    if (!sent_all) throw_lost(name, sent::no, {}, libpq_message());
  }

  bool send(const statement& what, const bound_values& values) {
    return (what.name.empty()
                ? PQsendQueryParams(raw, std::string{what.sql}.c_str(), values.count(), nullptr,
                                    values.data(), values.sizes(), values.formats(), binary)
                : PQsendQueryPrepared(raw, std::string{what.name}.c_str(), values.count(),
                                      values.data(), values.sizes(), values.formats(), binary)) !=
           0;
  }

  /// What one round trip is about, whether it prepares or runs.
  struct round_trip {
    std::string_view name;
    std::string_view begin;
    deadline until;
  };

  /// Sends by `send_one`, with BEGIN and the limit ahead in one pipeline when there are any.
  answer exchange(const round_trip& what, const std::string& limit, const wait_limits& limits,
                  function_ref<bool()> send_one) {
    const bool pipeline = !what.begin.empty() || !limit.empty();
    if (pipeline) send_ahead(what.begin, limit, what.name);
    if (!send_one()) throw_lost(what.name, sent::no, {}, libpq_message());
    if (pipeline && PQpipelineSync(raw) == 0) throw_lost(what.name, sent::no, {}, libpq_message());
    flush(limits, what.name);
    if (!pipeline) return collect(limits, what.name);
    const int statements = 1 + (what.begin.empty() ? 0 : 1) + (limit.empty() ? 0 : 1);
    return collect_pipeline(statements, limits, what.name);
  }

  /// Waits that end early leave the fate of an autocommit write open.
  answer run_prepared(const statement& what, const wait_limits& limits, timing* cost) {
    const bound_values values{what.values};
    try {
      return timed_exchange({what.name, what.begin, what.until}, limits,
                            cost ? &cost->execute : nullptr, [&] { return send(what, values); });
    } catch (const timeout_error& unanswered) {
      if (is_autocommit_write(what)) throw_in_doubt(what, unanswered.what());
      throw;
    } catch (const cancelled& stopped) {
      if (is_autocommit_write(what)) throw_in_doubt(what, stopped.what());
      throw;
    }
  }

  /// Plans of this name are stale (their table changed) or gone (DISCARD ALL by somebody).
  static bool is_lost_statement(const server_error& failed) {
    return failed.sqlstate == sqlstate::invalid_sql_statement_name ||
           (failed.sqlstate == sqlstate::feature_not_supported &&
            failed.routine == "RevalidateCachedQuery");
  }

  /// Outside a transaction only: inside one that failed, the server forgets nothing.
  void forget_stale(const wait_limits& limits) {
    for (const auto& name : std::exchange(stale, {})) {
      prepared.erase(name);
      const std::string text = "DEALLOCATE \"" + name + "\"";
      PQsendQuery(raw, text.c_str());
      flush(limits, name);
      collect(limits, name);  // fails when the server lost it already, which is as good
    }
  }

  /// Before anything is sent a stop costs nothing.
  void require_not_stopped(const statement& what) {
    if (!what.stop.stop_requested()) return;
    throw cancelled{"query \"" + std::string{what.name} + "\" was stopped before it was sent",
                    {.code = errc::cancelled, .query_name = std::string{what.name}}};
  }

  result run(const statement& what, timing* cost) {
    require_ready(what.name, what.until);
    require_not_stopped(what);
    const stop_signal stop{what.stop};
    const wait_limits limits{what.until, stop};
    in_transaction = status() != transaction_status::idle;
    if (!in_transaction) forget_stale(limits);
    prepare(what, limits, cost);
    auto reply = run_prepared(what, limits, cost);
    if (reply.failed && !what.name.empty() &&
        is_lost_statement(server_error::from(reply.failed.get(), what.sql))) {
      stale.emplace_back(what.name);
      last_context.lost_statement = true;
      if (!in_transaction && what.begin.empty()) {
        forget_stale(limits);
        prepare(what, limits, cost);
        reply = run_prepared(what, limits, cost);
      }
    }
    require_success(reply, what, last_context, sent::maybe);
    return to_result(what.name, std::move(reply.rows));
  }

  answer timed_exchange(const round_trip& what, const wait_limits& limits,
                        std::chrono::nanoseconds* cost, function_ref<bool()> send_one) {
    const auto wanted = shorter_limit(what.until);
    const auto setting = limit_setting(wanted);
    const auto started = clock::now();
    auto reply = exchange(what, setting, limits, send_one);
    const auto took = clock::now() - started;
    if (cost != nullptr) *cost = took;
    last_context = {.name = what.name,
                    .limit = wanted.value_or(session_timeout),
                    .limit_from_deadline = wanted.has_value(),
                    .elapsed = took,
                    .demoted = false};
    if (status() == transaction_status::idle)
      local_limit.reset();  // it was local to the transaction
    return reply;
  }

  std::string command(std::string_view sql, deadline until) {
    const std::string text{sql};
    require_ready(text, until);
    const stop_signal no_stop{{}};
    const wait_limits limits{until, no_stop};
    in_transaction = status() != transaction_status::idle;
    const statement what{.name = {}, .sql = sql};
    const auto started = clock::now();
    if (PQsendQuery(raw, text.c_str()) == 0) throw_lost({}, sent::no, {}, libpq_message());
    flush(limits, {});
    const auto reply = collect(limits, {});
    // Which limit a savepoint brings back is not known: the next statement sets its own.
    if (sql.starts_with("ROLLBACK TO")) local_limit = session_timeout;
    if (status() == transaction_status::idle) local_limit.reset();
    require_success(reply, what,
                    {.name = {},
                     .limit = session_timeout,
                     .limit_from_deadline = false,
                     .elapsed = clock::now() - started},
                    sent::maybe);
    return reply.rows ? std::string{PQcmdStatus(reply.rows.get())} : std::string{};
  }

  // --- state ---------------------------------------------------------------------------------

  [[nodiscard]] bool usable() const noexcept { return !closed && PQstatus(raw) == CONNECTION_OK; }

  [[nodiscard]] transaction_status status() const noexcept {
    if (!usable()) return transaction_status::unknown;
    switch (PQtransactionStatus(raw)) {
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

  /// The handle stays with libpqxx; without its socket it can do no harm, and the server ends the
  /// backend when it notices.
  void abort() noexcept {
    if (!std::exchange(closed, true)) socket.shut_down();
  }

  PGconn* raw;
  std::string endpoint;
  milliseconds session_timeout;
  std::optional<milliseconds> local_limit;  ///< statement_timeout set inside this transaction
  socket_duplicate socket;  // before `adopted`: what opens it may throw, and it closes last
  std::unique_ptr<native_connection> adopted;
  std::map<std::string, std::string, std::less<>> prepared;  ///< name → SQL
  std::vector<std::string> stale;  ///< prepared names whose plans the server does not run any more
  statement_context last_context;
  bool in_transaction = false;
  bool closed = false;
};

std::unique_ptr<connection> connection::open(const conninfo& where, deadline until) {
  return std::unique_ptr<connection>{
      new connection{std::make_unique<impl>(connect(where, until), where)}};
}

connection::connection(std::unique_ptr<impl> state) : state_{std::move(state)} {}
connection::~connection() = default;

result connection::run(const statement& what, timing* cost) {
  return state_->run(what, cost);
}

std::string connection::command(std::string_view sql, deadline until) {
  return state_->command(sql, until);
}

bool connection::ping(deadline until) noexcept {
  try {
    state_->command("", until);
    return state_->status() == transaction_status::idle;
  } catch (const std::exception&) {
    state_->abort();
    return false;
  }
}

bool connection::quiet() const noexcept {
  pollfd watched{PQsocket(state_->raw), POLLIN | POLLRDHUP, 0};
  return ::poll(&watched, 1, 0) == 0;
}

bool connection::usable() const noexcept {
  return state_->usable();
}
transaction_status connection::status() const noexcept {
  return state_->status();
}
void connection::abort() noexcept {
  state_->abort();
}
void connection::cut() noexcept {
  state_->socket.shut_down();
}
int connection::backend_pid() const noexcept {
  return PQbackendPID(state_->raw);
}
int connection::server_version() const noexcept {
  return PQserverVersion(state_->raw);
}
std::string connection::parameter(const char* name) const {
  return state_->parameter(name);
}
void* connection::native() noexcept {
  PQsetnonblocking(state_->raw, 0);  // what libpqxx expects
  return public_face(*state_->adopted);
}

}  // namespace soundhash::db::driver
