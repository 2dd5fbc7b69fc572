#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <soundhash/db/export.hpp>

namespace soundhash::db {

/// One SQL file of a migration, by its name `NNNN_name.up.sql` or `NNNN_name.down.sql`.
struct migration_text {
  std::string file_name;
  std::string text;
};

/// The SQL files that a migrator works with. Names and contents are checked by the migrator.
struct migration_source {
  std::vector<migration_text> files;

  /// The files that were built into this library.
  [[nodiscard]] SOUNDHASH_DB_EXPORT static migration_source embedded();
  /// All files of a folder that end in `.sql`.
  /// Throws: migration_error when the folder or a file cannot be read.
  [[nodiscard]] SOUNDHASH_DB_EXPORT static migration_source from_directory(
      const std::filesystem::path& directory);
};

/// Creates an empty pair of files for a new migration, numbered after the last one of the folder
/// but not below 100 (lower numbers are the upstream's), and returns their paths, up first.
/// `name` has 1 to 60 of the characters a-z, 0-9 and _.
/// Throws: invalid_argument for another name; migration_error when the folder cannot be read or a
/// file cannot be written.
SOUNDHASH_DB_EXPORT std::pair<std::filesystem::path, std::filesystem::path> create_migration(
    const std::filesystem::path& directory, std::string_view name);

}  // namespace soundhash::db
