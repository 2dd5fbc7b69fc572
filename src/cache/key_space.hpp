#pragma once

#include <string>
#include <string_view>

#include <soundhash/db/core/cache_tag.hpp>
#include <soundhash/db/core/param.hpp>
#include <soundhash/db/core/query.hpp>

namespace soundhash::db {

/// The names of what one database keeps in Redis:
///
///     soundhash:NAME:v:QUERY:…   rows of a query, its parameters behind
///     soundhash:NAME:m:KEY       a value that a service named itself
///     soundhash:NAME:t:TAG       the stamp of a tag; TAG is "*" for the global one
///     soundhash:NAME:t:=VALUE    a message to near caches: the value with this key is deleted
///     soundhash:NAME:run         the server's run_id when it was last met
///
/// Thread safety: immutable.
class key_space {
 public:
  /// A name for a database: no two databases have the same, and none that a user may configure.
  [[nodiscard]] static std::string name_of(std::string_view system_identifier,
                                           std::string_view database, std::string_view schema);

  explicit key_space(std::string_view name);

  /// What all keys begin with.
  [[nodiscard]] const std::string& prefix() const noexcept { return prefix_; }
  /// What the keys of all tags begin with, and no other key.
  [[nodiscard]] std::string tag_prefix() const { return prefix_ + "t:"; }
  [[nodiscard]] std::string global_tag() const { return tag_prefix() + "*"; }
  [[nodiscard]] std::string tag(const cache_tag& tag) const { return tag_prefix() + tag.text(); }
  [[nodiscard]] std::string run() const { return prefix_ + "run"; }

  /// The key of a query with its parameters: each with form and length, so that no two lists of
  /// parameters have the same.
  [[nodiscard]] std::string rows(const query& statement, const params& values) const;
  [[nodiscard]] std::string named(std::string_view key) const;
  [[nodiscard]] bool is_value(std::string_view key) const noexcept;
  /// A tag of one value, which near caches alone know: written when the value is deleted.
  [[nodiscard]] std::string value_tag(std::string_view value_key) const;
  /// The pattern of SCAN for values, of queries and named ones, whose name matches `pattern`.
  [[nodiscard]] std::string values_like(std::string_view pattern) const;

 private:
  std::string prefix_;
};

}  // namespace soundhash::db
