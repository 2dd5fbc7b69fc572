#pragma once

#include <chrono>

#include <soundhash/db/core/result.hpp>

#include "driver/connection.hpp"
#include "driver/link.hpp"
#include "driver/wait.hpp"

namespace soundhash::db::driver {

/// The rows of one statement while the server sends them; one at a time is in memory. The session
/// belongs to it until the last row was read or it ends.
/// Thread safety: one thread at a time. Lifetime: the connection must outlive it.
class row_stream {
 public:
  /// Sends the statement and waits for its first row. Without a deadline, each wait for a row ends
  /// after `patience`.
  /// Throws: as connection::run.
  row_stream(connection& on, const statement& what, std::chrono::milliseconds patience,
             timing* cost = nullptr);
  ~row_stream() { close(); }
  row_stream(const row_stream&) = delete;
  row_stream& operator=(const row_stream&) = delete;

  /// The next row, in the same object each time; nullptr after the last.
  /// Throws: as connection::run; the stream has ended then.
  const result* next();
  /// No more rows: reads what little is left, or closes the session, which is free then. The row
  /// that was read last stays.
  void close() noexcept;
  /// No more rows, in the child of a fork: the session is the parent's, who reads on.
  void abandon() noexcept { done_ = true; }

 private:
  const result* finish();

  connection::impl& on_;
  statement what_;
  stop_signal stop_;
  wait_limits limits_;
  deadline::clock::time_point started_;
  answer reply_;
  pg_result current_;  ///< what the cells of `rows_` point into
  result rows_;
  bool at_first_ = true;
  bool done_ = false;
};

}  // namespace soundhash::db::driver
