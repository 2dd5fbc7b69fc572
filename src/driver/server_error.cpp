#include "driver/server_error.hpp"

#include <algorithm>
#include <array>
#include <utility>

#include <soundhash/db/core/error.hpp>
#include <soundhash/db/core/sqlstate.hpp>

namespace soundhash::db::driver {
namespace {

std::string field(const PGresult* failed, int which) {
  const char* text = PQresultErrorField(failed, which);
  return text == nullptr ? std::string{} : std::string{text};
}

/// Does everything that the message quotes stand in the SQL text?
bool quotes_only(std::string_view message, std::string_view sql) {
  for (auto open = message.find('"'); open != std::string_view::npos;) {
    const auto close = message.find('"', open + 1);
    if (close == std::string_view::npos) return false;
    if (sql.find(message.substr(open + 1, close - open - 1)) == std::string_view::npos)
      return false;
    open = message.find('"', close + 1);
  }
  return true;
}

bool is_ascii(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return (c & 0x80) == 0; });
}

/// Messages of these classes name objects, states and limits, in whatever language.
bool names_no_values(std::string_view state) {
  constexpr std::array<std::string_view, 7> classes{"23", "25", "40", "53", "55", "57", "58"};
  return std::any_of(classes.begin(), classes.end(),
                     [state](std::string_view one) { return state.starts_with(one); });
}

/// RAISE and ASSERT say what their author likes.
bool is_written_by_a_function(const server_error& failed) {
  return failed.routine == "exec_stmt_raise" || failed.routine == "exec_stmt_assert";
}

/// What a message quotes is a value unless the SQL text has it; numbers are values, too.
std::string without_values(std::string message, const server_error& failed, std::string_view sql) {
  if (is_written_by_a_function(failed)) return "raised by a function or trigger of the database";
  if (names_no_values(failed.sqlstate)) return message;
  // Other languages have other quotation marks, so there a value cannot be told from the text.
  if (!is_ascii(message)) return "(not shown: the message may hold values)";
  if (!quotes_only(message, sql)) {
    const auto first = message.find('"');
    message.replace(first, message.rfind('"') - first + 1, "\"…\"");
  }
  if (failed.sqlstate.starts_with("42")) return message;
  std::string shown;
  for (const char c : message) {
    const bool digit = c >= '0' && c <= '9';
    if (!digit) shown.push_back(c);
    if (digit && !shown.ends_with('#')) shown.push_back('#');
  }
  return shown;
}

std::string describe(const server_error& failed, const statement_context& context) {
  std::string text =
      context.name.empty() ? "statement" : "query \"" + std::string{context.name} + "\"";
  text.append(" failed: ").append(failed.sqlstate).append(" ").append(failed.message);
  return text;
}

error_details details_of(const server_error& failed, const statement_context& context, errc code) {
  return {.code = code,
          .sent = sent::yes,
          .sqlstate = failed.sqlstate,
          .query_name = std::string{context.name},
          .constraint = failed.constraint};
}

/// The server's timer fires no earlier than the limit, so a 57014 before it is somebody's cancel.
/// The message would tell too, but in the server's language.
[[noreturn]] void throw_cancelled_statement(const server_error& failed,
                                            const statement_context& context) {
  if (context.limit.count() == 0 || context.elapsed < context.limit) {
    throw query_error{describe(failed, context) + " (cancelled from outside)",
                      details_of(failed, context, errc::query_cancelled)};
  }
  const auto code =
      context.limit_from_deadline ? errc::statement_deadline : errc::statement_timeout;
  throw timeout_error{describe(failed, context) + " (limit " +
                          std::to_string(context.limit.count()) +
                          (context.limit_from_deadline ? " ms from the call's deadline)"
                                                       : " ms from DATABASE_STATEMENT_TIMEOUT)"),
                      details_of(failed, context, code)};
}

[[noreturn]] void throw_retryable(const server_error& failed, const statement_context& context,
                                  errc code) {
  auto details = details_of(failed, context, code);
  details.retryable = true;
  throw transaction_error{describe(failed, context), std::move(details)};
}

}  // namespace

server_error server_error::from(const PGresult* failed, std::string_view sql) {
  server_error error{.severity = field(failed, PG_DIAG_SEVERITY_NONLOCALIZED),
                     .sqlstate = field(failed, PG_DIAG_SQLSTATE),
                     .message = field(failed, PG_DIAG_MESSAGE_PRIMARY),
                     .constraint = field(failed, PG_DIAG_CONSTRAINT_NAME),
                     .routine = field(failed, PG_DIAG_SOURCE_FUNCTION)};
  if (error.severity.empty()) error.severity = field(failed, PG_DIAG_SEVERITY);
  if (error.message.empty()) {  // made by libpq: the first of its lines says what happened
    error.message = PQresultErrorMessage(failed);
    error.message = error.message.substr(0, error.message.find('\n'));
  }
  if (!error.sqlstate.empty()) {
    error.message = without_values(std::move(error.message), error, sql);
  }
  while (!error.message.empty() && error.message.back() == '\n') error.message.pop_back();
  error.message = sanitize(error.message, 500);
  if (error.sqlstate == sqlstate::not_null_violation && error.constraint.empty()) {
    error.constraint = field(failed, PG_DIAG_COLUMN_NAME);
  }
  return error;
}

bool server_error::ends_session() const noexcept {
  return sqlstate.empty() || severity == "FATAL" || severity == "PANIC";
}

bool server_error::is_from_server() const noexcept {
  return !sqlstate.empty() && !sqlstate.starts_with("08");
}

bool server_error::is_lost_statement() const noexcept {
  return sqlstate == db::sqlstate::invalid_sql_statement_name ||
         sqlstate == db::sqlstate::duplicate_prepared_statement ||
         (sqlstate == db::sqlstate::feature_not_supported && routine == "RevalidateCachedQuery");
}

void throw_server_error(const server_error& failed, const statement_context& context) {
  const std::string_view state = failed.sqlstate;
  if (state == sqlstate::serialization_failure) {
    throw_retryable(failed, context, errc::serialization);
  }
  if (state == sqlstate::deadlock_detected) throw_retryable(failed, context, errc::deadlock);
  if (state == sqlstate::query_canceled) throw_cancelled_statement(failed, context);
  if (state.starts_with("23")) {
    throw constraint_violation{describe(failed, context),
                               details_of(failed, context, errc::constraint)};
  }
  if (state == sqlstate::read_only_sql_transaction && context.demoted) {
    auto details = details_of(failed, context, errc::demoted_primary);
    details.retryable = true;
    details.connection_usable = false;
    throw connection_error{describe(failed, context) + " (the server is a standby now)",
                           std::move(details)};
  }
  auto details = details_of(failed, context, errc::server_error);
  details.retryable = context.lost_statement;
  throw query_error{describe(failed, context), std::move(details)};
}

}  // namespace soundhash::db::driver
