#pragma once

#include <array>
#include <cstddef>
#include <optional>
#include <string_view>

namespace soundhash::db {

/// What a tag holds in Redis: random bytes that no process ever makes twice, and no child of a fork
/// repeats, so that a stamp that was removed never comes back.
/// Thread safety: a value.
class stamp {
 public:
  static constexpr std::size_t size = 16;

  /// Throws: std::system_error when the kernel gives no random bytes.
  [[nodiscard]] static stamp random();
  /// nullopt for bytes that are none.
  [[nodiscard]] static std::optional<stamp> from(std::string_view bytes) noexcept;

  [[nodiscard]] std::string_view bytes() const noexcept { return {bytes_.data(), size}; }
  friend bool operator==(const stamp&, const stamp&) = default;

 private:
  std::array<char, size> bytes_{};
};

}  // namespace soundhash::db
