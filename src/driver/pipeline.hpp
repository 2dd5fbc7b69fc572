#pragma once

#include <chrono>
#include <exception>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include <soundhash/db/core/deadline.hpp>
#include <soundhash/db/core/function_ref.hpp>
#include <soundhash/db/core/result.hpp>

#include "driver/connection.hpp"
#include "driver/link.hpp"
#include "driver/statement_cache.hpp"

namespace soundhash::db::driver {

/// One statement of a pipeline and what came of it: rows or a failure.
struct pipelined {
  statement what;
  timing cost{};
  result rows{};
  std::exception_ptr failure{};
};

/// Statements that travel together, outside a transaction: sent one after the other without waiting
/// for answers. Each has a Sync of its own and is thereby a transaction of its own, so that one
/// which fails takes none of the others along.
/// Thread safety: one thread at a time. Lifetime: the connection must outlive it.
class pipeline {
 public:
  explicit pipeline(connection& on) : on_{*on.state_} {}

  /// Runs all of them; new names are prepared on the way. Deadline and stop token are those of the
  /// first and hold for all. A statement that the server does not know as we do runs once more,
  /// alone. Throws: as connection::run, before anything was sent.
  void run(std::span<pipelined> statements);

 private:
  /// One that was sent and is not answered yet.
  struct pending {
    pipelined* of = nullptr;
    int prepared_at = 0;  ///< the how-manieth success means that it is prepared; 0: it was
    int expected = 1;
    std::optional<std::chrono::milliseconds> limit{};
  };

  static bool attempt(pipelined& each, function_ref<void()> step);
  void send(pending& next);
  bool send_setting(pending& next);
  bool send_prepare(pending& next);
  void flush(const wait_limits& limits, std::string_view name);
  void collect(const pending& next, const wait_limits& limits);
  void settle(const pending& next, answer reply);

  connection::impl& on_;
  statement_cache preparing_;  ///< names on their way
  deadline::clock::time_point started_{};
  deadline::clock::time_point answered_{};
  std::vector<pipelined*> lost_;
};

}  // namespace soundhash::db::driver
