#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <soundhash/db/core/codec.hpp>
#include <soundhash/db/export.hpp>

namespace soundhash::db {

/// Name and type of one result column. The name lives as long as the result.
struct column_info {
  std::string_view name;
  std::uint32_t type = 0;  ///< object identifier, see `oid`
};

namespace detail {
struct cell {
  const char* data = nullptr;
  std::int32_t size = -1;  ///< -1: NULL
};
[[noreturn]] SOUNDHASH_DB_EXPORT void throw_decode_error(std::string_view query_name,
                                                         const column_info& column,
                                                         std::string_view cpp_type,
                                                         std::string_view problem);
}  // namespace detail

class result;

/// One cell. A view: valid while its result lives.
class field_view {
 public:
  [[nodiscard]] bool is_null() const noexcept { return cell_->size < 0; }
  /// The value in PostgreSQL's binary form; empty when NULL.
  [[nodiscard]] std::string_view bytes() const noexcept {
    return is_null() ? std::string_view{}
                     : std::string_view{cell_->data, static_cast<std::size_t>(cell_->size)};
  }
  [[nodiscard]] const column_info& column() const noexcept { return *column_; }

  /// The value as T; `std::optional<U>` reads NULL as nullopt.
  /// Throws: decode_error when the SQL type does not fit, the bytes are malformed or NULL was not
  /// provided for.
  template <class T>
  [[nodiscard]] T as() const;

 private:
  friend class row_view;
  field_view(const detail::cell& cell, const column_info& column,
             std::string_view query_name) noexcept
      : cell_{&cell}, column_{&column}, query_name_{query_name} {}

  const detail::cell* cell_;
  const column_info* column_;
  std::string_view query_name_;
};

/// One row. A view: valid while its result lives.
class row_view {
 public:
  [[nodiscard]] inline std::size_t size() const noexcept;
  /// Precondition: `column < size()`.
  [[nodiscard]] inline field_view operator[](std::size_t column) const noexcept;

 private:
  friend class result;
  row_view(const result& from, std::size_t row) noexcept : from_{&from}, row_{row} {}

  const result* from_;
  std::size_t row_;
};

/// All rows of one statement, in binary form, owned.
/// Thread safety: const use from several threads is safe. Move-only; views point into it and stay
/// valid when it is moved.
class SOUNDHASH_DB_EXPORT result {
 public:
  using storage = std::unique_ptr<void, void (*)(void*)>;

  /// Made by the driver (and by `testing::rows`). `cells` holds rows × columns, row by row, and
  /// points into `keep`; `columns` names too.
  result(std::string_view query_name, std::vector<column_info> columns,
         std::vector<detail::cell> cells, std::uint64_t affected, storage keep);
  /// No rows.
  result();
  /// Puts so many other rows under the same columns, for who reads row by row: the cells to fill.
  /// Views into the old rows end.
  std::span<detail::cell> refill(std::size_t rows) {
    cells_.resize(rows * columns_.size());
    return {cells_.data(), cells_.size()};
  }
  result(result&&) noexcept;
  result& operator=(result&&) noexcept;
  ~result();

  /// Number of rows.
  [[nodiscard]] std::size_t size() const noexcept {
    return columns_.empty() ? 0 : cells_.size() / columns_.size();
  }
  [[nodiscard]] bool empty() const noexcept { return cells_.empty(); }
  [[nodiscard]] const std::vector<column_info>& columns() const noexcept { return columns_; }
  /// Index of a column, or nullopt.
  [[nodiscard]] std::optional<std::size_t> index_of(std::string_view column) const noexcept;
  /// Rows that an INSERT, UPDATE, DELETE or SELECT touched, from the server's command tag.
  [[nodiscard]] std::uint64_t affected() const noexcept { return affected_; }
  [[nodiscard]] std::string_view query_name() const noexcept { return query_name_; }
  /// Precondition: `row < size()`.
  [[nodiscard]] row_view operator[](std::size_t row) const noexcept { return {*this, row}; }

 private:
  friend class row_view;

  std::string_view query_name_;
  std::vector<column_info> columns_;
  std::vector<detail::cell> cells_;
  std::uint64_t affected_ = 0;
  storage keep_;
};

std::size_t row_view::size() const noexcept {
  return from_->columns_.size();
}

field_view row_view::operator[](std::size_t column) const noexcept {
  return {from_->cells_[row_ * from_->columns_.size() + column], from_->columns_[column],
          from_->query_name_};
}

namespace detail {

/// Reads a cell whose column type was already accepted. What `value` has allocated is used again.
template <class T>
void decode_cell(const field_view& field, std::string_view query_name, T& value) {
  if constexpr (is_optional<T>) {
    if (field.is_null()) {
      value.reset();
    } else {
      decode_cell(field, query_name, value ? *value : value.emplace());
    }
  } else {
    if (field.is_null()) {
      throw_decode_error(query_name, field.column(), codec<T>::name,
                         "the value is NULL; read it into std::optional");
    }
    if (!codec<T>::decode(field.bytes(), field.column().type, value)) {
      throw_decode_error(query_name, field.column(), codec<T>::name,
                         "the value cannot be represented");
    }
  }
}

template <class T>
struct unwrapped {
  using type = T;
};
template <class T>
struct unwrapped<std::optional<T>> {
  using type = T;
};

/// Throws decode_error unless a column of this SQL type can be read into T.
template <class T>
void require_accepted(const column_info& column, std::string_view query_name) {
  using traits = codec<typename unwrapped<T>::type>;
  if (!traits::accepts(column.type)) {
    throw_decode_error(query_name, column, traits::name,
                       "the types do not fit; cast the column in the SQL or change the C++ type");
  }
}

}  // namespace detail

template <class T>
T field_view::as() const {
  detail::require_accepted<T>(*column_, query_name_);
  T value{};
  detail::decode_cell(*this, query_name_, value);
  return value;
}

}  // namespace soundhash::db
