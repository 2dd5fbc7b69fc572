#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace soundhash::db::migrate {

enum class token_kind : std::uint8_t { word, quoted_identifier, literal, number, symbol };

/// One token of SQL. The view points into the text.
struct token {
  token_kind kind;
  std::string_view text;
  std::size_t offset;  ///< in the text, bytes

  /// True for this bare word, in any case. `upper` must be upper case.
  [[nodiscard]] bool is(std::string_view upper) const noexcept;
  [[nodiscard]] bool is_symbol(char c) const noexcept {
    return kind == token_kind::symbol && text.front() == c;
  }
};

/// Cuts SQL into tokens as PostgreSQL does with standard_conforming_strings on; comments (nested
/// too) and white space are left out. Operators come one character at a time.
/// Source: PostgreSQL documentation 4.1, "Lexical Structure".
/// Lifetime: the text must outlive the lexer and its tokens.
class sql_lexer {
 public:
  explicit sql_lexer(std::string_view text) noexcept : text_{text} {}

  /// The next token, or nullopt at the end.
  /// Throws: migration_error for a quote or comment that is never closed.
  std::optional<token> next();

 private:
  void skip_blank();
  void skip_block_comment();
  token take(token_kind kind, std::size_t end);
  std::size_t end_of_quoted(std::size_t from, bool backslash) const;
  std::size_t end_of_word(std::size_t from) const noexcept;
  std::size_t end_of_dollar_tag(std::size_t from) const noexcept;
  token dollar(std::size_t from);
  [[noreturn]] void fail_unterminated(std::size_t from, std::string_view what) const;
  [[nodiscard]] char at(std::size_t i) const noexcept { return i < text_.size() ? text_[i] : '\0'; }

  std::string_view text_;
  std::size_t at_ = 0;
};

/// The line, counted from 1, of a byte offset.
std::size_t line_of(std::string_view text, std::size_t offset) noexcept;

}  // namespace soundhash::db::migrate
