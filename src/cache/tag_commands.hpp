#pragma once

#include <chrono>
#include <span>
#include <vector>

#include "cache/key_space.hpp"
#include "cache/redis_call.hpp"
#include "cache/stamp.hpp"
#include "cache/undelivered_tags.hpp"

namespace soundhash::db {

/// How tags change in Redis. A stamp is a string. A mark is a set of tokens, one of each change
/// that is announced or in doubt, so that many changes can mark a tag and each takes only its own
/// mark away; it looks absent to MGET, refuses SET NX and is no string for GET. GETDEL removes a
/// stamp and leaves a mark.
///
///     drop     GETDEL tag
///     mark     MULTI, GETDEL tag, SADD tag token, PEXPIRE tag …, EXEC
///     settle   SREM tag token, GETDEL tag
///
/// A mark ends with the latest PEXPIRE of all its changes.
/// Thread safety: immutable.
class tag_commands {
 public:
  /// Marks end by themselves after `doubt_ttl`.
  explicit tag_commands(std::chrono::milliseconds doubt_ttl)
      : process_{stamp::random()}, doubt_ttl_{doubt_ttl} {}

  /// Does the orders, at most some hundred of them in one call. False: not all are acknowledged.
  [[nodiscard]] bool execute(std::span<const tag_order> orders, const key_space& keys,
                             redis::caller& on, deadline until) const;

 private:
  [[nodiscard]] bool execute_some(std::span<const tag_order> orders, const key_space& keys,
                                  redis::caller& on, deadline until) const;
  void append(std::vector<redis::command>& out, const tag_order& order,
              const key_space& keys) const;
  [[nodiscard]] std::string token(std::uint64_t change) const;

  stamp process_;
  std::chrono::milliseconds doubt_ttl_;
};

}  // namespace soundhash::db
