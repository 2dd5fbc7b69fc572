#pragma once

#include <chrono>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include <soundhash/db/core/query.hpp>
#include <soundhash/db/core/result.hpp>

#include "cache/stamp.hpp"

namespace soundhash::db {

/// When a value was read, how long that took, and when it ends; by the clock of who stored it.
struct value_times {
  using point = std::chrono::time_point<std::chrono::system_clock, std::chrono::milliseconds>;
  point created{};
  point expires{};
  std::chrono::microseconds load{0};
};

/// Whose rows an envelope holds, and under which stamps.
struct envelope_label {
  const query& statement;
  std::string_view key;
  std::span<const stamp> stamps;
};

/// Rows as they are stored. Numbers are little-endian:
///
///     magic "SHDB", version        u32, u32
///     schema                       u64  hash of query name, SQL, names and types of the columns
///     created, expires             i64  milliseconds since 1970
///     load                         i64  microseconds
///     length of all                u64
///     key                          u32 length, bytes
///     stamps                       u32 count, 16 bytes each
///     columns                      u32 count, each: u32 type, u32 length, name
///     affected, rows               u64, u32
///     cells, row by row            i32 length (-1: NULL), bytes
///     CRC-32C of all before        u32
[[nodiscard]] std::string seal(const envelope_label& label, const value_times& times,
                               const result& rows);

enum class unsealing : std::uint8_t {
  good,
  stale,      ///< in order, but of other stamps
  malformed,  ///< anything else: another version, key, schema; cut, flipped, made up
};

struct unsealed {
  unsealing outcome = unsealing::malformed;
  value_times times{};  ///< when good, as the rows
  result rows{};        ///< whose cells point into the bytes given, which it keeps
};

/// Trusts nothing in the bytes: every length is checked against what is left before it is used.
[[nodiscard]] unsealed unseal(const envelope_label& expected, std::string stored);

}  // namespace soundhash::db
