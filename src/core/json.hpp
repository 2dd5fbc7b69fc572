#pragma once

#include <cstdint>
#include <string>
#include <string_view>

/// Just enough of JSON (RFC 8259) to write it.
namespace soundhash::db {

/// The text as a JSON string, quotes included. Bytes that are not UTF-8 become U+FFFD.
std::string json_string(std::string_view text);

/// The shortest decimal that reads back as the same number, in no locale; null for infinities and
/// NaN, which JSON does not have.
std::string json_number(double value);

/// One object, written member by member.
/// Thread safety: one thread at a time.
class json_object {
 public:
  /// `value` is JSON already.
  json_object& member(std::string_view key, std::string_view value);
  json_object& string(std::string_view key, std::string_view text);
  json_object& number(std::string_view key, double value);
  json_object& count(std::string_view key, std::uint64_t value);
  /// The object; add no members afterwards.
  [[nodiscard]] std::string close() &&;

 private:
  std::string text_ = "{";
};

/// One array of values that are JSON already: `json_array(list, [](const auto& x) { return …; })`.
template <class Range, class Render>
std::string json_array(const Range& values, const Render& render) {
  std::string text = "[";
  for (const auto& value : values) {
    if (text.size() > 1) text += ',';
    text += render(value);
  }
  return text += ']';
}

}  // namespace soundhash::db
