#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include <soundhash/db/core/codec.hpp>
#include <soundhash/db/core/result.hpp>
#include <soundhash/db/core/row_traits.hpp>
#include <soundhash/db/export.hpp>

namespace soundhash::db::testing {

/// The answer of a statement, written down in a test:
/// ```
/// rows{"id", "label"}.add(1, "a").add(2, std::optional<std::string>{})
/// rows::of<tag>({{.id = 1, .label = "a"}})          // columns from row_traits<tag>
/// ```
/// A column has the SQL type of its C++ values, taken from the last row added; `int` is int4, text
/// is text, arrays are of unknown type, which every decoder accepts.
/// Thread safety: a value.
class SOUNDHASH_DB_EXPORT rows {
 public:
  /// Without any column: what a statement that returns no rows answers.
  rows() = default;
  rows(std::initializer_list<std::string> column_names);

  /// One row from each struct.
  template <mapped_row T>
  [[nodiscard]] static rows of(const std::vector<T>& structs) {
    rows made;
    made.name_columns<T>({});
    for (const auto& value : structs) made.add_struct(value);
    return made;
  }

  /// Adds a row, one value per column; an empty std::optional is NULL.
  /// Throws: invalid_argument when the number of values is not that of the columns.
  template <class... Ts>
  rows& add(const Ts&... values) {
    begin_row(sizeof...(Ts));
    (append(values), ...);
    return *this;
  }

  /// Sets what `executor::execute` returns; without it, the number of rows.
  rows& affected(std::uint64_t count);

  /// The result that the driver would have made. `query_name` must live as long as it.
  [[nodiscard]] result build(std::string_view query_name) const;

 private:
  template <class T>
  void name_columns(const std::string& prefix) {
    std::apply([&](const auto&... c) { (name_column(c, prefix), ...); }, row_traits<T>::columns);
  }

  template <class S, class M>
  void name_column(const column<S, M>& c, const std::string& prefix) {
    if constexpr (mapped_row<M>) {
      name_columns<M>(prefix + std::string{c.name});
    } else {
      columns_.push_back({prefix + std::string{c.name}, column_type<M>()});
    }
  }

  template <class T>
  void add_struct(const T& value) {
    std::apply([&](const auto&... c) { (append(value.*(c.member)), ...); }, row_traits<T>::columns);
  }

  template <class T>
  [[nodiscard]] static constexpr std::uint32_t column_type() {
    using traits = codec<detail::decoded_t<typename detail::unwrapped<T>::type>>;
    if constexpr (requires { traits::element_oid; }) {
      return traits::element_oid;
    } else {
      return oid::unknown;
    }
  }

  template <class T>
  void append(const T& value) {
    if constexpr (mapped_row<T>) {
      add_struct(value);
    } else if constexpr (detail::is_optional<T>) {
      put(column_type<T>(), value ? std::optional{encoded(*value)} : std::nullopt);
    } else {
      put(column_type<T>(), encoded(value));
    }
  }

  template <class T>
  [[nodiscard]] static std::string encoded(const T& value) {
    std::string cell;
    codec<detail::decoded_t<T>>::append_binary(cell, value);
    return cell;
  }

  void begin_row(std::size_t values) const;
  void put(std::uint32_t type, std::optional<std::string> cell);

  struct named_column {
    std::string name;
    std::uint32_t type = oid::unknown;
  };

  std::vector<named_column> columns_;
  std::vector<std::optional<std::string>> cells_;
  std::optional<std::uint64_t> affected_;
};

}  // namespace soundhash::db::testing
