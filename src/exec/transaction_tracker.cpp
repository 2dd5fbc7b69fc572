#include "exec/transaction_tracker.hpp"

#include <optional>
#include <tuple>

#include <soundhash/db/core/row_traits.hpp>

namespace soundhash::db {
namespace {

// A function's permission is checked before a CASE around it is looked at, hence two texts each.
constexpr query may_read{"tx.may_read_control",
                         "SELECT has_function_privilege('pg_control_system()', 'EXECUTE')",
                         access::read_only};
constexpr query identity{"tx.identity",
                         "SELECT pg_current_xact_id_if_assigned()::text AS id,"
                         " left(pg_walfile_name(pg_current_wal_lsn()), 8) AS timeline,"
                         " system_identifier::text AS system_identifier FROM pg_control_system()",
                         access::read_only};
constexpr query partial_identity{"tx.partial_identity",
                                 "SELECT pg_current_xact_id_if_assigned()::text AS id,"
                                 " left(pg_walfile_name(pg_current_wal_lsn()), 8) AS timeline,"
                                 " '' AS system_identifier",
                                 access::read_only};
constexpr query outcome{"tx.outcome",
                        "SELECT pg_xact_status($1::text::xid8) AS id,"
                        " left(pg_walfile_name(pg_current_wal_lsn()), 8) AS timeline,"
                        " system_identifier::text AS system_identifier FROM pg_control_system()",
                        access::read_only};
constexpr query partial_outcome{"tx.partial_outcome",
                                "SELECT pg_xact_status($1::text::xid8) AS id,"
                                " left(pg_walfile_name(pg_current_wal_lsn()), 8) AS timeline,"
                                " '' AS system_identifier",
                                access::read_only};

/// The first column of a row is the id or its status.
transaction_identity read(const result& rows) {
  const auto row = rows[0];
  return {.id = row[0].as<std::optional<std::string>>().value_or(""),
          .timeline = row[1].as<std::string>(),
          .system_identifier = row[2].as<std::string>()};
}

bool same_history(const transaction_identity& one, const transaction_identity& other) {
  return std::tie(one.timeline, one.system_identifier) ==
         std::tie(other.timeline, other.system_identifier);
}

}  // namespace

bool transaction_tracker::may_read_control_file(runner run) {
  if (control_file_ == answer::not_asked) {
    run(may_read, {}, [this](const result& rows) {
      control_file_ = rows[0][0].as<bool>() ? answer::yes : answer::no;
    });
  }
  return control_file_ == answer::yes;
}

transaction_identity transaction_tracker::identify(runner run) {
  transaction_identity found;
  run(may_read_control_file(run) ? identity : partial_identity, {},
      [&](const result& rows) { found = read(rows); });
  return found;
}

std::optional<commit_outcome> transaction_tracker::ask(const transaction_identity& about,
                                                       runner run) {
  transaction_identity found;
  run(about.system_identifier.empty() ? partial_outcome : outcome, {about.id},
      [&](const result& rows) { found = read(rows); });
  if (!same_history(about, found)) return commit_outcome::unknown;
  const auto& status = found.id;
  if (status == "in progress") return std::nullopt;  // the server has not noticed yet
  if (status == "committed") return commit_outcome::committed;
  if (status == "aborted") return commit_outcome::rolled_back;
  return commit_outcome::unknown;  // too old
}

}  // namespace soundhash::db
