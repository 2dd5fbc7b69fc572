#pragma once

#include <cstddef>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <string_view>

namespace soundhash::db {

/// Largest accepted `.env` file, in bytes.
inline constexpr std::size_t dotenv_size_limit = std::size_t{1} << 20U;

/// Parses the text of a `.env` file in the dialect of python-dotenv: `export ` prefixes, quotes
/// with their escapes (`\\ \'` in single, `\\ \' \" \a \b \f \n \r \t \v` in double quotes), quoted
/// values over several lines, ` #` comments, any line ending, a byte order mark. Of a name that is
/// set twice the last counts; a name without `=` is unset. Nothing is expanded: `${NAME}` stays as
/// it is. Where python-dotenv warns and goes on, this throws. `file` is named in errors. Throws:
/// config_error naming file and line; never text of the file, which may be secret.
[[nodiscard]] std::map<std::string, std::string> parse_dotenv(std::string_view text,
                                                              std::string_view file);

/// What a `.env` file holds.
struct dotenv_file {
  std::map<std::string, std::string> variables;
  bool readable_by_others = false;  ///< by the group or the world
};

/// Reads and parses a file; nullopt when there is none.
/// Throws: config_error when it cannot be read, is not a regular file, is larger than
/// `dotenv_size_limit`, or as parse_dotenv.
[[nodiscard]] std::optional<dotenv_file> read_dotenv(const std::filesystem::path& path);

}  // namespace soundhash::db
