#pragma once

#include <memory>
#include <string>
#include <string_view>

#include <soundhash/db/core/param.hpp>
#include <soundhash/db/core/result.hpp>
#include <soundhash/db/database_options.hpp>

#include "driver/connection.hpp"

namespace soundhash::db::migrate {

/// The migrator's own direct connection, without time limits of the server.
/// Thread safety: one thread at a time.
class session {
 public:
  /// Throws: connection_error, timeout_error; connection_error{refused_behind_pooler} when a pooler
  /// is in between; migration_error when the schema does not exist.
  explicit session(const database_options& options);

  /// A statement of the migrator's own, bounded by a minute. Throws: as driver::connection.
  result query(std::string_view sql, const params& values = {});
  /// The same, without values and rows.
  void execute(std::string_view sql);
  /// A statement of a migration, bounded by the server's settings alone.
  void run_foreign(std::string_view sql);
  /// COMMIT. Throws: migration_error when the server rolled back instead.
  void commit();
  /// Ends a transaction if one is open; drops the connection when that fails. Never throws.
  void rollback() noexcept;
  /// Undoes what a migration did to the session: settings and role.
  void reset();
  void abort() noexcept { link_->abort(); }

  [[nodiscard]] bool usable() const noexcept { return link_->usable(); }
  /// The schema, quoted where needed, to qualify names in SQL text.
  [[nodiscard]] const std::string& schema() const noexcept { return schema_; }

 private:
  void find_schema(const std::string& configured);

  std::unique_ptr<driver::connection> link_;
  std::string schema_;
};

}  // namespace soundhash::db::migrate
