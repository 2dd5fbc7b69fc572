#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <soundhash/db/migrate/migration_source.hpp>

#include "migrate/statement_splitter.hpp"

namespace soundhash::db::migrate {

/// One SQL file, read.
struct migration_script {
  std::string file_name;
  std::string text;      ///< without byte order mark, line ends are LF
  std::string checksum;  ///< SHA-256 of `text`
  bool transactional = true;
  bool optional = false;
  bool loses_data = false;
  std::optional<std::chrono::milliseconds> lock_timeout;
  std::optional<std::chrono::milliseconds> statement_timeout;

  /// Lifetime: views into `text`.
  [[nodiscard]] std::vector<sql_statement> statements() const { return split_statements(text); }
};

/// One version.
struct migration_file {
  std::int64_t version = 0;
  std::string name;
  migration_script up;
  std::optional<migration_script> down;
};

/// What a file name says. nullopt unless it is `NNNN_name.up.sql` or `NNNN_name.down.sql` with 4 to
/// 18 digits and a name of a-z, 0-9 and _.
struct migration_file_name {
  std::int64_t version = 0;
  std::string name;
  bool is_up = true;
};
std::optional<migration_file_name> parse_file_name(std::string_view file_name);

/// Text with CRLF and CR turned into LF and a leading byte order mark dropped; else unchanged.
std::string normalize_text(std::string_view text);

/// "5s", "200ms", "10min", "1h" or "0". nullopt for anything else or more than 24 days.
std::optional<std::chrono::milliseconds> parse_duration(std::string_view text);

/// Reads the directives of the leading comments and checks the statements.
/// Throws: migration_error naming the file and line: unknown directive, transaction control, COPY
/// FROM STDIN, open quote.
migration_script parse_script(std::string file_name, std::string_view text);

/// Pairs the files, by version.
/// Throws: migration_error as parse_script, for an unreadable name, two files of one version and a
/// down file without its up file.
std::vector<migration_file> parse_files(const migration_source& source);

}  // namespace soundhash::db::migrate
