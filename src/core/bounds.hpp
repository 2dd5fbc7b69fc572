#pragma once

#include <chrono>
#include <string>
#include <string_view>

#include <soundhash/db/core/error.hpp>

namespace soundhash::db {

/// The accepted range of an option, both ends included.
template <class T>
struct bounds {
  T low;
  T high;

  [[nodiscard]] constexpr bool contains(T value) const noexcept {
    return low <= value && value <= high;
  }
};

/// A value with its unit, for messages: "10", "30000 ms", "300 s".
template <class T>
[[nodiscard]] std::string amount(T value) {
  return std::to_string(value);
}
[[nodiscard]] inline std::string amount(std::chrono::milliseconds value) {
  return std::to_string(value.count()) + " ms";
}
[[nodiscard]] inline std::string amount(std::chrono::seconds value) {
  return std::to_string(value.count()) + " s";
}

/// Throws: config_error naming the member, its value and the range, if it is out of it.
template <class T>
void require_within(std::string_view member, T value, const bounds<T>& accepted) {
  if (accepted.contains(value)) return;
  throw config_error{member, amount(value) + " is out of range",
                     amount(accepted.low) + " to " + amount(accepted.high)};
}

}  // namespace soundhash::db
