#pragma once

#include <cstddef>
#include <string_view>
#include <vector>

#include "migrate/sql_lexer.hpp"

namespace soundhash::db::migrate {

/// One statement of a file, without its semicolon. Views point into the file's text.
struct sql_statement {
  std::string_view text;
  std::size_t line = 0;  ///< of its first token, from 1
  std::vector<token> tokens;

  /// True when the tokens from `from` on are these bare words (upper case).
  [[nodiscard]] bool has_words(std::size_t from, std::vector<std::string_view> words) const;
  /// True when one of its tokens is this bare word (upper case).
  [[nodiscard]] bool mentions(std::string_view word) const;
};

/// Cuts a file into statements at the semicolons that end one: not those in quotes, comments,
/// parentheses (CREATE RULE) or a BEGIN ATOMIC … END body of a function. Empty ones are left out.
/// Throws: migration_error for a quote or comment that is never closed.
/// Lifetime: the text must outlive the statements.
std::vector<sql_statement> split_statements(std::string_view text);

}  // namespace soundhash::db::migrate
