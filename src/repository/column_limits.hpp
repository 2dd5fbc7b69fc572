#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>

namespace soundhash::db::limits {

/// Place of a value in a batch; nullopt for a single row.
using row_number = std::optional<std::size_t>;

/// A text column and how many characters it takes.
struct text_column {
  std::string_view name;
  std::size_t max_characters = std::numeric_limits<std::size_t>::max();
};

/// Number of Unicode characters, or nullopt when `text` is not UTF-8 (RFC 3629: no overlong form,
/// no surrogate, nothing above U+10FFFF).
[[nodiscard]] std::optional<std::size_t> utf8_length(std::string_view text) noexcept;

// Each check throws invalid_argument naming the column, and the row of a batch.

/// Refuses a NUL byte, text that is not UTF-8, and more characters than the column takes.
void check(const text_column& column, std::string_view value, row_number row = {});
void check_if_set(const text_column& column, const std::optional<std::string>& value,
                  row_number row = {});

/// Refuses NaN and infinities.
void check_finite(std::string_view column, double value, row_number row = {});
void check_finite(std::string_view column, std::optional<double> value, row_number row = {});

/// Refuses what is not between `low` and `high`, both included; NaN too.
void check_range(std::string_view column, double value, double low, double high,
                 row_number row = {});
void check_range(std::string_view column, std::int32_t value, std::int32_t low, std::int32_t high,
                 row_number row = {});
void check_at_least(std::string_view column, std::int32_t value, std::int32_t low,
                    row_number row = {});

/// How many rows one call may ask for: 1 to 10000.
void check_limit(int limit);

}  // namespace soundhash::db::limits
