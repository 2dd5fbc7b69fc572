#include "core/json.hpp"

#include <array>
#include <charconv>
#include <cmath>
#include <cstddef>
#include <utility>

namespace soundhash::db {
namespace {

constexpr std::string_view replacement = "\xEF\xBF\xBD";

unsigned char byte_at(std::string_view text, std::size_t at) {
  return static_cast<unsigned char>(text[at]);
}

bool is_continuation(std::string_view text, std::size_t at, unsigned low, unsigned high) {
  return at < text.size() && byte_at(text, at) >= low && byte_at(text, at) <= high;
}

// The range of the second byte depends on the first: it shuts out overlong forms, surrogates and
// what lies beyond U+10FFFF (Unicode 15, table 3-7).
std::size_t sequence_length(std::string_view text, std::size_t at) {
  const unsigned first = byte_at(text, at);
  const auto second = [&](unsigned low, unsigned high) {
    return is_continuation(text, at + 1, low, high);
  };
  const auto later = [&](std::size_t offset) {
    return is_continuation(text, at + offset, 0x80, 0xBF);
  };
  if (first < 0x80) return 1;
  if (first < 0xC2 || first > 0xF4) return 0;
  if (first < 0xE0) return second(0x80, 0xBF) ? 2 : 0;
  if (first < 0xF0) {
    return second(first == 0xE0 ? 0xA0 : 0x80, first == 0xED ? 0x9F : 0xBF) && later(2) ? 3 : 0;
  }
  const bool valid = second(first == 0xF0 ? 0x90 : 0x80, first == 0xF4 ? 0x8F : 0xBF);
  return valid && later(2) && later(3) ? 4 : 0;
}

void append_ascii(std::string& out, char c) {
  constexpr std::string_view digits = "0123456789abcdef";
  switch (c) {
    case '"':
      out += "\\\"";
      return;
    case '\\':
      out += "\\\\";
      return;
    case '\n':
      out += "\\n";
      return;
    case '\t':
      out += "\\t";
      return;
    case '\r':
      out += "\\r";
      return;
    default:
      break;
  }
  const auto value = static_cast<unsigned char>(c);
  if (value >= 0x20 && value != 0x7F) {
    out += c;
  } else {
    out.append("\\u00").append(1, digits[value >> 4]).append(1, digits[value & 15]);
  }
}

}  // namespace

std::string json_string(std::string_view text) {
  std::string out = "\"";
  for (std::size_t at = 0; at < text.size();) {
    const auto length = sequence_length(text, at);
    if (length == 1) {
      append_ascii(out, text[at]);
    } else {
      out += length == 0 ? replacement : text.substr(at, length);
    }
    at += length == 0 ? 1 : length;
  }
  return out += '"';
}

std::string json_number(double value) {
  if (!std::isfinite(value)) return "null";
  std::array<char, 32> digits{};  // the longest shortest form has 24 characters
  const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), value).ptr;
  return {digits.data(), end};
}

json_object& json_object::member(std::string_view key, std::string_view value) {
  if (text_.size() > 1) text_ += ',';
  text_.append(json_string(key)).append(":").append(value);
  return *this;
}

json_object& json_object::string(std::string_view key, std::string_view text) {
  return member(key, json_string(text));
}

json_object& json_object::number(std::string_view key, double value) {
  return member(key, json_number(value));
}

json_object& json_object::count(std::string_view key, std::uint64_t value) {
  return member(key, std::to_string(value));
}

std::string json_object::close() && {
  text_ += '}';
  return std::move(text_);
}

}  // namespace soundhash::db
