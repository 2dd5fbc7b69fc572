#pragma once

#include <concepts>
#include <cstddef>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include <soundhash/db/core/codec.hpp>
#include <soundhash/db/export.hpp>

namespace soundhash::db {

/// The bound values of one statement, $1 first. Scalars travel as text, so that the server infers
/// their type from the statement; bytes and arrays travel in binary (give their type in the SQL:
/// `$1::text[]`).
/// Thread safety: a value; distinct objects are independent. Copies what it is given.
class SOUNDHASH_DB_EXPORT params {
 public:
  params() = default;

  /// Throws: invalid_argument naming "$N" when a text has a NUL byte, a value no SQL form, or
  /// 1 GiB and more.
  template <class... Ts>
  requires(sizeof...(Ts) > 0 && (encodable<Ts> && ...))
      params(const Ts&... values) {  // NOLINT(google-explicit-constructor): `{id, name}` is the use
    slots_.reserve(sizeof...(Ts));
    (append(values), ...);
  }

  /// Adds the next value. Throws: as the constructor.
  template <encodable T>
  void append(const T& value) {
    if constexpr (detail::is_optional<T>) {
      if (value) {
        append(*value);
      } else {
        slots_.push_back({buffer_.size(), 0, form::null});
      }
    } else {
      const auto start = buffer_.size();
      using traits = codec<detail::decoded_t<T>>;
      if constexpr (traits::text_parameter) {
        traits::append_text(buffer_, value);
        finish_text(start,
                    std::is_same_v<detail::decoded_t<T>, std::string> ? form::text : form::scalar);
      } else {
        traits::append_binary(buffer_, value);
        require_size(start);
        slots_.push_back({start, buffer_.size() - start, form::binary});
      }
    }
  }

  /// One value as it travels. Views live as long as this object is unchanged.
  struct view {
    const char* data;  ///< nullptr for NULL; NUL-terminated when text
    std::size_t size;
    bool binary;
    bool text;  ///< of a C++ text, which may read as a number: "1" is not 1
  };

  [[nodiscard]] std::size_t size() const noexcept { return slots_.size(); }
  [[nodiscard]] bool empty() const noexcept { return slots_.empty(); }
  /// Precondition: `i < size()`.
  [[nodiscard]] view operator[](std::size_t i) const noexcept {
    const auto& at = slots_[i];
    if (at.as == form::null) return {nullptr, 0, false, false};
    return {buffer_.data() + at.start, at.size, at.as == form::binary, at.as == form::text};
  }

 private:
  enum class form : unsigned char { null, text, scalar, binary };
  struct slot {
    std::size_t start;
    std::size_t size;
    form as;
  };

  void finish_text(std::size_t start, form as);
  void require_size(std::size_t start);

  std::string buffer_;
  std::vector<slot> slots_;
};

}  // namespace soundhash::db
