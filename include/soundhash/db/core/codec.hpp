#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include <soundhash/db/core/timestamp.hpp>
#include <soundhash/db/export.hpp>

/// The translation between C++ types and PostgreSQL's text and binary forms.
/// Source of the binary forms: PostgreSQL's `typsend` / `typreceive` functions
/// (src/backend/utils/adt: int.c, float.c, varlena.c, timestamp.c, arrayfuncs.c).
namespace soundhash::db {

/// Opaque bytes, a `bytea` column.
using bytes = std::vector<std::byte>;

/// Object identifiers of the built-in types (src/include/catalog/pg_type.dat).
namespace oid {
inline constexpr std::uint32_t boolean = 16, bytea = 17, name = 19, int8 = 20, int2 = 21, int4 = 23,
                               text = 25, oid = 26, json = 114, float4 = 700, float8 = 701,
                               unknown = 705, bpchar = 1042, varchar = 1043, timestamp = 1114,
                               timestamptz = 1184, jsonb = 3802;
}  // namespace oid

/// The SQL name of a type, "int4", or "oid 12345" for one that is not built in.
SOUNDHASH_DB_EXPORT std::string sql_type_name(std::uint32_t type);

/// How one C++ type travels. Specialise it for a type of your own:
/// ```
/// static constexpr std::string_view name;              // in decode errors: "int32"
/// static constexpr bool text_parameter;                // scalars: true; bytes, arrays: false
/// static constexpr std::uint32_t element_oid;          // type of an array of it (else omit)
/// static bool accepts(std::uint32_t type);             // result columns it can be read from
/// static void append_text(std::string&, const T&);     // when text_parameter
/// static void append_binary(std::string&, const T&);   // when element_oid or not text_parameter
/// static bool decode(std::string_view data, std::uint32_t type, T& out);   // false: malformed;
///                                        // `out` may hold a value of another row
/// ```
template <class T>
struct codec;

namespace detail {

template <class T>
inline constexpr bool is_optional = false;
template <class T>
inline constexpr bool is_optional<std::optional<T>> = true;

/// The type whose codec serves T: literals and views are texts, spans are vectors.
template <class T>
struct decoded {
  using type = T;
};
template <>
struct decoded<std::string_view> {
  using type = std::string;
};
template <>
struct decoded<const char*> {
  using type = std::string;
};
template <std::size_t N>
struct decoded<char[N]> {
  using type = std::string;
};
template <class T, std::size_t N>
struct decoded<std::span<T, N>> {
  using type = std::vector<std::remove_const_t<T>>;
};
template <class T>
using decoded_t = typename decoded<T>::type;

template <class U>
requires std::unsigned_integral<U>
void append_big_endian(std::string& out, U value) {
  for (int shift = (static_cast<int>(sizeof(U)) - 1) * 8; shift >= 0; shift -= 8) {
    out.push_back(static_cast<char>(static_cast<unsigned char>(value >> shift)));
  }
}

template <class U>
requires std::unsigned_integral<U> U big_endian(std::string_view data)
noexcept {
  U value = 0;
  for (std::size_t i = 0; i < sizeof(U); ++i) {
    value = static_cast<U>((value << 8) | static_cast<unsigned char>(data[i]));
  }
  return value;
}

/// Reads PostgreSQL's one-dimensional array form: `each(element bytes or null)`.
struct array_header {
  std::uint32_t element_type;
  std::uint32_t count;
};
SOUNDHASH_DB_EXPORT bool read_array_header(std::string_view& data, array_header& out);
/// The next element; `is_null` when it is NULL. False when malformed.
SOUNDHASH_DB_EXPORT bool read_array_element(std::string_view& data, std::string_view& element,
                                            bool& is_null);

}  // namespace detail

/// A type that can be bound as a parameter.
template <class T>
concept encodable = requires {
  codec<detail::decoded_t<T>>::text_parameter;
}
|| (detail::is_optional<T> &&
    requires { codec<detail::decoded_t<typename T::value_type>>::text_parameter; });

/// A type that a cell can be read into (wrap it in std::optional when the column is nullable).
template <class T>
concept decodable = requires {
  codec<T>::name;
};

#define SOUNDHASH_DB_DECLARE_SCALAR(type, label, oid_value)                                \
  template <>                                                                              \
  struct SOUNDHASH_DB_EXPORT codec<type> {                                                 \
    static constexpr std::string_view name = label;                                        \
    static constexpr bool text_parameter = true;                                           \
    static constexpr std::uint32_t element_oid = oid_value;                                \
    static bool accepts(std::uint32_t type_oid) noexcept;                                  \
    static void append_text(std::string& out, type value);                                 \
    static void append_binary(std::string& out, type value);                               \
    static bool decode(std::string_view data, std::uint32_t type_oid, type& out) noexcept; \
  };

SOUNDHASH_DB_DECLARE_SCALAR(bool, "bool", oid::boolean)
SOUNDHASH_DB_DECLARE_SCALAR(std::int16_t, "int16", oid::int2)
SOUNDHASH_DB_DECLARE_SCALAR(std::int32_t, "int32", oid::int4)
SOUNDHASH_DB_DECLARE_SCALAR(std::int64_t, "int64", oid::int8)
SOUNDHASH_DB_DECLARE_SCALAR(float, "float", oid::float4)
SOUNDHASH_DB_DECLARE_SCALAR(double, "double", oid::float8)
/// Throws (appending): invalid_argument outside years 1 to 9999. An infinite timestamp of the
/// server is malformed here.
SOUNDHASH_DB_DECLARE_SCALAR(timestamp, "timestamp", oid::timestamp)
#undef SOUNDHASH_DB_DECLARE_SCALAR

/// Text. Reads text, varchar, char, name, json and jsonb columns; cast others to text in the SQL.
template <>
struct SOUNDHASH_DB_EXPORT codec<std::string> {
  static constexpr std::string_view name = "string";
  static constexpr bool text_parameter = true;
  static constexpr std::uint32_t element_oid = oid::text;
  static bool accepts(std::uint32_t type_oid) noexcept;
  static void append_text(std::string& out, std::string_view value) { out.append(value); }
  /// Throws: invalid_argument when the text has a NUL byte.
  static void append_binary(std::string& out, std::string_view value);
  static bool decode(std::string_view data, std::uint32_t type_oid, std::string& out);
};

/// Bytes of a bytea column.
template <>
struct SOUNDHASH_DB_EXPORT codec<bytes> {
  static constexpr std::string_view name = "bytes";
  static constexpr bool text_parameter = false;
  static constexpr std::uint32_t element_oid = oid::bytea;
  static bool accepts(std::uint32_t type_oid) noexcept { return type_oid == oid::bytea; }
  static void append_binary(std::string& out, std::span<const std::byte> value);
  static bool decode(std::string_view data, std::uint32_t type_oid, bytes& out);
};

namespace detail {

/// Begins PostgreSQL's array form: `count` elements follow.
template <class Element>
void append_array_header(std::string& out, std::size_t count) {
  append_big_endian<std::uint32_t>(out, count == 0 ? 0U : 1U);  // dimensions
  append_big_endian<std::uint32_t>(out, 0U);  // flags; the server looks for NULLs itself
  append_big_endian<std::uint32_t>(out, codec<Element>::element_oid);
  if (count == 0) return;
  append_big_endian(out, static_cast<std::uint32_t>(count));
  append_big_endian<std::uint32_t>(out, 1U);  // lower bound
}

/// One element; an empty optional is NULL.
template <class T>
void append_array_element(std::string& out, const T& value) {
  if constexpr (is_optional<T>) {
    value ? append_array_element(out, *value) : append_big_endian(out, std::uint32_t{0xFFFFFFFF});
  } else {
    const auto start = out.size();
    out.append(sizeof(std::uint32_t), '\0');
    codec<T>::append_binary(out, value);
    const auto size = static_cast<std::uint32_t>(out.size() - start - sizeof(std::uint32_t));
    for (std::size_t i = 0; i < sizeof size; ++i) {
      out[start + i] = static_cast<char>(static_cast<unsigned char>(size >> (24 - 8 * i)));
    }
  }
}

}  // namespace detail

/// A one-dimensional array of a scalar; NULL elements need `std::vector<std::optional<T>>`.
template <class T>
requires(!std::same_as<T, std::byte>) struct codec<std::vector<T>> {
  using element =
      typename std::conditional_t<detail::is_optional<T>, T, std::optional<T>>::value_type;
  static constexpr std::string_view name = "array";
  static constexpr bool text_parameter = false;

  /// The element type is checked against the array's own header.
  static bool accepts(std::uint32_t) noexcept { return true; }

  static void append_binary(std::string& out, std::span<const T> values) {
    detail::append_array_header<element>(out, values.size());
    for (const auto& value : values) detail::append_array_element(out, value);
  }
  static void append_binary(std::string& out,
                            const std::vector<bool>& values) requires std::same_as<T, bool> {
    detail::append_array_header<bool>(out, values.size());
    for (const bool value : values) detail::append_array_element(out, value);
  }

  static bool decode(std::string_view data, std::uint32_t, std::vector<T>& out) {
    detail::array_header header{};
    if (!detail::read_array_header(data, header)) return false;
    if (header.count > 0 && !codec<element>::accepts(header.element_type)) return false;
    out.clear();
    for (std::uint32_t i = 0; i < header.count; ++i) {
      std::string_view cell;
      bool is_null = false;
      if (!detail::read_array_element(data, cell, is_null)) return false;
      if (is_null) {
        if constexpr (!detail::is_optional<T>) return false;
        out.emplace_back();
        continue;
      }
      element value{};
      if (!codec<element>::decode(cell, header.element_type, value)) return false;
      out.emplace_back(std::move(value));
    }
    return data.empty();
  }
};

}  // namespace soundhash::db
