#include "driver/session_need.hpp"

#include <algorithm>
#include <array>
#include <cstddef>
#include <string>

namespace soundhash::db::driver {
namespace {

/// Ahead of a word; an empty statement is none.
constexpr std::string_view blanks = " \t\r\n\f\v;";

std::string lower_case(std::string_view text) {
  std::string lower{text};
  std::transform(lower.begin(), lower.end(), lower.begin(), [](char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  });
  return lower;
}

std::string_view after(std::string_view text, std::string_view end) {
  const auto found = text.find(end);
  return found == std::string_view::npos ? std::string_view{} : text.substr(found + end.size());
}

std::string_view without_leading_comments(std::string_view text) {
  for (;;) {
    text.remove_prefix(std::min(text.find_first_not_of(blanks), text.size()));
    if (text.starts_with("--")) {
      text = after(text, "\n");
    } else if (text.starts_with("/*")) {
      text = after(text, "*/");
    } else {
      return text;
    }
  }
}

/// The first words; what is missing is empty.
using leading_words = std::array<std::string_view, 4>;

leading_words words_of(std::string_view text) {
  leading_words words;
  for (auto& word : words) {
    text = without_leading_comments(text);
    word = text.substr(0, text.find_first_not_of("abcdefghijklmnopqrstuvwxyz_"));
    text.remove_prefix(word.size());
  }
  return words;
}

bool is_any_of(std::string_view word, std::initializer_list<std::string_view> words) {
  return std::find(words.begin(), words.end(), word) != words.end();
}

bool creates_temporary(const leading_words& words, std::string_view text) {
  const auto temporary = [](std::string_view word) {
    return is_any_of(word, {"temp", "temporary"});
  };
  return words[0] == "create" && std::any_of(words.begin(), words.end(), temporary) &&
         text.find("on commit drop") == std::string_view::npos;
}

}  // namespace

std::string_view misuse(std::string_view sql) {
  const auto text = lower_case(sql);
  const auto words = words_of(text);
  const auto names = [&](std::string_view end) {
    const auto found = text.find(end);
    return found != std::string::npos && blanks.find(text[found - 1]) != std::string_view::npos;
  };
  if (words[0] == "copy" && (names("stdin") || names("stdout"))) {
    return "is a COPY from or to the client, which only native libpqxx code can run (native.hpp)";
  }
  if (words[0] == "begin" || (words[0] == "start" && words[1] == "transaction")) {
    return "begins a transaction that no later call would be part of; use database::begin()";
  }
  return {};
}

std::string_view session_need(std::string_view sql) {
  const auto text = lower_case(sql);
  const auto has = [&](std::string_view part) { return text.find(part) != std::string::npos; };
  const auto words = words_of(text);
  const auto& [first, second, third, fourth] = words;
  if (first == "set" && !is_any_of(second, {"local", "transaction", "constraints"})) return "SET";
  if (first == "reset") return "RESET";
  if (first == "listen" || first == "unlisten") return "LISTEN";
  if (first == "discard") return "DISCARD";
  if (first == "load") return "LOAD";
  if (first == "deallocate" || (first == "prepare" && second != "transaction")) return "PREPARE";
  if (first == "declare" && has("with hold")) return "a cursor WITH HOLD";
  if (creates_temporary(words, text)) return "a temporary table that outlives its transaction";
  if (has("set_config(") && has(", false)")) return "set_config(…, false)";
  if (has("advisory_lock") || has("advisory_unlock")) return "an advisory lock of the session";
  return {};
}

}  // namespace soundhash::db::driver
