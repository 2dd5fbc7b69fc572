#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <soundhash/db/migrate/migration_report.hpp>

#include "migrate/session.hpp"

namespace soundhash::db::migrate {

/// The table `soundhash_schema_history`, one row for each version that was begun or applied.
/// Every name is qualified, since a migration may change the search path.
/// Thread safety: one thread at a time. The session must outlive it.
class history_table {
 public:
  explicit history_table(session& on) : on_{on} {}

  /// All rows by version; none when the table does not exist.
  [[nodiscard]] std::vector<migration_record> read();
  void create_if_missing();
  /// Inserts or updates. The server fills in who and, when it becomes applied, the time.
  void write(const migration_record& row);
  void erase(std::int64_t version);

 private:
  [[nodiscard]] bool exists();
  std::string with_table(std::string_view sql) const;

  session& on_;
};

/// The row of a version, or nullptr.
const migration_record* find_record(const std::vector<migration_record>& rows,
                                    std::int64_t version);

}  // namespace soundhash::db::migrate
