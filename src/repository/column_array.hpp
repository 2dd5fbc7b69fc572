#pragma once

#include <span>
#include <string>

#include <soundhash/db/core/codec.hpp>
#include <soundhash/db/core/result.hpp>

namespace soundhash::db {

/// One member of every row as an array parameter, written straight from the rows: no copy of their
/// texts and blobs is made first.
/// Lifetime: the rows must outlive the params' construction.
template <class Row, class Member>
struct column_array {
  column_array(std::span<const Row> of, Member Row::*column) noexcept : rows{of}, member{column} {}

  std::span<const Row> rows;
  Member Row::*member;
};

template <class Row, class Member>
struct codec<column_array<Row, Member>> {
  using element = typename detail::unwrapped<Member>::type;
  static constexpr bool text_parameter = false;

  static void append_binary(std::string& out, const column_array<Row, Member>& column) {
    detail::append_array_header<element>(out, column.rows.size());
    for (const auto& row : column.rows) detail::append_array_element(out, row.*(column.member));
  }
};

}  // namespace soundhash::db
