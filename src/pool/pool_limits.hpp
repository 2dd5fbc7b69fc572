#pragma once

#include <chrono>
#include <cstddef>

#include "core/bounds.hpp"

/// The ranges that pool_options.hpp documents.
namespace soundhash::db::pool_limits {

inline constexpr bounds<std::size_t> size{1, 10'000};
inline constexpr bounds<std::size_t> max_overflow{0, 10'000};
inline constexpr bounds<std::size_t> min_idle{0, 10'000};
inline constexpr bounds<std::size_t> max_waiters{1, 1'000'000};
inline constexpr bounds<std::chrono::milliseconds> acquire_timeout{std::chrono::milliseconds{1},
                                                                   std::chrono::hours{24}};
// A year at most, so that no clock arithmetic can overflow.
inline constexpr bounds<std::chrono::milliseconds> recycle{std::chrono::milliseconds{0},
                                                           std::chrono::hours{24 * 365}};
inline constexpr bounds<std::chrono::milliseconds> connect_timeout{std::chrono::milliseconds{1},
                                                                   std::chrono::hours{1}};
inline constexpr bounds<std::chrono::milliseconds> fail_fast_after{std::chrono::milliseconds{0},
                                                                   std::chrono::hours{1}};
inline constexpr bounds<std::chrono::milliseconds> recent_use{std::chrono::milliseconds{0},
                                                              std::chrono::hours{24}};
inline constexpr bounds<std::chrono::milliseconds> idle_timeout = recycle;
inline constexpr bounds<std::chrono::milliseconds> keepalive = recent_use;
inline constexpr bounds<std::chrono::milliseconds> leak_after = recent_use;
inline constexpr std::chrono::milliseconds longest_ping_after = std::chrono::hours{24};

}  // namespace soundhash::db::pool_limits
