#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include <soundhash/db/core/deadline.hpp>
#include <soundhash/db/core/param.hpp>
#include <soundhash/db/core/query.hpp>
#include <soundhash/db/core/result.hpp>

#include "driver/conninfo.hpp"

namespace soundhash::db::driver {

/// One statement to run.
struct statement {
  /// Prepared under this name, except behind a pooler; empty: unprepared.
  std::string_view name;
  std::string_view sql;
  const params* values = nullptr;  ///< nullptr: none
  db::access access = db::access::write;
  /// Sent ahead in the same round trip when a transaction is to begin: "BEGIN …". Empty: none.
  std::string_view begin{};
  deadline until{};
  std::stop_token stop{};
  bool by_row = false;  ///< its rows come one at a time: set by row_stream
};

/// What one statement cost.
struct timing {
  std::chrono::nanoseconds prepare{};
  std::chrono::nanoseconds execute{};
};

enum class transaction_status : std::uint8_t { idle, active, in_transaction, failed, unknown };

/// One session. The only code that sees libpqxx and libpq.
/// Thread safety: one thread at a time, except cut().
/// Every wait is bounded by the statement's deadline plus a small grace, so that the server's own
/// timeout comes first; a session that ran past it, or was stopped, is closed and never reused.
class connection {
 public:
  /// Throws: connection_error (with sent = no) or timeout_error.
  static std::unique_ptr<connection> open(const conninfo& where, deadline until);

  ~connection();
  connection(const connection&) = delete;
  connection& operator=(const connection&) = delete;

  /// Runs one statement with bound values and gives its rows in binary form. In a transaction, a
  /// deadline shorter than the session's statement timeout is also set on the server.
  /// Throws: the server's error by the table in error.hpp; connection_error{lost},
  /// timeout_error{deadline_exceeded}, cancelled, after which the session is closed.
  result run(const statement& what, timing* cost = nullptr);

  /// Runs SQL text without values through the simple protocol; several statements separated by
  /// semicolons are one implicit transaction. Returns the last command tag: "COMMIT", "INSERT 0 1".
  /// Throws: as run().
  std::string command(std::string_view sql, deadline until);

  /// Waits for notifications of the channels that the session listens to and gives their payloads;
  /// none when `until` has passed or a stop was requested, and then the session stays usable.
  /// Throws: connection_error{lost}.
  std::vector<std::string> notifications(deadline until, const std::stop_token& stop);

  /// Empty round trip. False when the session is dead; never throws for that.
  bool ping(deadline until) noexcept;

  /// Looks at the socket without a round trip: false when the peer hung up or sent something.
  [[nodiscard]] bool quiet() const noexcept;

  /// False once the link is gone or the session was closed.
  [[nodiscard]] bool usable() const noexcept;
  [[nodiscard]] transaction_status status() const noexcept;

  /// Closes the socket now, without waiting for the server.
  void abort() noexcept;

  /// Ends the link from any thread: the thread that uses the session, also one blocked inside libpq
  /// or libpqxx, gets the error of a lost link. The session is of no use afterwards.
  /// Thread safety: safe on any thread while this object lives.
  void cut() noexcept;

  [[nodiscard]] int backend_pid() const noexcept;
  /// True when another process than the one that answered the connect runs our statements: a pooler
  /// hands its clients a cancel key of its own. One round trip. Throws: as run().
  [[nodiscard]] bool is_behind_pooler(deadline until);
  [[nodiscard]] int server_version() const noexcept;  ///< 150018 for 15.18
  /// A setting that the server reports: "TimeZone", "in_hot_standby". Empty when unknown.
  [[nodiscard]] std::string parameter(const char* name) const;

  /// The libpqxx connection around this session (pqxx::connection_base* on 6.4, pqxx::connection*
  /// on 7+), for native.hpp.
  [[nodiscard]] void* native() noexcept;

 private:
  friend class row_stream;
  friend class pipeline;
  struct impl;
  explicit connection(std::unique_ptr<impl> state);

  std::unique_ptr<impl> state_;
};

}  // namespace soundhash::db::driver
