#include <algorithm>
#include <array>
#include <utility>

#include <soundhash/db/core/error.hpp>
#include <soundhash/db/core/sqlstate.hpp>

namespace soundhash::db {
namespace {

constexpr std::array<std::string_view, 38> code_names{"refused",
                                                      "name_resolution",
                                                      "connect_timeout",
                                                      "not_ready",
                                                      "too_many_connections",
                                                      "authentication",
                                                      "configuration",
                                                      "tls",
                                                      "refused_behind_pooler",
                                                      "lost",
                                                      "demoted_primary",
                                                      "pool_timeout",
                                                      "pool_overloaded",
                                                      "pool_closed",
                                                      "nested_acquire",
                                                      "used_after_fork",
                                                      "deadline_exceeded",
                                                      "statement_timeout",
                                                      "statement_deadline",
                                                      "query_cancelled",
                                                      "server_error",
                                                      "constraint",
                                                      "serialization",
                                                      "deadlock",
                                                      "rolled_back",
                                                      "unannounced",
                                                      "commit_in_doubt",
                                                      "decode",
                                                      "invalid_argument",
                                                      "no_row",
                                                      "several_rows",
                                                      "cancelled",
                                                      "migration_failed",
                                                      "migration_pending",
                                                      "migration_drift",
                                                      "migration_half_applied",
                                                      "migration_locked",
                                                      "migration_mismatch"};
static_assert(code_names.size() == static_cast<std::size_t>(errc::migration_mismatch) + 1);

error_details before_sending(errc code) {
  return {.code = code};
}

std::string decode_message(std::string_view query_name, std::string_view column,
                           std::string_view sql_type, std::string_view cpp_type,
                           std::string_view problem) {
  std::string text = "query \"";
  text.append(query_name).append("\": column \"").append(sanitize(column)).append("\" (");
  text.append(sql_type).append(") cannot be read as ").append(cpp_type).append(": ");
  return text.append(problem);
}

std::string argument_message(std::string_view argument, std::string_view problem,
                             std::optional<std::size_t> row) {
  std::string text{argument};
  if (row) text.append(" of row ").append(std::to_string(*row));
  return text.append(": ").append(problem);
}

std::string cardinality_message(std::string_view query_name, std::size_t rows) {
  std::string text = "query \"";
  text.append(query_name).append("\" returned ");
  return rows == 0
             ? text.append("no row where exactly one was expected")
             : text.append(std::to_string(rows)).append(" rows where at most one was expected");
}

/// Removes the first bytes of a character whose rest is cut off.
void drop_partial_character(std::string& text) {
  const auto is = [&](unsigned kind) {
    return !text.empty() && (static_cast<unsigned char>(text.back()) & 0xC0U) == kind;
  };
  while (is(0x80)) text.pop_back();
  if (is(0xC0)) text.pop_back();
}

std::string config_message(std::string_view variable, std::string_view problem,
                           std::string_view accepted) {
  std::string text{variable};
  text.append(": ").append(problem);
  if (!accepted.empty()) text.append("; accepted: ").append(accepted);
  return text;
}

}  // namespace

std::string_view to_string(errc code) noexcept {
  const auto index = static_cast<std::size_t>(code);
  return index < code_names.size() ? code_names[index] : "unknown";
}

std::string_view to_string(enum sent value) noexcept {
  switch (value) {
    case sent::no:
      return "no";
    case sent::maybe:
      return "maybe";
    case sent::yes:
      return "yes";
  }
  return "unknown";
}

error::error(const std::string& message, error_details details)
    : std::runtime_error{message},
      details_{std::make_shared<const error_details>(std::move(details))} {}
error::~error() = default;
error::error(const error&) noexcept = default;
error& error::operator=(const error&) noexcept = default;

errc error::code() const noexcept {
  return details_->code;
}
enum sent error::sent() const noexcept {
  return details_->sent;
}
bool error::retryable() const noexcept {
  return details_->retryable;
}
bool error::connection_usable() const noexcept {
  return details_->connection_usable;
}
std::string_view error::sqlstate() const noexcept {
  return details_->sqlstate;
}
std::string_view error::query_name() const noexcept {
  return details_->query_name;
}

// Out of line, so that each type has one home for its vtable and type information.
connection_error::~connection_error() = default;
pool_error::~pool_error() = default;
timeout_error::~timeout_error() = default;
query_error::~query_error() = default;
constraint_violation::~constraint_violation() = default;
transaction_error::~transaction_error() = default;
commit_in_doubt::~commit_in_doubt() = default;
decode_error::~decode_error() = default;
invalid_argument::~invalid_argument() = default;
cardinality_error::~cardinality_error() = default;
cancelled::~cancelled() = default;
config_error::~config_error() = default;
migration_error::~migration_error() = default;

constraint_kind constraint_violation::kind() const noexcept {
  const auto& state = details().sqlstate;
  if (state == sqlstate::unique_violation) return constraint_kind::unique;
  if (state == sqlstate::foreign_key_violation) return constraint_kind::foreign_key;
  if (state == sqlstate::not_null_violation) return constraint_kind::not_null;
  if (state == sqlstate::check_violation) return constraint_kind::check;
  if (state == sqlstate::exclusion_violation) return constraint_kind::exclusion;
  return constraint_kind::other;
}

std::string_view constraint_violation::constraint() const noexcept {
  return details().constraint;
}

commit_in_doubt::commit_in_doubt(const std::string& message, error_details details,
                                 doubt_details known, resolver resolve)
    : error{message, std::move(details)},
      known_{std::make_shared<const doubt_details>(std::move(known))},
      resolve_{std::make_shared<const resolver>(std::move(resolve))} {}
commit_in_doubt::commit_in_doubt(const commit_in_doubt&) noexcept = default;
commit_in_doubt& commit_in_doubt::operator=(const commit_in_doubt&) noexcept = default;

commit_outcome commit_in_doubt::resolve(std::chrono::milliseconds timeout) const {
  return *resolve_ ? (*resolve_)(timeout) : commit_outcome::unknown;
}

decode_error::decode_error(std::string_view query_name, std::string_view column,
                           std::string_view sql_type, std::string_view cpp_type,
                           std::string_view problem)
    : error{decode_message(query_name, column, sql_type, cpp_type, problem),
            {.code = errc::decode, .sent = sent::yes, .query_name = std::string{query_name}}},
      column_{std::make_shared<const std::string>(column)} {}

invalid_argument::invalid_argument(std::string_view argument, std::string_view problem,
                                   std::optional<std::size_t> row)
    : error{argument_message(argument, problem, row), before_sending(errc::invalid_argument)},
      argument_{std::make_shared<const std::string>(argument)},
      row_{row} {}

cardinality_error::cardinality_error(std::string_view query_name, std::size_t rows)
    : error{cardinality_message(query_name, rows),
            {.code = rows == 0 ? errc::no_row : errc::several_rows,
             .sent = sent::yes,
             .query_name = std::string{query_name}}} {}

config_error::config_error(std::string_view variable, std::string_view problem,
                           std::string_view accepted)
    : error{config_message(variable, problem, accepted), before_sending(errc::configuration)},
      variable_{std::make_shared<const std::string>(variable)} {}

migration_error::migration_error(errc code, const std::string& message, std::string_view sqlstate)
    : error{message, {.code = code, .sent = sent::maybe, .sqlstate = std::string{sqlstate}}} {}

std::string sanitize(std::string_view text, std::size_t cap) {
  constexpr std::string_view digits = "0123456789abcdef";
  std::string out;
  out.reserve(std::min(text.size(), cap));
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (out.size() >= cap) {
      if ((byte & 0xC0U) == 0x80) drop_partial_character(out);
      return out.append("…");
    }
    if (byte < 0x20 || byte == 0x7F) {
      out.append("\\x").push_back(digits[byte >> 4U]);
      out.push_back(digits[byte & 0xFU]);
    } else {
      out.push_back(c);
    }
  }
  return out;
}

}  // namespace soundhash::db
