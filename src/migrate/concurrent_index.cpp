#include "migrate/concurrent_index.hpp"

#include <soundhash/db/core/error.hpp>

namespace soundhash::db::migrate {
namespace {

constexpr std::string_view find_sql = R"sql(
SELECT i.indexrelid::regclass::text, pg_get_indexdef(i.indexrelid), i.indisvalid AND i.indisready,
       i.indrelid = t.oid
FROM pg_class t JOIN pg_class c ON c.relnamespace = t.relnamespace JOIN pg_index i
     ON i.indexrelid = c.oid
WHERE t.oid = to_regclass($1) AND c.relname = (parse_ident($2))[1])sql";

bool is_name(const token& t) {
  return t.kind == token_kind::word || t.kind == token_kind::quoted_identifier;
}

/// Takes a name, perhaps qualified, from `at` on, and moves `at` behind it.
std::string_view take_name(const sql_statement& s, std::size_t& at) {
  if (at >= s.tokens.size() || !is_name(s.tokens[at])) return {};
  const auto& first = s.tokens[at++];
  const auto* last = &first;
  while (at + 1 < s.tokens.size() && s.tokens[at].is_symbol('.') && is_name(s.tokens[at + 1])) {
    last = &s.tokens[at + 1];
    at += 2;
  }
  return {first.text.data(), last->offset + last->text.size() - first.offset};
}

std::string_view rest_from(const sql_statement& s, std::size_t at) {
  if (at >= s.tokens.size()) return {};
  return s.text.substr(s.tokens[at].offset - s.tokens.front().offset);
}

/// What pg_get_indexdef says after the names: "USING btree (a) WHERE …".
std::string_view without_names(std::string_view definition) {
  const auto at = definition.find(" USING ");
  return at == std::string_view::npos ? definition : definition.substr(at);
}

bool same_index(std::string_view a, std::string_view b) {
  constexpr std::string_view unique = "CREATE UNIQUE";
  return without_names(a) == without_names(b) && a.starts_with(unique) == b.starts_with(unique);
}

std::optional<concurrent_index> parse_create(const sql_statement& s) {
  concurrent_index parsed{.what = concurrent_index::action::create,
                          .unique = s.has_words(1, {"UNIQUE"})};
  std::size_t at = parsed.unique ? 2 : 1;
  if (!s.has_words(at, {"INDEX", "CONCURRENTLY"})) return std::nullopt;
  at += s.has_words(at + 2, {"IF", "NOT", "EXISTS"}) ? 5 : 2;
  if (s.has_words(at, {"ON"})) return std::nullopt;
  parsed.name = take_name(s, at);
  if (!s.has_words(at, {"ON"})) return std::nullopt;
  at += s.has_words(at + 1, {"ONLY"}) ? 2 : 1;
  parsed.table = take_name(s, at);
  parsed.definition = rest_from(s, at);
  return parsed;
}

std::optional<concurrent_index> parse_drop(const sql_statement& s) {
  if (!s.has_words(1, {"INDEX", "CONCURRENTLY"})) return std::nullopt;
  std::size_t at = s.has_words(3, {"IF", "EXISTS"}) ? 5 : 3;
  return concurrent_index{.what = concurrent_index::action::drop, .name = take_name(s, at)};
}

}  // namespace

std::optional<concurrent_index> parse_concurrent_index(const sql_statement& statement) {
  if (statement.has_words(0, {"CREATE"})) return parse_create(statement);
  if (statement.has_words(0, {"DROP"})) return parse_drop(statement);
  return std::nullopt;
}

bool index_repair::is_done(const concurrent_index& statement, bool resumed,
                           const std::function<void(const std::string&)>& on_drop) {
  if (statement.what == concurrent_index::action::drop) {
    return resumed && is_absent(statement.name);
  }
  const auto present = find(statement);
  if (!present) return false;
  if (present->same_table && !present->valid) {
    on_.run_foreign("DROP INDEX CONCURRENTLY " + present->qualified_name);
    on_drop(present->qualified_name);
    return false;
  }
  if (present->same_table && same_index(present->definition, intended_definition(statement))) {
    return true;
  }
  throw migration_error(errc::migration_mismatch, "there is an index " + present->qualified_name +
                                                      " of another definition already (" +
                                                      sanitize(present->definition, 300) +
                                                      "); rename or drop it");
}

void index_repair::require_valid(const concurrent_index& statement) {
  if (statement.what == concurrent_index::action::drop) return;
  const auto built = find(statement);
  if (built && built->valid) return;
  throw migration_error(errc::migration_failed,
                        "index " + std::string{statement.name} + " is not valid after its build");
}

std::optional<index_repair::found> index_repair::find(const concurrent_index& statement) {
  const auto rows = on_.query(find_sql, {statement.table, statement.name});
  if (rows.empty()) return std::nullopt;
  const auto row = rows[0];
  return found{.qualified_name = row[0].as<std::string>(),
               .definition = row[1].as<std::string>(),
               .valid = row[2].as<bool>(),
               .same_table = row[3].as<bool>()};
}

bool index_repair::is_absent(std::string_view name) {
  return on_.query("SELECT to_regclass($1) IS NULL", {name})[0][0].as<bool>();
}

/// Lets the server say how it would write the definition, on an empty copy of the table.
std::string index_repair::intended_definition(const concurrent_index& statement) {
  on_.execute("BEGIN");
  on_.execute("CREATE TEMPORARY TABLE soundhash_index_probe (LIKE " + std::string{statement.table} +
              ")");
  on_.execute(std::string{"CREATE "} + (statement.unique ? "UNIQUE " : "") +
              "INDEX soundhash_index_probe_key ON pg_temp.soundhash_index_probe " +
              std::string{statement.definition});
  const auto rows =
      on_.query("SELECT pg_get_indexdef('pg_temp.soundhash_index_probe_key'::regclass)");
  auto definition = rows[0][0].as<std::string>();
  on_.rollback();
  return definition;
}

}  // namespace soundhash::db::migrate
