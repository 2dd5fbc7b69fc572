#include "setting.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <string>
#include <system_error>

#include <soundhash/db/core/error.hpp>

namespace soundhash::db::settings {

using std::chrono::milliseconds;
using std::chrono::seconds;

namespace {

/// libpq reads texts up to their first NUL byte, so one would cut them in silence.
bool has_nul(std::string_view text) {
  return text.find('\0') != std::string_view::npos;
}

}  // namespace

bool has_control_character(std::string_view text) {
  return std::any_of(text.begin(), text.end(),
                     [](unsigned char c) { return c < 0x20 || c == 0x7F; });
}

void refuse(const variable& given, std::string_view problem, std::string_view accepted) {
  throw config_error{given.name, "\"" + sanitize(given.value, 64) + "\" " + std::string{problem},
                     accepted};
}

std::string_view trimmed(std::string_view text) {
  constexpr std::string_view whitespace = " \t\r\n\v\f";
  const auto first = std::min(text.find_first_not_of(whitespace), text.size());
  return text.substr(first, text.find_last_not_of(whitespace) + 1 - first);
}

std::optional<std::int64_t> whole_number(std::string_view text) {
  std::int64_t number = 0;
  const auto* end = text.data() + text.size();
  const auto [stop, failure] = std::from_chars(text.data(), end, number);
  if (failure != std::errc{} || stop != end) return std::nullopt;
  return number;
}

std::int64_t number(const variable& given, bounds<std::int64_t> range, std::string_view unit,
                    std::string_view note) {
  const auto value = whole_number(trimmed(given.value));
  if (value && range.contains(*value)) return *value;
  std::string accepted = "a whole number";
  if (!unit.empty()) accepted.append(" of ").append(unit);
  accepted.append(", ").append(amount(range.low)).append(" to ").append(amount(range.high));
  if (!note.empty()) accepted.append("; ").append(note);
  refuse(given, value ? "is out of range" : "is not a whole number in range", accepted);
}

milliseconds in_milliseconds(const variable& given, const bounds<milliseconds>& range,
                             std::string_view note) {
  return milliseconds{number(given, {range.low.count(), range.high.count()}, "milliseconds", note)};
}

seconds in_seconds(const variable& given, const bounds<seconds>& range, std::string_view note) {
  return seconds{number(given, {range.low.count(), range.high.count()}, "seconds", note)};
}

std::uint16_t port(const variable& given) {
  return static_cast<std::uint16_t>(number(given, {port_bounds.low, port_bounds.high}));
}

std::size_t count(const variable& given, const bounds<std::size_t>& range, std::string_view unit) {
  return static_cast<std::size_t>(number(
      given, {static_cast<std::int64_t>(range.low), static_cast<std::int64_t>(range.high)}, unit));
}

bool flag(const variable& given) {
  constexpr std::array<std::string_view, 4> yes{"true", "1", "yes", "on"};
  constexpr std::array<std::string_view, 4> no{"false", "0", "no", "off"};
  std::string word{trimmed(given.value)};
  std::transform(word.begin(), word.end(), word.begin(), [](char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  });
  if (std::find(yes.begin(), yes.end(), word) != yes.end()) return true;
  if (std::find(no.begin(), no.end(), word) != no.end()) return false;
  refuse(given, "is not a boolean", "true, false, 1, 0, yes, no, on or off");
}

std::string text(const variable& given) {
  if (has_control_character(given.value)) refuse(given, "holds a control character", text_form);
  return std::string{given.value};
}

secret hidden(const variable& given) {
  if (has_nul(given.value)) throw config_error{given.name, "holds a NUL byte", "text without it"};
  return secret{std::string{given.value}};
}

void require_text(std::string_view member, std::string_view value, std::string_view accepted,
                  bool fits) {
  if (fits) return;
  throw config_error{member, "\"" + sanitize(value, 64) + "\" is not accepted", accepted};
}

void require_name(std::string_view member, std::string_view value) {
  require_text(member, value, "text that is not empty, without control characters",
               !value.empty() && !has_control_character(value));
}

void require_no_nul(std::string_view member, std::string_view value) {
  if (has_nul(value)) throw config_error{member, "holds a NUL byte", "text without it"};
}

}  // namespace soundhash::db::settings
