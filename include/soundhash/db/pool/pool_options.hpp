#pragma once

#include <chrono>
#include <cstddef>
#include <optional>

#include <soundhash/db/export.hpp>

namespace soundhash::db {

/// Limits and times of the connection pool. Defaults are those of the Python services.
struct pool_options {
  /// Connections kept when idle. Range 1 to 10 000; nullopt: unlimited (SQLAlchemy's 0).
  std::optional<std::size_t> size = 10;
  /// Connections opened beyond `size` under load and closed when it falls. Range 0 to 10 000;
  /// nullopt: unlimited (SQLAlchemy's -1).
  std::optional<std::size_t> max_overflow = 20;
  /// Idle connections kept ready ahead of demand, within `size`. Range 0 to 10 000.
  std::size_t min_idle = 0;
  /// How long a caller waits for a connection. Range 1 ms to 1 day.
  std::chrono::milliseconds acquire_timeout = std::chrono::seconds{30};
  /// Age at which a connection is replaced; each draws its own, 0 to 10 % shorter, once. Zero:
  /// never (SQLAlchemy's -1).
  std::chrono::milliseconds recycle = std::chrono::hours{1};
  /// Longest time for one connect. Range 1 ms to 1 hour.
  std::chrono::milliseconds connect_timeout = std::chrono::seconds{5};
  /// With no connection at all and connects failing for a passing reason (refused, starting up, too
  /// many connections), waiters fail with that cause after this time. Range 0 to 1 hour.
  std::chrono::milliseconds fail_fast_after = std::chrono::seconds{1};
  /// A connection used within this time is handed out unchecked; idle longer, its socket is
  /// looked at; idle longer than `ping_after`, it is pinged. Range 0 to 1 day.
  std::chrono::milliseconds recent_use = std::chrono::milliseconds{500};
  /// See `recent_use`. Range `recent_use` to 1 day.
  std::chrono::milliseconds ping_after = std::chrono::seconds{30};
  /// Idle longer than this, a connection closes, down to `min_idle`. Zero: never, as in the Python
  /// services. Range 0 to 1 year; connections beyond `size` close after 5 s anyway.
  std::chrono::milliseconds idle_timeout{0};
  /// Idle connections are pinged this often in the background, a quarter of them at a time. Zero:
  /// never; TCP keepalives are on anyway. Range 0 to 1 day.
  std::chrono::milliseconds keepalive{0};
  /// A connection held longer than this is logged once as a possible leak, with the place or
  /// the query that acquired it. Zero: never. Range 0 to 1 day.
  std::chrono::milliseconds leak_after{0};
  /// Callers that may wait at the same time; one more gets `pool_overloaded` at once. Range 1 to
  /// 1 000 000.
  std::size_t max_waiters = 10'000;

  /// Throws: config_error naming the member, its value and the range.
  SOUNDHASH_DB_EXPORT void validate() const;
};

}  // namespace soundhash::db
