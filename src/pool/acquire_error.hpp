#pragma once

#include <chrono>
#include <exception>
#include <string>
#include <string_view>

#include <soundhash/db/core/error.hpp>
#include <soundhash/db/pool/pool_stats.hpp>

namespace soundhash::db {

/// Why a connect failed.
struct connect_failure {
  errc code{};
  bool transient = false;  ///< worth another attempt without anybody changing something
  std::string message;
  std::string sqlstate;
  /// What was thrown, when it was none of the types that say "no session".
  std::exception_ptr foreign;
};

/// Reads what a connector threw.
[[nodiscard]] connect_failure describe(const std::exception_ptr& thrown);

/// Throws the cause as its own type and code, with the state of the pool in the message.
[[noreturn]] void throw_cause(const connect_failure& cause, std::string_view endpoint,
                              const pool_stats& seen);

/// What a caller gets who was not served in time; `last` may be nullptr.
[[nodiscard]] pool_error timed_out(std::string_view endpoint, std::chrono::milliseconds waited,
                                   const pool_stats& seen, const connect_failure* last);

[[nodiscard]] pool_error overloaded(std::string_view endpoint, const pool_stats& seen);
[[nodiscard]] pool_error nested(std::string_view endpoint, const pool_stats& seen);
[[nodiscard]] pool_error forked(std::string_view endpoint);
[[nodiscard]] pool_error closed(std::string_view endpoint);
[[nodiscard]] cancelled stopped(std::string_view endpoint);

}  // namespace soundhash::db
