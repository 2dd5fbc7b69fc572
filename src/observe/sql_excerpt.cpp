#include "observe/sql_excerpt.hpp"

#include <soundhash/db/core/error.hpp>

namespace soundhash::db {
namespace {

constexpr std::string_view white_space = " \t\n\r\f\v";

std::string collapsed(std::string_view sql) {
  std::string out;
  while (true) {
    const auto begin = sql.find_first_not_of(white_space);
    if (begin == std::string_view::npos) return out;
    sql.remove_prefix(begin);
    const auto word = sql.substr(0, sql.find_first_of(white_space));
    if (!out.empty()) out += ' ';
    out += word;
    sql.remove_prefix(word.size());
  }
}

bool is_utf8_continuation(char c) {
  return (static_cast<unsigned char>(c) & 0xC0U) == 0x80U;
}

void cut(std::string& text, std::size_t cap) {
  while (cap > 0 && is_utf8_continuation(text[cap])) --cap;
  text.replace(cap, std::string::npos, "…");
}

}  // namespace

std::string sql_excerpt(std::string_view sql, std::size_t cap) {
  auto text = collapsed(sql);
  if (text.size() > cap) cut(text, cap);
  return sanitize(text, std::numeric_limits<std::size_t>::max());
}

}  // namespace soundhash::db
