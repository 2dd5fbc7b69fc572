#include "cache/envelope.hpp"

#include <algorithm>
#include <concepts>
#include <cstddef>
#include <memory>
#include <optional>
#include <type_traits>
#include <utility>
#include <vector>

#include "cache/crc32c.hpp"

namespace soundhash::db {
namespace {

constexpr std::uint32_t magic = 0x42444853;  // "SHDB"
constexpr std::uint32_t version = 1;
constexpr std::size_t fixed_bytes = 4 + 4 + 8 + 8 + 8 + 8 + 8;
constexpr std::size_t least_bytes_per_column = 4 + 4;
constexpr std::size_t least_bytes_per_cell = 4;

template <std::integral Number>
void put(std::string& out, Number value) {
  auto rest = static_cast<std::make_unsigned_t<Number>>(value);
  char bytes[sizeof(Number)];
  for (auto& byte : bytes) {
    byte = static_cast<char>(rest & 255U);
    if constexpr (sizeof(Number) > 1) rest = static_cast<decltype(rest)>(rest >> 8U);
  }
  out.append(bytes, sizeof bytes);
}

void put_text(std::string& out, std::string_view text) {
  put(out, static_cast<std::uint32_t>(text.size()));
  out.append(text);
}

/// Takes numbers and bytes off the front of what is left.
class reader {
 public:
  explicit reader(std::string_view bytes) noexcept : left_{bytes} {}

  [[nodiscard]] std::string_view left() const noexcept { return left_; }

  template <std::integral Number>
  [[nodiscard]] bool take(Number& out) noexcept {
    std::string_view bytes;
    if (!take(sizeof(Number), bytes)) return false;
    std::make_unsigned_t<Number> value = 0;
    for (std::size_t i = 0; i < sizeof(Number); ++i) {
      const auto byte =
          static_cast<std::make_unsigned_t<Number>>(static_cast<unsigned char>(bytes[i]));
      value = static_cast<decltype(value)>(value | (byte << (8 * i)));
    }
    out = static_cast<Number>(value);
    return true;
  }

  [[nodiscard]] bool take(std::size_t size, std::string_view& out) noexcept {
    if (size > left_.size()) return false;
    out = left_.substr(0, size);
    left_.remove_prefix(size);
    return true;
  }

  [[nodiscard]] bool take_text(std::string_view& out) noexcept {
    std::uint32_t size = 0;
    return take(size) && take(size, out);
  }

  /// A count of things that take `least` bytes each at least.
  [[nodiscard]] bool take_count(std::size_t least, std::uint32_t& out) noexcept {
    return take(out) && out <= left_.size() / least;
  }

 private:
  std::string_view left_;
};

/// Eight bytes at a time, mixed as in splitmix64 (Steele, Lea, Flood, OOPSLA 2014).
std::uint64_t mix(std::uint64_t hash, std::string_view text) noexcept {
  hash += text.size();
  reader bytes{text};
  for (std::uint64_t word = 0; bytes.take(word);) {
    hash = (hash ^ word) * 0xBF58476D1CE4E5B9U;
    hash ^= hash >> 29U;
  }
  for (std::uint8_t byte = 0; bytes.take(byte);) hash = (hash ^ byte) * 0x94D049BB133111EBU;
  return hash ^ (hash >> 31U);
}

std::uint64_t schema_of(const query& statement, std::string_view columns) noexcept {
  return mix(mix(mix(0, statement.name()), statement.sql()), columns);
}

std::string encoded_columns(const result& rows) {
  std::string out;
  put(out, static_cast<std::uint32_t>(rows.columns().size()));
  for (const auto& column : rows.columns()) {
    put(out, column.type);
    put_text(out, column.name);
  }
  return out;
}

void put_cells(std::string& out, const result& rows) {
  for (std::size_t r = 0; r < rows.size(); ++r) {
    for (std::size_t c = 0; c < rows.columns().size(); ++c) {
      const auto cell = rows[r][c];
      put(out, cell.is_null() ? -1 : static_cast<std::int32_t>(cell.bytes().size()));
      out.append(cell.bytes());
    }
  }
}

std::size_t size_of_cells(const result& rows) {
  std::size_t size = 0;
  for (std::size_t r = 0; r < rows.size(); ++r) {
    for (std::size_t c = 0; c < rows.columns().size(); ++c) size += 4 + rows[r][c].bytes().size();
  }
  return size;
}

/// Numbers that come before the key.
struct fixed_part {
  std::uint32_t magic = 0, version = 0;
  std::uint64_t schema = 0;
  std::int64_t created = 0, expires = 0, load = 0;
  std::uint64_t length = 0;

  [[nodiscard]] bool take(reader& from) noexcept {
    return from.take(magic) && from.take(version) && from.take(schema) && from.take(created) &&
           from.take(expires) && from.take(load) && from.take(length);
  }
  [[nodiscard]] value_times times() const noexcept {
    return {value_times::point{std::chrono::milliseconds{created}},
            value_times::point{std::chrono::milliseconds{expires}},
            std::chrono::microseconds{load}};
  }
};

bool take_columns(reader& from, std::vector<column_info>& columns) {
  std::uint32_t count = 0;
  if (!from.take_count(least_bytes_per_column, count)) return false;
  columns.resize(count);
  return std::all_of(columns.begin(), columns.end(), [&](column_info& column) {
    return from.take(column.type) && from.take_text(column.name);
  });
}

bool take_cell(reader& from, detail::cell& cell) {
  if (!from.take(cell.size) || cell.size < -1) return false;
  std::string_view bytes;
  if (cell.size >= 0 && !from.take(static_cast<std::size_t>(cell.size), bytes)) return false;
  cell.data = cell.size < 0 ? nullptr : bytes.data();
  return true;
}

bool take_cells(reader& from, std::size_t width, std::vector<detail::cell>& cells) {
  std::uint32_t height = 0;
  if (!from.take(height) || (height != 0 && width == 0)) return false;
  const auto count = std::uint64_t{height} * width;  // each below 2^32
  if (count > from.left().size() / least_bytes_per_cell) return false;
  cells.resize(static_cast<std::size_t>(count));
  return std::all_of(cells.begin(), cells.end(),
                     [&](detail::cell& cell) { return take_cell(from, cell); });
}

/// Without the checksum at the end, if that is right.
std::optional<std::string_view> checked(std::string_view bytes) noexcept {
  if (bytes.size() < fixed_bytes + sizeof(std::uint32_t)) return std::nullopt;
  const auto body = bytes.substr(0, bytes.size() - sizeof(std::uint32_t));
  std::uint32_t sum = 0;
  if (!reader{bytes.substr(body.size())}.take(sum) || sum != crc32c(body)) return std::nullopt;
  return body;
}

enum class stamped : std::uint8_t { malformed, same, other };

stamped take_stamps(reader& from, std::span<const stamp> expected) noexcept {
  std::uint32_t count = 0;
  std::string_view bytes;
  if (!from.take_count(stamp::size, count) || !from.take(count * stamp::size, bytes)) {
    return stamped::malformed;
  }
  if (count != expected.size()) return stamped::other;
  for (std::size_t i = 0; i < expected.size(); ++i) {
    if (bytes.substr(i * stamp::size, stamp::size) != expected[i].bytes()) return stamped::other;
  }
  return stamped::same;
}

/// What follows the stamps.
bool take_rows(reader& from, const query& statement, std::uint64_t schema,
               std::unique_ptr<std::string>& keep, result& out) {
  std::vector<column_info> columns;
  std::vector<detail::cell> cells;
  std::uint64_t affected = 0;
  const auto start = from.left();
  if (!take_columns(from, columns)) return false;
  if (schema_of(statement, start.substr(0, start.size() - from.left().size())) != schema) {
    return false;
  }
  if (!from.take(affected) || !take_cells(from, columns.size(), cells)) return false;
  if (!from.left().empty()) return false;
  out = result{
      statement.name(), std::move(columns), std::move(cells), affected,
      result::storage{keep.release(), [](void* kept) { delete static_cast<std::string*>(kept); }}};
  return true;
}

}  // namespace

std::string seal(const envelope_label& label, const value_times& times, const result& rows) {
  const auto columns = encoded_columns(rows);
  const auto size = fixed_bytes + 4 + label.key.size() + 4 + label.stamps.size() * stamp::size +
                    columns.size() + 8 + 4 + size_of_cells(rows) + sizeof(std::uint32_t);
  std::string out;
  out.reserve(size);
  put(out, magic);
  put(out, version);
  put(out, schema_of(label.statement, columns));
  put(out, static_cast<std::int64_t>(times.created.time_since_epoch().count()));
  put(out, static_cast<std::int64_t>(times.expires.time_since_epoch().count()));
  put(out, static_cast<std::int64_t>(times.load.count()));
  put(out, std::uint64_t{size});
  put_text(out, label.key);
  put(out, static_cast<std::uint32_t>(label.stamps.size()));
  for (const auto& each : label.stamps) out.append(each.bytes());
  out.append(columns);
  put(out, rows.affected());
  put(out, static_cast<std::uint32_t>(rows.size()));
  put_cells(out, rows);
  put(out, crc32c(out));
  return out;
}

unsealed unseal(const envelope_label& expected, std::string stored) {
  auto keep = std::make_unique<std::string>(std::move(stored));  // cells point into it
  const auto body = checked(*keep);
  if (!body) return {};
  reader from{*body};
  fixed_part fixed;
  std::string_view key;
  if (!fixed.take(from) || fixed.magic != magic || fixed.version != version) return {};
  if (fixed.length != keep->size() || !from.take_text(key) || key != expected.key) return {};
  const auto stamps = take_stamps(from, expected.stamps);
  if (stamps == stamped::malformed) return {};
  if (stamps == stamped::other) return {.outcome = unsealing::stale};
  unsealed found{.times = fixed.times()};
  if (!take_rows(from, expected.statement, fixed.schema, keep, found.rows)) return {};
  found.outcome = unsealing::good;
  return found;
}

}  // namespace soundhash::db
