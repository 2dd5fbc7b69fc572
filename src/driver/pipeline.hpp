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
/// for answers. A write has a Sync of its own and is thereby a transaction of its own; reads that
/// follow each other share one, since each Sync costs the server a write and us a wake-up. What
/// a failed read keeps from running is sent once more, each with a Sync of its own, so that no
/// statement takes another along.
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
    int expected = 1;         ///< what was sent for it, with what goes ahead
    bool prepares = false;    ///< just ahead of it
    bool ends_group = false;  ///< a Sync follows
    std::optional<std::chrono::milliseconds> limit{};
  };
  enum class syncs : unsigned char { shared, each };

  void pass(const std::vector<pipelined*>& statements, syncs how, const wait_limits& limits);
  std::vector<pending> send_all(const std::vector<pipelined*>& statements, syncs how);
  void flush(const wait_limits& limits, std::string_view name);
  static bool attempt(pipelined& each, function_ref<void()> step);
  void send(pending& next);
  bool send_setting(pending& next);
  bool send_prepare(pending& next);
  void end_group(std::vector<pending>& under_way);
  void collect(const pending& next, const wait_limits& limits);
  answer read(const pending& next, const wait_limits& limits);
  void note(const pending& next);
  void void_group(const answer& reply, const statement& what);

  connection::impl& on_;
  statement_cache preparing_;  ///< names on their way
  /// What the server was told for the group that is being sent; nullopt: it has not begun.
  std::optional<std::optional<std::chrono::milliseconds>> group_limit_;
  deadline::clock::time_point started_{};
  deadline::clock::time_point answered_{};
  std::vector<pipelined*> group_;  ///< answered since the last Sync
  std::vector<pipelined*> again_;  ///< kept from running by a failure before them
  std::vector<pipelined*> lost_;   ///< of which the server lost the plan
};

}  // namespace soundhash::db::driver
