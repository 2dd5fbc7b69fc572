#include "migrate/catalog.hpp"

#include <algorithm>
#include <optional>

#include <soundhash/db/core/error.hpp>

namespace soundhash::db::migrate {
namespace {

using kind = schema_finding::kind;

// $1 is a schema's name; pg_temp stands for this session's own temporary schema.
constexpr std::string_view columns_sql = R"sql(
SELECT c.relname, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull,
       a.atthasdef OR a.attidentity <> ''
FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
WHERE c.relkind IN ('r', 'p') AND a.attnum > 0 AND NOT a.attisdropped
  AND c.relnamespace = CASE WHEN $1 = 'pg_temp' THEN pg_my_temp_schema()
                            ELSE (SELECT oid FROM pg_namespace WHERE nspname = $1) END)sql";

constexpr std::string_view indexes_sql = R"sql(
SELECT t.relname, c.relname, i.indisunique, pg_get_indexdef(i.indexrelid)
FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_class t ON t.oid = i.indrelid
WHERE t.relkind IN ('r', 'p')
  AND t.relnamespace = CASE WHEN $1 = 'pg_temp' THEN pg_my_temp_schema()
                            ELSE (SELECT oid FROM pg_namespace WHERE nspname = $1) END)sql";

constexpr std::string_view constraints_sql = R"sql(
SELECT t.relname, pg_get_constraintdef(k.oid)
FROM pg_constraint k JOIN pg_class t ON t.oid = k.conrelid
WHERE t.relkind IN ('r', 'p') AND k.contype IN ('p', 'u', 'f', 'c', 'x')
  AND t.relnamespace = CASE WHEN $1 = 'pg_temp' THEN pg_my_temp_schema()
                            ELSE (SELECT oid FROM pg_namespace WHERE nspname = $1) END)sql";

constexpr std::string_view invalid_sql = R"sql(
SELECT c.relname FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
WHERE NOT (i.indisvalid AND i.indisready)
  AND c.relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = current_schema())
ORDER BY 1)sql";

/// Definitions name the schema of the table: only what follows it can be compared.
std::string without_names(const std::string& definition, bool unique) {
  const auto at = definition.find(" USING ");
  return (unique ? "UNIQUE" : "") + definition.substr(at == std::string::npos ? 0 : at);
}

bool shapes_tables(const sql_statement& s) {
  for (const auto* object : {"TABLE", "INDEX"}) {
    for (const auto* verb : {"CREATE", "ALTER", "DROP"}) {
      if (s.has_words(0, {verb, object})) return true;
    }
  }
  return s.has_words(0, {"CREATE", "UNIQUE", "INDEX"});
}

/// The statement without CONCURRENTLY, which no transaction allows.
std::string runnable_in_transaction(const sql_statement& s) {
  std::string text{s.text};
  for (const auto& t : s.tokens) {
    if (!t.is("CONCURRENTLY")) continue;
    text.replace(t.offset - s.tokens.front().offset, t.text.size(), t.text.size(), ' ');
  }
  return text;
}

void run_model(session& on, const std::vector<const migration_file*>& files) {
  on.execute("SET LOCAL search_path = pg_temp");
  for (const auto* file : files) {
    for (const auto& statement : file->up.statements()) {
      if (shapes_tables(statement)) on.run_foreign(runnable_in_transaction(statement));
    }
  }
}

class comparison {
 public:
  void table(const std::string& name, const table_shape& expected, const table_shape& actual) {
    for (const auto& [column, shape] : expected.columns) {
      const auto at = actual.columns.find(column);
      check_column(name + "." + column, shape, at == actual.columns.end() ? nullptr : &at->second);
    }
    for (const auto& [column, shape] : actual.columns) {
      if (!expected.columns.contains(column)) further_column(name + "." + column, shape);
    }
    indexes(expected, actual);
    constraints(name, expected, actual);
  }
  void missing_table(const std::string& name) { add(kind::mismatch, name, "the table is missing"); }

  std::vector<schema_finding> findings;

 private:
  void add(kind what, const std::string& subject, const std::string& problem) {
    findings.push_back({what, sanitize(subject, 200), sanitize(problem, 400)});
  }

  void check_column(const std::string& name, const column_shape& expected,
                    const column_shape* actual) {
    if (actual == nullptr) return add(kind::mismatch, name, "the column is missing");
    if (expected.type != actual->type) {
      add(kind::mismatch, name, "is " + actual->type + ", should be " + expected.type);
    }
    if (expected.not_null != actual->not_null) {
      add(kind::mismatch, name, expected.not_null ? "should be NOT NULL" : "should be nullable");
    }
    if (expected.filled_by_server && !actual->filled_by_server) {
      add(kind::mismatch, name, "should have a default");
    }
  }

  void further_column(const std::string& name, const column_shape& shape) {
    const bool in_the_way = shape.not_null && !shape.filled_by_server;
    add(in_the_way ? kind::mismatch : kind::extra, name,
        in_the_way ? "is an unknown column that every INSERT would have to fill"
                   : "is a column that no migration makes");
  }

  void indexes(const table_shape& expected, const table_shape& actual) {
    for (const auto& [name, definition] : expected.indexes) {
      const auto at = actual.indexes.find(name);
      if (at == actual.indexes.end()) {
        add(kind::mismatch, name, "the index is missing: " + definition);
      } else if (at->second != definition) {
        add(kind::mismatch, name, "is" + at->second + ", should be" + definition);
      }
    }
    for (const auto& [name, definition] : actual.indexes) {
      if (!expected.indexes.contains(name)) {
        add(kind::extra, name, "is an index that no migration makes");
      }
    }
  }

  void constraints(const std::string& table, const table_shape& expected,
                   const table_shape& actual) {
    for (const auto& definition : expected.constraints) {
      if (actual.constraints.count(definition) < expected.constraints.count(definition)) {
        add(kind::mismatch, table, "the constraint is missing: " + definition);
      }
    }
  }
};

}  // namespace

catalog read_catalog(session& on, std::string_view schema) {
  catalog tables;
  const auto columns = on.query(columns_sql, {schema});
  for (std::size_t i = 0; i < columns.size(); ++i) {
    const auto row = columns[i];
    tables[row[0].as<std::string>()].columns[row[1].as<std::string>()] = {
        row[2].as<std::string>(), row[3].as<bool>(), row[4].as<bool>()};
  }
  const auto indexes = on.query(indexes_sql, {schema});
  for (std::size_t i = 0; i < indexes.size(); ++i) {
    const auto row = indexes[i];
    tables[row[0].as<std::string>()].indexes[row[1].as<std::string>()] =
        without_names(row[3].as<std::string>(), row[2].as<bool>());
  }
  const auto constraints = on.query(constraints_sql, {schema});
  for (std::size_t i = 0; i < constraints.size(); ++i) {
    const auto row = constraints[i];
    tables[row[0].as<std::string>()].constraints.insert(row[1].as<std::string>());
  }
  return tables;
}

catalog modelled_catalog(session& on, const std::vector<const migration_file*>& files) {
  on.execute("BEGIN");
  try {
    run_model(on, files);
    auto tables = read_catalog(on, "pg_temp");
    on.rollback();
    return tables;
  } catch (...) {
    on.rollback();
    throw;
  }
}

std::vector<schema_finding> compare(const catalog& expected, const catalog& actual) {
  comparison check;
  for (const auto& [name, shape] : expected) {
    const auto at = actual.find(name);
    if (at == actual.end()) {
      check.missing_table(name);
    } else {
      check.table(name, shape, at->second);
    }
  }
  return std::move(check.findings);
}

std::vector<std::string> invalid_indexes(session& on) {
  std::vector<std::string> names;
  const auto rows = on.query(invalid_sql);
  for (std::size_t i = 0; i < rows.size(); ++i) names.push_back(rows[i][0].as<std::string>());
  return names;
}

}  // namespace soundhash::db::migrate
