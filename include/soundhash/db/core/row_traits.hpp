#pragma once

#include <array>
#include <cstddef>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <vector>

#include <soundhash/db/core/result.hpp>
#include <soundhash/db/export.hpp>

namespace soundhash::db {

/// One column of a struct: its SQL name and the member it fills.
template <class Struct, class Member>
struct column {
  constexpr column(std::string_view column_name, Member Struct::*member_pointer) noexcept
      : name{column_name}, member{member_pointer} {}

  /// For a member that has row_traits of its own, a prefix of its columns' names: with
  /// `column{"channel.", &video_with_channel::channel}` select `c.id AS "channel.id"`.
  std::string_view name;
  Member Struct::*member;
};

/// Which columns fill which members of T. Specialise it for a struct of your own:
/// ```
/// template <> struct row_traits<tag> {
///   static constexpr auto columns = std::tuple{column{"id", &tag::id}, column{"label",
///   &tag::label}};
/// };
/// ```
/// The structs of this library have theirs as `template <std::same_as<video> T> struct
/// row_traits<T>`, which is the same but compiles only where the struct is read.
template <class T>
struct row_traits;

/// A struct that has row_traits.
template <class T>
concept mapped_row = requires {
  row_traits<T>::columns;
};

/// What `one<T>`, `maybe<T>` and `all<T>` can return: a mapped struct, or a single value for a
/// result of one column.
template <class T>
concept readable_row = mapped_row<T> || decodable<typename detail::unwrapped<T>::type>;

namespace detail {

template <class T>
constexpr std::size_t column_count() {
  if constexpr (mapped_row<T>) {
    return std::apply(
        [](const auto&... c) {
          return (std::size_t{0} + ... +
                  column_count<std::remove_cvref_t<decltype(std::declval<T&>().*(c.member))>>());
        },
        row_traits<T>::columns);
  } else {
    return 1;
  }
}

/// Index of the column `prefix + name`; `hint` is tried first, since columns mostly come in order.
/// Throws decode_error when there is none.
SOUNDHASH_DB_EXPORT std::size_t find_column(const result& rows, std::string_view prefix,
                                            std::string_view name, std::size_t hint,
                                            std::string_view cpp_type);

}  // namespace detail

/// Reads the rows of one result into T. Column names and types are resolved once, here.
/// Throws: decode_error when a column is missing or of another type.
/// Lifetime: the result must outlive it.
template <readable_row T>
class row_reader {
 public:
  explicit row_reader(const result& rows) : rows_{&rows} {
    if constexpr (mapped_row<T>) {
      std::size_t next = 0;
      resolve<T>({}, next);
    } else {
      if (rows.columns().size() != 1) {
        detail::throw_decode_error(rows.query_name(), {"(all)", 0}, "single value",
                                   "a single value is read from a result of exactly one column");
      }
      detail::require_accepted<T>(rows.columns()[0], rows.query_name());
    }
  }

  /// Precondition: `row < rows.size()`. Throws: decode_error for a NULL or malformed cell.
  [[nodiscard]] T operator()(std::size_t row) const {
    T value{};
    read(row, value);
    return value;
  }
  /// The same into a row that is there already, whose memory is used again.
  void read(std::size_t row, T& value) const {
    std::size_t next = 0;
    read_columns((*rows_)[row], next, value);
  }

 private:
  template <class S>
  void resolve(const std::string& prefix, std::size_t& next) {
    std::apply([&](const auto&... c) { (resolve_one(c, prefix, next), ...); },
               row_traits<S>::columns);
  }

  template <class S, class M>
  void resolve_one(const column<S, M>& c, const std::string& prefix, std::size_t& next) {
    if constexpr (mapped_row<M>) {
      resolve<M>(prefix + std::string{c.name}, next);
    } else {
      const auto at = detail::find_column(*rows_, prefix, c.name, next,
                                          codec<typename detail::unwrapped<M>::type>::name);
      detail::require_accepted<M>(rows_->columns()[at], rows_->query_name());
      index_[next++] = at;
    }
  }

  template <class V>
  void read_columns(const row_view& row, std::size_t& next, V& value) const {
    if constexpr (mapped_row<V>) {
      std::apply([&](const auto&... c) { (read_columns(row, next, value.*(c.member)), ...); },
                 row_traits<V>::columns);
    } else {
      detail::decode_cell(row[index_[next++]], rows_->query_name(), value);
    }
  }

  const result* rows_;
  std::array<std::size_t, detail::column_count<T>()> index_{};
};

}  // namespace soundhash::db
