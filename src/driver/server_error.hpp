#pragma once

#include <chrono>
#include <string>
#include <string_view>

#include <libpq-fe.h>

namespace soundhash::db::driver {

/// The fields of an error result that this library uses. DETAIL, HINT and CONTEXT are left out on
/// purpose: they repeat values of rows.
struct server_error {
  /// "ERROR", "FATAL", "PANIC", not localised (a pooler sends no such field, but has no other
  /// language either); empty when libpq made it.
  std::string severity;
  std::string sqlstate;  ///< empty when libpq made it
  std::string message;   ///< escaped, capped, without bound values
  std::string constraint;
  std::string routine;  ///< the server's C function

  /// `sql` is the text of the statement: what the server quotes from it is no secret.
  static server_error from(const PGresult* failed, std::string_view sql);

  /// The session is gone: FATAL or PANIC, or no answer of the server at all.
  [[nodiscard]] bool ends_session() const noexcept;

  /// Said by PostgreSQL itself. Class 08 speaks of a link: behind a pooler it is the pooler's word,
  /// which does not know what became of the statement.
  [[nodiscard]] bool is_from_server() const noexcept;

  /// The plans of the statement's name are stale (their table changed), gone (DISCARD ALL by
  /// somebody) or not ours (native code, or a pooler's other client, took the name).
  [[nodiscard]] bool is_lost_statement() const noexcept;
};

/// What the statement was, for the error's text and type.
struct statement_context {
  std::string_view name;
  /// The server's limit that applied, zero if none, and whether a call's own deadline set it.
  std::chrono::milliseconds limit{};
  bool limit_from_deadline = false;
  std::chrono::nanoseconds elapsed{};
  bool demoted = false;         ///< the server says that it is a standby or read-only
  bool lost_statement = false;  ///< a stale or lost plan: the transaction may simply run again
};

/// Throws the exception that the table in error.hpp names for this error of a living session.
[[noreturn]] void throw_server_error(const server_error& failed, const statement_context& context);

}  // namespace soundhash::db::driver
