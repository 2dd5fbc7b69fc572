#include <array>
#include <bit>
#include <charconv>
#include <chrono>
#include <cmath>
#include <cstring>
#include <limits>
#include <utility>

#include <soundhash/db/core/codec.hpp>
#include <soundhash/db/core/error.hpp>

namespace soundhash::db {
namespace {

using std::chrono::microseconds;

/// PostgreSQL counts timestamps from 2000-01-01 00:00 UTC (src/include/datatype/timestamp.h).
constexpr timestamp postgres_epoch =
    std::chrono::sys_days{std::chrono::year{2000} / std::chrono::January / 1};
constexpr timestamp earliest =
    std::chrono::sys_days{std::chrono::year{1} / std::chrono::January / 1};
constexpr timestamp latest =
    std::chrono::sys_days{std::chrono::year{10000} / std::chrono::January / 1} - microseconds{1};

constexpr std::array<std::pair<std::uint32_t, std::string_view>, 30> type_names{{
    {16, "bool"},     {17, "bytea"},       {18, "\"char\""},      {19, "name"},
    {20, "int8"},     {21, "int2"},        {23, "int4"},          {25, "text"},
    {26, "oid"},      {114, "json"},       {142, "xml"},          {700, "float4"},
    {701, "float8"},  {705, "unknown"},    {869, "inet"},         {1000, "bool[]"},
    {1005, "int2[]"}, {1007, "int4[]"},    {1009, "text[]"},      {1015, "varchar[]"},
    {1016, "int8[]"}, {1042, "char"},      {1043, "varchar"},     {1082, "date"},
    {1083, "time"},   {1114, "timestamp"}, {1184, "timestamptz"}, {1700, "numeric"},
    {2950, "uuid"},   {3802, "jsonb"},
}};

/// Floating point: the shortest text that reads back as the same number; "inf" and "nan" as the
/// server reads them.
template <class T>
void append_number(std::string& out, T value) {
  std::array<char, 32> digits;
  const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), value).ptr;
  out.append(digits.data(), end);
}

template <class T>
bool decode_integer(std::string_view data, std::uint32_t type, T& out) noexcept {
  std::int64_t wide = 0;
  if (type == oid::int2 && data.size() == 2) {
    wide = static_cast<std::int16_t>(detail::big_endian<std::uint16_t>(data));
  } else if (type == oid::int4 && data.size() == 4) {
    wide = static_cast<std::int32_t>(detail::big_endian<std::uint32_t>(data));
  } else if (type == oid::oid && data.size() == 4) {
    wide = detail::big_endian<std::uint32_t>(data);
  } else if (type == oid::int8 && data.size() == 8) {
    wide = static_cast<std::int64_t>(detail::big_endian<std::uint64_t>(data));
  } else {
    return false;
  }
  if (wide < std::numeric_limits<T>::min() || wide > std::numeric_limits<T>::max()) return false;
  out = static_cast<T>(wide);
  return true;
}

void append_padded(std::string& out, unsigned value, std::size_t width) {
  std::array<char, 10> digits;
  const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), value).ptr;
  const auto length = static_cast<std::size_t>(end - digits.data());
  if (length < width) out.append(width - length, '0');
  out.append(digits.data(), length);
}

void require_python_range(timestamp value) {
  if (value < earliest || value > latest) {
    throw invalid_argument{"timestamp",
                           "is outside the years 1 to 9999, which the Python services cannot read"};
  }
}

}  // namespace

std::string sql_type_name(std::uint32_t type) {
  for (const auto& [known, name] : type_names) {
    if (known == type) return std::string{name};
  }
  return "oid " + std::to_string(type);
}

bool codec<bool>::accepts(std::uint32_t type_oid) noexcept {
  return type_oid == oid::boolean;
}
void codec<bool>::append_text(std::string& out, bool value) {
  out.push_back(value ? 't' : 'f');
}
void codec<bool>::append_binary(std::string& out, bool value) {
  out.push_back(value ? '\1' : '\0');
}
bool codec<bool>::decode(std::string_view data, std::uint32_t, bool& out) noexcept {
  if (data.size() != 1) return false;
  out = data[0] != 0;
  return true;
}

bool codec<std::int16_t>::accepts(std::uint32_t type_oid) noexcept {
  return type_oid == oid::int2;
}
void codec<std::int16_t>::append_text(std::string& out, std::int16_t value) {
  append_number(out, value);
}
void codec<std::int16_t>::append_binary(std::string& out, std::int16_t value) {
  detail::append_big_endian(out, static_cast<std::uint16_t>(value));
}
bool codec<std::int16_t>::decode(std::string_view data, std::uint32_t type_oid,
                                 std::int16_t& out) noexcept {
  return decode_integer(data, type_oid, out);
}

bool codec<std::int32_t>::accepts(std::uint32_t type_oid) noexcept {
  return type_oid == oid::int4 || type_oid == oid::int2;
}
void codec<std::int32_t>::append_text(std::string& out, std::int32_t value) {
  append_number(out, value);
}
void codec<std::int32_t>::append_binary(std::string& out, std::int32_t value) {
  detail::append_big_endian(out, static_cast<std::uint32_t>(value));
}
bool codec<std::int32_t>::decode(std::string_view data, std::uint32_t type_oid,
                                 std::int32_t& out) noexcept {
  return decode_integer(data, type_oid, out);
}

bool codec<std::int64_t>::accepts(std::uint32_t type_oid) noexcept {
  return type_oid == oid::int8 || type_oid == oid::int4 || type_oid == oid::int2 ||
         type_oid == oid::oid;
}
void codec<std::int64_t>::append_text(std::string& out, std::int64_t value) {
  append_number(out, value);
}
void codec<std::int64_t>::append_binary(std::string& out, std::int64_t value) {
  detail::append_big_endian(out, static_cast<std::uint64_t>(value));
}
bool codec<std::int64_t>::decode(std::string_view data, std::uint32_t type_oid,
                                 std::int64_t& out) noexcept {
  return decode_integer(data, type_oid, out);
}

bool codec<float>::accepts(std::uint32_t type_oid) noexcept {
  return type_oid == oid::float4;
}
void codec<float>::append_text(std::string& out, float value) {
  append_number(out, value);
}
void codec<float>::append_binary(std::string& out, float value) {
  detail::append_big_endian(out, std::bit_cast<std::uint32_t>(value));
}
bool codec<float>::decode(std::string_view data, std::uint32_t, float& out) noexcept {
  if (data.size() != 4) return false;
  out = std::bit_cast<float>(detail::big_endian<std::uint32_t>(data));
  return true;
}

bool codec<double>::accepts(std::uint32_t type_oid) noexcept {
  return type_oid == oid::float8 || type_oid == oid::float4;
}
void codec<double>::append_text(std::string& out, double value) {
  append_number(out, value);
}
void codec<double>::append_binary(std::string& out, double value) {
  detail::append_big_endian(out, std::bit_cast<std::uint64_t>(value));
}
bool codec<double>::decode(std::string_view data, std::uint32_t type_oid, double& out) noexcept {
  if (type_oid == oid::float4) {
    float narrow = 0;
    if (!codec<float>::decode(data, type_oid, narrow)) return false;
    out = narrow;
    return true;
  }
  if (data.size() != 8) return false;
  out = std::bit_cast<double>(detail::big_endian<std::uint64_t>(data));
  return true;
}

bool codec<timestamp>::accepts(std::uint32_t type_oid) noexcept {
  return type_oid == oid::timestamp || type_oid == oid::timestamptz;
}

/// "2026-11-24 08:47:19.123456+00": the zone makes a timestamptz parameter right whatever the
/// session's TimeZone, and a timestamp parameter ignores it.
void codec<timestamp>::append_text(std::string& out, timestamp value) {
  require_python_range(value);
  const auto day = std::chrono::floor<std::chrono::days>(value);
  const std::chrono::year_month_day date{day};
  const std::chrono::hh_mm_ss time{value - day};
  append_padded(out, static_cast<unsigned>(static_cast<int>(date.year())), 4);
  append_padded(out.append("-"), static_cast<unsigned>(date.month()), 2);
  append_padded(out.append("-"), static_cast<unsigned>(date.day()), 2);
  append_padded(out.append(" "), static_cast<unsigned>(time.hours().count()), 2);
  append_padded(out.append(":"), static_cast<unsigned>(time.minutes().count()), 2);
  append_padded(out.append(":"), static_cast<unsigned>(time.seconds().count()), 2);
  append_padded(out.append("."), static_cast<unsigned>(time.subseconds().count()), 6);
  out.append("+00");
}
void codec<timestamp>::append_binary(std::string& out, timestamp value) {
  require_python_range(value);
  detail::append_big_endian(out, static_cast<std::uint64_t>((value - postgres_epoch).count()));
}
bool codec<timestamp>::decode(std::string_view data, std::uint32_t, timestamp& out) noexcept {
  if (data.size() != 8) return false;
  const auto count = static_cast<std::int64_t>(detail::big_endian<std::uint64_t>(data));
  // The extreme values are infinity and -infinity, which no timestamp of ours can hold.
  if (count == std::numeric_limits<std::int64_t>::max() ||
      count == std::numeric_limits<std::int64_t>::min()) {
    return false;
  }
  if (microseconds{count} > timestamp::max() - postgres_epoch) return false;
  out = postgres_epoch + microseconds{count};
  return true;
}

bool codec<std::string>::accepts(std::uint32_t type_oid) noexcept {
  switch (type_oid) {
    case oid::text:
    case oid::varchar:
    case oid::bpchar:
    case oid::name:
    case oid::unknown:
    case oid::json:
    case oid::jsonb:
      return true;
    default:
      return false;
  }
}
void codec<std::string>::append_binary(std::string& out, std::string_view value) {
  if (value.find('\0') != std::string_view::npos) {
    throw invalid_argument{"array element",
                           "the text has a NUL byte, which PostgreSQL cannot store"};
  }
  out.append(value);
}
bool codec<std::string>::decode(std::string_view data, std::uint32_t type_oid, std::string& out) {
  if (type_oid == oid::jsonb) {
    if (data.empty() || data[0] != '\1') return false;  // format version of jsonb_send
    data.remove_prefix(1);
  }
  out.assign(data);
  return true;
}

void codec<bytes>::append_binary(std::string& out, std::span<const std::byte> value) {
  out.append(reinterpret_cast<const char*>(value.data()), value.size());
}
bool codec<bytes>::decode(std::string_view data, std::uint32_t, bytes& out) {
  const auto* first = reinterpret_cast<const std::byte*>(data.data());
  out.assign(first, first + data.size());
  return true;
}

namespace detail {
namespace {

bool take_u32(std::string_view& data, std::uint32_t& out) {
  if (data.size() < 4) return false;
  out = big_endian<std::uint32_t>(data);
  data.remove_prefix(4);
  return true;
}

}  // namespace

bool read_array_header(std::string_view& data, array_header& out) {
  std::uint32_t dimensions = 0;
  std::uint32_t has_null = 0;
  std::uint32_t lower_bound = 0;
  if (!take_u32(data, dimensions) || !take_u32(data, has_null) ||
      !take_u32(data, out.element_type)) {
    return false;
  }
  out.count = 0;
  if (dimensions == 0) return data.empty();
  if (dimensions != 1 || !take_u32(data, out.count) || !take_u32(data, lower_bound)) return false;
  // Each element has a length word: a count beyond the bytes is a lie that must not be allocated.
  return out.count <= data.size() / 4;
}

bool read_array_element(std::string_view& data, std::string_view& element, bool& is_null) {
  std::uint32_t length = 0;
  if (!take_u32(data, length)) return false;
  is_null = length == 0xFFFFFFFFU;
  if (is_null) return true;
  if (length > data.size()) return false;
  element = data.substr(0, length);
  data.remove_prefix(length);
  return true;
}

}  // namespace detail
}  // namespace soundhash::db
