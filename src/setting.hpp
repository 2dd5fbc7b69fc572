#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include <soundhash/db/core/secret.hpp>
#include <soundhash/db/database_options.hpp>

#include "core/bounds.hpp"

/// How one environment variable becomes one member of `database_options`, and what members may
/// hold. Everything here throws config_error naming the variable or member, the problem and the
/// accepted form.
namespace soundhash::db::settings {

inline constexpr std::string_view text_form = "text without control characters";
inline constexpr bounds<std::uint16_t> port_bounds{1, 65'535};

struct variable {
  std::string_view name;
  std::string_view value;
};

struct setting {
  std::string_view name;
  void (*read)(database_options& into, const variable& given);
};

// --- the value of a variable ---

/// Only for variables that are not secret: the message repeats the value.
[[noreturn]] void refuse(const variable& given, std::string_view problem,
                         std::string_view accepted);

[[nodiscard]] std::string_view trimmed(std::string_view text);
[[nodiscard]] std::optional<std::int64_t> whole_number(std::string_view text);

/// A whole number in a range. `note` tells the meaning of special values.
[[nodiscard]] std::int64_t number(const variable& given, bounds<std::int64_t> range,
                                  std::string_view unit = {}, std::string_view note = {});
[[nodiscard]] std::chrono::milliseconds in_milliseconds(
    const variable& given, const bounds<std::chrono::milliseconds>& range,
    std::string_view note = {});
[[nodiscard]] std::chrono::seconds in_seconds(const variable& given,
                                              const bounds<std::chrono::seconds>& range,
                                              std::string_view note = {});
[[nodiscard]] std::uint16_t port(const variable& given);
[[nodiscard]] std::size_t count(const variable& given, const bounds<std::size_t>& range,
                                std::string_view unit = {});
[[nodiscard]] bool flag(const variable& given);
[[nodiscard]] std::string text(const variable& given);
[[nodiscard]] secret hidden(const variable& given);

// --- the value of a member ---

[[nodiscard]] bool has_control_character(std::string_view text);
void require_text(std::string_view member, std::string_view value, std::string_view accepted,
                  bool fits);
/// Not empty, without control characters.
void require_name(std::string_view member, std::string_view value);
void require_no_nul(std::string_view member, std::string_view value);

}  // namespace soundhash::db::settings
