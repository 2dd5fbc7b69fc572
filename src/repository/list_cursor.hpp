#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

#include <soundhash/db/core/codec.hpp>
#include <soundhash/db/core/page.hpp>

namespace soundhash::db {

/// One list, with the arguments that choose its rows, to which cursors belong.
class list_scope {
 public:
  template <class... Arguments>
  explicit list_scope(std::string_view list, const Arguments&... chosen) {
    mark(list);
    (mark(encoded(chosen)), ...);
  }

  /// The cursor of a row with these sort keys.
  template <class... Keys>
  [[nodiscard]] cursor at(const Keys&... keys) const {
    std::string packed;
    (append(packed, keys), ...);
    return seal(packed);
  }

  /// The sort keys of the row after which to go on; nullopt at the beginning.
  /// Throws: invalid_argument when it is no cursor, or another list's.
  template <class... Keys>
  [[nodiscard]] std::optional<std::tuple<Keys...>> open(const cursor& from) const {
    if (from.at_start()) return std::nullopt;
    const auto packed = unseal(from);
    std::string_view rest = packed;
    std::tuple<Keys...> keys{take<Keys>(rest)...};
    if (!rest.empty()) refuse();
    return keys;
  }

  /// The same for a list by id; 0 at the beginning.
  [[nodiscard]] std::int32_t id_after(const cursor& from) const {
    return std::get<0>(open<std::int32_t>(from).value_or(std::tuple{0}));
  }

 private:
  /// Ahead of each key: its size, or that it is NULL.
  static constexpr char null_size = '\x7f';

  template <class T>
  static std::string encoded(const T& value) {
    std::string packed;
    codec<detail::decoded_t<T>>::append_binary(packed, value);
    return packed;
  }

  template <class T>
  static void append(std::string& packed, const T& key) {
    if constexpr (detail::is_optional<T>) {
      if (key) return append(packed, *key);
      packed.push_back(null_size);
    } else {
      const auto value = encoded(key);
      packed.push_back(static_cast<char>(value.size()));
      packed.append(value);
    }
  }

  template <class T>
  static T take(std::string_view& rest) {
    if constexpr (detail::is_optional<T>) {
      if (rest.empty() || rest.front() != null_size) return take<typename T::value_type>(rest);
      rest.remove_prefix(1);
      return std::nullopt;
    } else {
      const auto size = rest.empty() ? 0U : static_cast<std::size_t>(rest.front());
      if (size == 0 || rest.size() <= size) refuse();
      T key{};
      if (!codec<T>::decode(rest.substr(1, size), codec<T>::element_oid, key)) refuse();
      rest.remove_prefix(1 + size);
      return key;
    }
  }

  void mark(std::string_view part) noexcept;
  [[nodiscard]] cursor seal(std::string_view keys) const;
  [[nodiscard]] std::string unseal(const cursor& from) const;
  [[noreturn]] static void refuse();

  std::uint64_t mark_ = 0xcbf29ce484222325;
};

/// Rows as a page; `at(row)` is the cursor of a row.
template <class T, class At>
page<T> page_of(std::vector<T> rows, int limit, At at) {
  page<T> full{std::move(rows)};
  if (full.size() == static_cast<std::size_t>(limit)) full.next = at(full.back());
  return full;
}

}  // namespace soundhash::db
