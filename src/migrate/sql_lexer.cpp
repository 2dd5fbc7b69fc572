#include "migrate/sql_lexer.hpp"

#include <algorithm>
#include <cctype>

#include <soundhash/db/core/error.hpp>

namespace soundhash::db::migrate {
namespace {

bool starts_word(char c) {
  const auto u = static_cast<unsigned char>(c);
  return std::isalpha(u) || c == '_' || u >= 0x80;
}

bool continues_tag(char c) {
  return starts_word(c) || std::isdigit(static_cast<unsigned char>(c));
}

bool is_space(char c) {
  return std::isspace(static_cast<unsigned char>(c)) != 0;
}

}  // namespace

bool token::is(std::string_view upper) const noexcept {
  return kind == token_kind::word &&
         std::equal(text.begin(), text.end(), upper.begin(), upper.end(),
                    [](unsigned char a, char b) { return std::toupper(a) == b; });
}

std::optional<token> sql_lexer::next() {
  skip_blank();
  if (at_ >= text_.size()) return std::nullopt;
  const char c = at(at_);
  if ((c == 'e' || c == 'E') && at(at_ + 1) == '\'') {
    return take(token_kind::literal, end_of_quoted(at_ + 1, true));
  }
  if (starts_word(c)) return take(token_kind::word, end_of_word(at_));
  if (c == '\'') return take(token_kind::literal, end_of_quoted(at_, false));
  if (c == '"') return take(token_kind::quoted_identifier, end_of_quoted(at_, false));
  if (c == '$') return dollar(at_);
  if (std::isdigit(static_cast<unsigned char>(c))) {
    return take(token_kind::number, end_of_word(at_));
  }
  return take(token_kind::symbol, at_ + 1);
}

void sql_lexer::skip_blank() {
  for (;;) {
    while (at_ < text_.size() && is_space(text_[at_])) ++at_;
    if (at(at_) == '-' && at(at_ + 1) == '-') {
      at_ = std::min(text_.find('\n', at_), text_.size());
    } else if (at(at_) == '/' && at(at_ + 1) == '*') {
      skip_block_comment();
    } else {
      return;
    }
  }
}

void sql_lexer::skip_block_comment() {
  const auto start = at_;
  int depth = 0;
  do {
    if (at_ >= text_.size()) fail_unterminated(start, "comment");
    if (at(at_) == '/' && at(at_ + 1) == '*') {
      ++depth;
      at_ += 2;
    } else if (at(at_) == '*' && at(at_ + 1) == '/') {
      --depth;
      at_ += 2;
    } else {
      ++at_;
    }
  } while (depth > 0);
}

token sql_lexer::take(token_kind kind, std::size_t end) {
  const token taken{kind, text_.substr(at_, end - at_), at_};
  at_ = end;
  return taken;
}

std::size_t sql_lexer::end_of_quoted(std::size_t from, bool backslash) const {
  const char quote = text_[from];
  for (auto i = from + 1; i < text_.size(); ++i) {
    if (backslash && text_[i] == '\\') {
      ++i;
    } else if (text_[i] == quote) {
      if (at(i + 1) != quote) return i + 1;
      ++i;
    }
  }
  fail_unterminated(from, quote == '"' ? "quoted identifier" : "string");
}

std::size_t sql_lexer::end_of_word(std::size_t from) const noexcept {
  while (from < text_.size() && (continues_tag(text_[from]) || text_[from] == '$')) ++from;
  return from;
}

std::size_t sql_lexer::end_of_dollar_tag(std::size_t from) const noexcept {
  auto i = from + 1;
  if (starts_word(at(i))) {
    while (continues_tag(at(i))) ++i;
  }
  return at(i) == '$' ? i + 1 : from;
}

token sql_lexer::dollar(std::size_t from) {
  const auto body = end_of_dollar_tag(from);
  if (body == from) return take(token_kind::symbol, from + 1);
  const auto tag = text_.substr(from, body - from);
  const auto close = text_.find(tag, body);
  if (close == std::string_view::npos) fail_unterminated(from, "dollar-quoted string");
  return take(token_kind::literal, close + tag.size());
}

void sql_lexer::fail_unterminated(std::size_t from, std::string_view what) const {
  throw migration_error(errc::migration_failed, "line " + std::to_string(line_of(text_, from)) +
                                                    ": this " + std::string{what} +
                                                    " is never closed");
}

std::size_t line_of(std::string_view text, std::size_t offset) noexcept {
  const auto head = text.substr(0, offset);
  return 1 + static_cast<std::size_t>(std::count(head.begin(), head.end(), '\n'));
}

}  // namespace soundhash::db::migrate
