#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "migrate/session.hpp"
#include "migrate/statement_splitter.hpp"

namespace soundhash::db::migrate {

/// CREATE INDEX CONCURRENTLY or DROP INDEX CONCURRENTLY. Names are as written. Views point into the
/// statement's text.
struct concurrent_index {
  enum class action : std::uint8_t { create, drop };
  action what{};
  bool unique = false;
  std::string_view name{};
  std::string_view table{};       ///< create only
  std::string_view definition{};  ///< create only: what follows the table
};

/// nullopt for every other statement, and for CREATE INDEX CONCURRENTLY without a name.
std::optional<concurrent_index> parse_concurrent_index(const sql_statement& statement);

/// Makes such a statement safe to repeat. These statements cannot share a transaction with their
/// record, so a kill can fall between the two, and one in the middle leaves an INVALID index that
/// IF NOT EXISTS would take for a good one.
/// Thread safety: one thread at a time. The session must outlive it.
class index_repair {
 public:
  explicit index_repair(session& on) : on_{on} {}

  /// Drops an invalid index in the way; `on_drop` gets its name. True when the statement need not
  /// run: a valid index of the same definition is there, or (`resumed`) the index is gone already.
  /// Throws: migration_error{migration_mismatch} for an index of the name with another definition.
  bool is_done(const concurrent_index& statement, bool resumed,
               const std::function<void(const std::string&)>& on_drop);
  /// Throws: migration_error when the index that was just built is not valid.
  void require_valid(const concurrent_index& statement);

 private:
  struct found {
    std::string qualified_name;
    std::string definition;
    bool valid;
    bool same_table;
  };
  std::optional<found> find(const concurrent_index& statement);
  bool is_absent(std::string_view name);
  std::string intended_definition(const concurrent_index& statement);

  session& on_;
};

}  // namespace soundhash::db::migrate
