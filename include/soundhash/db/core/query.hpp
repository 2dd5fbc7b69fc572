#pragma once

#include <cstddef>
#include <string_view>

namespace soundhash::db {

/// What a statement does to the database, declared by its author and never guessed from the text.
enum class access : unsigned char {
  write,      ///< May change rows. Lost after sending outside a transaction, it is in doubt.
  read_only,  ///< Changes nothing. Lost outside a transaction, it runs once more elsewhere.
};

/// One SQL statement with one name. The name is the prepared statement, the metric label, the key
/// of the slow-query log and the SQL comment that pg_stat_activity shows.
///
/// ```
/// constexpr query find_by_video_id{"video.find_by_video_id",
///                                  "SELECT … FROM videos WHERE video_id = $1",
///                                  access::read_only};
/// ```
/// Both texts are literals, checked by the compiler: SQL is never put together from values. A name
/// has 1 to 63 bytes of `a-z A-Z 0-9 _ . -`. Using one name with two texts is an
/// `invalid_argument` when the second runs.
/// Thread safety: immutable. Lifetime: the texts live for ever.
class query {
 public:
  template <std::size_t N, std::size_t M>
  consteval query(const char (&name)[N], const char (&sql)[M], db::access access = access::write)
      : name_{name, N - 1}, sql_{sql, M - 1}, access_{access} {
    if (!valid_name(name_)) throw "a query name has 1 to 63 of the characters a-z A-Z 0-9 _ . -";
    if (sql_.find_first_not_of(" \n\t") == std::string_view::npos) throw "the SQL text is empty";
  }

  [[nodiscard]] constexpr std::string_view name() const noexcept { return name_; }
  [[nodiscard]] constexpr std::string_view sql() const noexcept { return sql_; }
  [[nodiscard]] constexpr db::access access() const noexcept { return access_; }

 private:
  static constexpr bool valid_name(std::string_view name) {
    return !name.empty() && name.size() <= 63 &&
           name.find_first_not_of(
               "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-") ==
               std::string_view::npos;
  }

  std::string_view name_;
  std::string_view sql_;
  db::access access_;
};

}  // namespace soundhash::db
