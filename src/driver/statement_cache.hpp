#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace soundhash::db::driver {

/// The named statements of one session: which texts the server knows under their names, and which
/// of those it does not run any more. It needs no bound: names are literals of the program, so they
/// are as few as its queries.
/// Thread safety: one thread at a time.
class statement_cache {
 public:
  /// The text of a statement as sent to the server; nullptr when the name is new here. Lifetime:
  /// until the name is forgotten.
  /// Throws: invalid_argument when the name stands for another SQL text.
  [[nodiscard]] const std::string* find(std::string_view name, std::string_view sql) const;
  /// Remembers a new name with its text, as text_of() made it.
  const std::string& add(std::string_view name, std::string text);

  /// The server has lost this statement, or another text under its name, or its plan is stale.
  void mark_stale(std::string_view name);
  /// Forgets the names marked as stale and tells them.
  std::vector<std::string> take_stale();

  /// The SQL with its name ahead as a comment, for those who watch the server.
  [[nodiscard]] static std::string text_of(std::string_view name, std::string_view sql);

 private:
  std::map<std::string, std::string, std::less<>> texts_;
  std::vector<std::string> stale_;
};

}  // namespace soundhash::db::driver
