#pragma once

#include <cstddef>
#include <cstdint>
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

  /// Source of the form: array_recv of PostgreSQL (src/backend/utils/adt/arrayfuncs.c).
  static void append_binary(std::string& out, const column_array<Row, Member>& column) {
    const auto count = static_cast<std::uint32_t>(column.rows.size());
    detail::append_big_endian<std::uint32_t>(out, count == 0 ? 0U : 1U);  // dimensions
    detail::append_big_endian<std::uint32_t>(out, 0U);  // flags; the server looks for NULLs itself
    detail::append_big_endian<std::uint32_t>(out, codec<element>::element_oid);
    if (count == 0) return;
    detail::append_big_endian(out, count);
    detail::append_big_endian<std::uint32_t>(out, 1U);  // lower bound
    for (const auto& row : column.rows) append_element(out, row.*(column.member));
  }

 private:
  static void append_element(std::string& out, const Member& value) {
    if constexpr (detail::is_optional<Member>) {
      value ? append_value(out, *value) : detail::append_big_endian(out, std::uint32_t{0xFFFFFFFF});
    } else {
      append_value(out, value);
    }
  }

  static void append_value(std::string& out, const element& value) {
    const auto start = out.size();
    out.append(sizeof(std::uint32_t), '\0');
    codec<element>::append_binary(out, value);
    const auto size = static_cast<std::uint32_t>(out.size() - start - sizeof(std::uint32_t));
    for (std::size_t i = 0; i < sizeof size; ++i) {
      out[start + i] = static_cast<char>(static_cast<unsigned char>(size >> (24 - 8 * i)));
    }
  }
};

}  // namespace soundhash::db
