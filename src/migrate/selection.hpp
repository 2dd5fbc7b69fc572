#pragma once

#include <cstdint>
#include <vector>

#include <soundhash/db/migrate/migrator.hpp>

#include "migrate/file_runner.hpp"
#include "migrate/migration_file.hpp"

namespace soundhash::db::migrate {

/// Files and history side by side, and what to run of them. Touches no server.
/// Lifetime: refers to both.
class selection {
 public:
  selection(const std::vector<migration_file>& files, const std::vector<migration_record>& rows)
      : files_{files}, rows_{rows} {}

  [[nodiscard]] migration_overview overview() const;
  /// Throws: migration_error{migration_drift} for changed files, and for missing ones unless those
  /// are allowed.
  void require_no_drift(bool allow_missing_files) const;
  /// Throws: migration_error, invalid_argument, as migrator::up.
  [[nodiscard]] std::vector<file_run> up(const up_options& what) const;
  /// Throws: migration_error, invalid_argument, as migrator::down.
  [[nodiscard]] std::vector<file_run> down(const down_options& what) const;

 private:
  [[nodiscard]] const migration_file* file_of(std::int64_t version) const;
  [[nodiscard]] migration_status status_of(const migration_file& file) const;
  [[nodiscard]] bool wanted(const migration_file& file, const up_options& what) const;
  [[nodiscard]] std::int64_t highest_required() const;
  void require_known(const up_options& what) const;
  [[nodiscard]] file_run revert(const migration_record& row, const down_options& what) const;

  const std::vector<migration_file>& files_;
  const std::vector<migration_record>& rows_;
};

/// What the caller is told of a run.
migration_step describe(const file_run& run);

}  // namespace soundhash::db::migrate
