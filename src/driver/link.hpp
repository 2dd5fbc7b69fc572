#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <libpq-fe.h>

#include <soundhash/db/core/deadline.hpp>
#include <soundhash/db/core/error.hpp>

#include "driver/pg_result.hpp"
#include "driver/socket_duplicate.hpp"
#include "driver/wait.hpp"

namespace soundhash::db::driver {

/// One call's limits.
struct wait_limits {
  deadline until;
  const stop_signal& stop;
  /// Bounds each single wait when there is no deadline; zero: nothing does.
  std::chrono::milliseconds patience{0};

  /// When the client gives up: later than the server's limit, whose answer keeps the session.
  [[nodiscard]] deadline client_limit() const;
};

/// What the answer to one message, or to the statements before one Sync of a pipeline, came to.
struct answer {
  pg_result rows;         ///< the last result without error
  pg_result failed;       ///< the first error
  int expected = 1;       ///< statements sent: what goes ahead of ours counts too
  int succeeded = 0;      ///< command tags that came
  int ended = 0;          ///< statements of which all came
  int until = 0;          ///< reading pauses when so many ended; 0: it does not
  bool pipeline = false;  ///< a Sync ends it
  bool by_row = false;    ///< the last statement's rows come one at a time
  bool at_row = false;    ///< reading paused at one: `rows`
  bool aborted = false;   ///< a failure before it kept the last statement from running
  bool copies = false;    ///< it is a COPY: what it did is not known
  bool answered = false;  ///< the server's ReadyForQuery came

  /// Our statement was done, so its change may be durable although nothing more came.
  [[nodiscard]] bool completed() const noexcept { return succeeded >= expected; }
};

/// The bytes of one session: sends what libpq has queued and reads answers without ever blocking
/// past a call's limits. `name` is the query's, for messages.
/// Thread safety: one thread at a time, except cut().
class link {
 public:
  /// The handle stays somebody else's and must outlive this.
  link(PGconn* session, std::string endpoint)
      : raw_{session}, endpoint_{std::move(endpoint)}, socket_{PQsocket(session)} {}

  [[nodiscard]] PGconn* raw() const noexcept { return raw_; }
  /// "host:port", for messages.
  [[nodiscard]] const std::string& endpoint() const noexcept { return endpoint_; }
  /// False once the link is gone or was closed.
  [[nodiscard]] bool usable() const noexcept { return !closed_ && PQstatus(raw_) == CONNECTION_OK; }
  /// Closes the socket now. The handle stays; without its socket it can do no harm, and the server
  /// ends the backend when it notices.
  void abort() noexcept;
  /// Ends the socket from another thread.
  /// Thread safety: safe for concurrent use.
  void cut() noexcept { socket_.shut_down(); }

  /// Sends everything that libpq has queued.
  /// Throws: timeout_error, cancelled; the link is closed then.
  void flush(const wait_limits& limits, std::string_view name);
  /// Reads an answer up to ReadyForQuery, or up to where it pauses: where rows come one at a time,
  /// at each of them. In the extended protocol an implicit transaction commits after its command
  /// tag was sent, so a later error still means failure: everything is read. Throws: as flush(),
  /// and again for each further answer that was waited for. A COPY closes the link; what was sent
  /// after it is not answered.
  void read_on(answer& so_far, const wait_limits& limits, std::string_view name);
  /// The whole answer to one message.
  answer collect(const wait_limits& limits, std::string_view name);
  /// Reads what is left of an answer that nobody wants any more; what has not come by `until` is
  /// not waited for.
  void read_off(answer& so_far, deadline until) noexcept;
  /// After all answers of a pipeline.
  void leave_pipeline() noexcept { PQexitPipelineMode(raw_); }

  /// Throws: what the wait threw that closed the link, if one did.
  void require_not_interrupted(std::string_view name) {
    if (interrupted_) throw_interrupted(*interrupted_, name);
  }

  /// Waits for notifications of the channels that the session listens to and gives their payloads;
  /// none when `until` has passed or `stop` fires.
  /// Throws: connection_error{lost}.
  std::vector<std::string> notifications(deadline until, const stop_signal& stop);

  /// libpq's own words for what is wrong with the link.
  [[nodiscard]] std::string message() const;
  /// Closes the link and throws connection_error{lost}.
  [[noreturn]] void throw_lost(std::string_view name, enum sent how_far, std::string_view state,
                               const std::string& why);

 private:
  [[noreturn]] void throw_interrupted(wake how, std::string_view name);
  void wait(short events, const wait_limits& limits, std::string_view name);
  void consume();
  pg_result next_result(const wait_limits& limits, std::string_view name);
  void begin_statement(const answer& so_far) noexcept;
  void take(pg_result rows, answer& so_far);

  PGconn* raw_;
  std::string endpoint_;
  socket_duplicate socket_;
  bool closed_ = false;
  bool closed_by_copy_ = false;
  std::optional<wake> interrupted_;  ///< how a wait ended that closed the link
};

}  // namespace soundhash::db::driver
