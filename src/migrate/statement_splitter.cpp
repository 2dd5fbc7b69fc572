#include "migrate/statement_splitter.hpp"

#include <algorithm>
#include <utility>

namespace soundhash::db::migrate {
namespace {

/// Tells where a statement ends while its tokens go by. The rule for bodies is psql's: BEGIN and
/// CASE open and END closes, in CREATE [OR REPLACE] FUNCTION or PROCEDURE only.
class nesting {
 public:
  /// True when this token is the semicolon that ends the statement made of `before`.
  bool ends(const token& next, const sql_statement& before) {
    if (next.is_symbol('(')) ++parentheses_;
    if (next.is_symbol(')') && parentheses_ > 0) --parentheses_;
    if (parentheses_ == 0 && next.kind == token_kind::word) follow_body(next, before);
    return next.is_symbol(';') && parentheses_ == 0 && bodies_ == 0;
  }
  void reset() { parentheses_ = bodies_ = 0; }

 private:
  static bool creates_routine(const sql_statement& s) {
    const std::size_t kind = s.has_words(0, {"CREATE", "OR", "REPLACE"}) ? 3 : 1;
    return s.has_words(0, {"CREATE"}) &&
           (s.has_words(kind, {"FUNCTION"}) || s.has_words(kind, {"PROCEDURE"}));
  }

  void follow_body(const token& next, const sql_statement& before) {
    if (!creates_routine(before)) return;
    if (next.is("BEGIN") || (next.is("CASE") && bodies_ > 0)) ++bodies_;
    if (next.is("END") && bodies_ > 0) --bodies_;
  }

  int parentheses_ = 0;
  int bodies_ = 0;
};

void close(sql_statement& current, std::string_view text, std::vector<sql_statement>& into) {
  if (!current.tokens.empty()) {
    const auto& first = current.tokens.front();
    const auto& last = current.tokens.back();
    current.text = text.substr(first.offset, last.offset + last.text.size() - first.offset);
    current.line = line_of(text, first.offset);
    into.push_back(std::move(current));
  }
  current = {};
}

}  // namespace

bool sql_statement::has_words(std::size_t from, std::vector<std::string_view> words) const {
  if (tokens.size() < from + words.size()) return false;
  return std::equal(words.begin(), words.end(), tokens.begin() + static_cast<std::ptrdiff_t>(from),
                    [](std::string_view word, const token& t) { return t.is(word); });
}

bool sql_statement::mentions(std::string_view word) const {
  return std::any_of(tokens.begin(), tokens.end(), [&](const token& t) { return t.is(word); });
}

std::vector<sql_statement> split_statements(std::string_view text) {
  std::vector<sql_statement> statements;
  sql_statement current;
  nesting depth;
  sql_lexer lexer{text};
  while (const auto next = lexer.next()) {
    if (depth.ends(*next, current)) {
      close(current, text, statements);
      depth.reset();
    } else {
      current.tokens.push_back(*next);
    }
  }
  close(current, text, statements);
  return statements;
}

}  // namespace soundhash::db::migrate
