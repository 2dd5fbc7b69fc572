#pragma once

#include <compare>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include <soundhash/db/migrate/migration_report.hpp>

#include "migrate/migration_file.hpp"
#include "migrate/session.hpp"

namespace soundhash::db::migrate {

struct column_shape {
  std::string type;  ///< as format_type: "character varying(255)"
  bool not_null = false;
  bool filled_by_server = false;  ///< has a default, or is an identity or generated column

  friend bool operator==(const column_shape&, const column_shape&) = default;
};

struct table_shape {
  std::map<std::string, column_shape> columns;
  std::map<std::string, std::string> indexes;  ///< name to "UNIQUE USING btree (a) WHERE …"
  std::multiset<std::string> constraints;      ///< definitions; their names do not matter
};

/// Tables by name.
using catalog = std::map<std::string, table_shape>;

/// What the tables of one schema look like. `schema` is a name, unquoted, or "pg_temp".
catalog read_catalog(session& on, std::string_view schema);

/// What the files make of an empty database, by running those of their statements that shape
/// tables and indexes on temporary tables, in a transaction that is rolled back: PostgreSQL itself
/// says how it writes types and definitions, and the files stay the only description.
/// Throws: query_error and the like when a statement fails.
catalog modelled_catalog(session& on, const std::vector<const migration_file*>& files);

/// Where `actual` falls short of `expected` (mismatch) and what it has beyond it in the same tables
/// (extra). A further NOT NULL column without default is a mismatch: our INSERTs would fail.
std::vector<schema_finding> compare(const catalog& expected, const catalog& actual);

/// Names of indexes of the schema that are not valid.
std::vector<std::string> invalid_indexes(session& on);

}  // namespace soundhash::db::migrate
