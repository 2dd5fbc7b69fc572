#pragma once

#include <chrono>
#include <cstdint>
#include <string_view>

#include <soundhash/db/export.hpp>

namespace soundhash::db {

class error;

/// What kind of statement an event is about. Only `user` statements count in the five figures of
/// `metrics_snapshot`.
enum class statement_kind : std::uint8_t { user, transaction, ping, migration };

/// The name: "user", "transaction", "ping", "migration". Lives for ever.
SOUNDHASH_DB_EXPORT std::string_view to_string(statement_kind kind) noexcept;

/// One statement on its way. The same object is passed to on_start and on_finish, on the same
/// thread, so its address can key what an interceptor remembers in between.
/// Lifetime: valid during the call only, views included (names and SQL of queries live for ever).
struct statement_event {
  statement_kind kind = statement_kind::user;
  std::string_view name;  ///< query name, or "tx.begin", "tx.commit", "tx.rollback", …
  std::string_view sql;
  /// Wait for a connection; zero when one was handed out at once.
  std::chrono::nanoseconds acquire{};
  /// Time to prepare the statement on this connection; zero when it was prepared already.
  std::chrono::nanoseconds prepare{};
  /// From sending to the complete answer. A BEGIN travels with the first statement of its
  /// transaction, and its time is in that statement's.
  std::chrono::nanoseconds execute{};
  /// Time to read the rows into C++; measured for results of 16 rows and more.
  std::chrono::nanoseconds decode{};
  std::uint64_t rows = 0;          ///< rows returned or touched
  const error* failure = nullptr;  ///< set in on_finish when the statement failed
  std::string_view sqlstate{};     ///< of the failure, else empty
};

/// Watches every statement: tracing, logging, metrics. Register it in
/// `database_options::interceptors`.
/// Thread safety: called from all threads that use the database; implementations must be safe for
/// concurrent use. What they throw is counted and otherwise ignored: a query never fails for it.
class SOUNDHASH_DB_EXPORT interceptor {
 public:
  virtual ~interceptor();
  /// Before the statement is sent; only kind, name, sql and acquire are set.
  virtual void on_start(const statement_event&) {}
  /// After its rows were read, or after it failed; called also when on_start threw. Interceptors
  /// finish in the reverse of the order in which they start.
  virtual void on_finish(const statement_event&) {}

 protected:
  interceptor() = default;
  interceptor(const interceptor&) = default;
  interceptor& operator=(const interceptor&) = default;
};

}  // namespace soundhash::db
