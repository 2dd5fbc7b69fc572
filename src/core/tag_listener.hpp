#pragma once

#include <soundhash/db/core/cache_tag.hpp>

namespace soundhash::db {

/// Is told what writes changed, at the moments when a cache must act. None of these throws: a cache
/// that fails is never an error of the write.
/// Thread safety: safe for concurrent use.
class tag_listener {
 public:
  virtual ~tag_listener() = default;

  /// Must a transaction be announced before COMMIT, autocommit writes included?
  [[nodiscard]] virtual bool strict() const noexcept = 0;
  /// Strict mode, before COMMIT. False: the cache cannot be told, and the mode is fail-closed: the
  /// transaction must not commit.
  [[nodiscard]] virtual bool announce(const tag_set& changed) noexcept = 0;
  /// After the acknowledged COMMIT, or the acknowledged statement, before the call returns.
  virtual void committed(const tag_set& changed) noexcept = 0;
  /// COMMIT was sent and nobody knows. Later either `committed` follows, when it is resolved (also
  /// as rolled back: dropping too much is safe), or nothing.
  virtual void in_doubt(const tag_set& changed) noexcept = 0;
  /// It did not happen. Only in strict mode, after `announce`.
  virtual void rolled_back(const tag_set& changed) noexcept = 0;

 protected:
  tag_listener() = default;
  tag_listener(const tag_listener&) = default;
  tag_listener& operator=(const tag_listener&) = default;
};

}  // namespace soundhash::db
