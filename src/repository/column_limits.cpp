#include "repository/column_limits.hpp"

#include <cmath>

#include <fmt/format.h>

#include <soundhash/db/core/error.hpp>

namespace soundhash::db::limits {
namespace {

struct lead_byte {
  std::size_t following;     ///< continuation bytes
  unsigned char second_low;  ///< range of the first of them
  unsigned char second_high;
};

/// Table 3-7 of the Unicode standard, "Well-Formed UTF-8 Byte Sequences".
std::optional<lead_byte> classify(unsigned char lead) noexcept {
  if (lead < 0x80) return lead_byte{0, 0, 0};
  if (lead < 0xC2) return std::nullopt;
  if (lead < 0xE0) return lead_byte{1, 0x80, 0xBF};
  if (lead == 0xE0) return lead_byte{2, 0xA0, 0xBF};
  if (lead == 0xED) return lead_byte{2, 0x80, 0x9F};
  if (lead < 0xF0) return lead_byte{2, 0x80, 0xBF};
  if (lead == 0xF0) return lead_byte{3, 0x90, 0xBF};
  if (lead < 0xF4) return lead_byte{3, 0x80, 0xBF};
  if (lead == 0xF4) return lead_byte{3, 0x80, 0x8F};
  return std::nullopt;
}

/// Does `text` hold the continuation bytes that `lead` at `at` asks for?
bool continues(std::string_view text, std::size_t at, const lead_byte& lead) noexcept {
  if (text.size() - at <= lead.following) return false;
  for (std::size_t i = 1; i <= lead.following; ++i) {
    const auto byte = static_cast<unsigned char>(text[at + i]);
    const bool first = i == 1;
    if (byte < (first ? lead.second_low : 0x80)) return false;
    if (byte > (first ? lead.second_high : 0xBF)) return false;
  }
  return true;
}

}  // namespace

std::optional<std::size_t> utf8_length(std::string_view text) noexcept {
  std::size_t characters = 0;
  for (std::size_t at = 0; at < text.size(); ++characters) {
    const auto lead = classify(static_cast<unsigned char>(text[at]));
    if (!lead || !continues(text, at, *lead)) return std::nullopt;
    at += 1 + lead->following;
  }
  return characters;
}

void check(const text_column& column, std::string_view value, row_number row) {
  if (value.find('\0') != std::string_view::npos) {
    throw invalid_argument{column.name, "the text has a NUL byte, which PostgreSQL cannot store",
                           row};
  }
  const auto characters = utf8_length(value);
  if (!characters) throw invalid_argument{column.name, "the text is not valid UTF-8", row};
  if (*characters > column.max_characters) {
    throw invalid_argument{column.name,
                           fmt::format("the text has {} characters, the column takes {}",
                                       *characters, column.max_characters),
                           row};
  }
}

void check_if_set(const text_column& column, const std::optional<std::string>& value,
                  row_number row) {
  if (value) check(column, std::string_view{*value}, row);
}

void check_finite(std::string_view column, double value, row_number row) {
  if (!std::isfinite(value)) {
    throw invalid_argument{column, "the number must be finite, neither NaN nor infinite", row};
  }
}

void check_finite(std::string_view column, std::optional<double> value, row_number row) {
  if (value) check_finite(column, *value, row);
}

void check_range(std::string_view column, double value, double low, double high, row_number row) {
  if (value >= low && value <= high) return;
  throw invalid_argument{column, fmt::format("{} is not between {} and {}", value, low, high), row};
}

void check_range(std::string_view column, std::int32_t value, std::int32_t low, std::int32_t high,
                 row_number row) {
  if (value >= low && value <= high) return;
  throw invalid_argument{column, fmt::format("{} is not between {} and {}", value, low, high), row};
}

void check_at_least(std::string_view column, std::int32_t value, std::int32_t low, row_number row) {
  check_range(column, value, low, std::numeric_limits<std::int32_t>::max(), row);
}

void check_limit(int limit) {
  check_range("limit", limit, 1, 10'000);
}

}  // namespace soundhash::db::limits
