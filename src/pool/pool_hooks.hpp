#pragma once

#include <functional>

#include "pool/acquire_error.hpp"
#include "pool/held_lease.hpp"

namespace soundhash::db {

/// What the owner of a pool is told, without a lock held. Empty functions are not called.
template <class Connection>
struct pool_hooks {
  /// Every new connection, on the pool's thread; when it throws, the connect has failed.
  std::function<void(Connection&)> on_connect;
  /// Every connection handed out, on the caller's thread; when it throws, the connection is closed
  /// and the caller gets the exception.
  std::function<void(Connection&)> on_acquire;
  /// Every connection given back and not discarded, on the caller's thread; when it throws, the
  /// connection is closed.
  std::function<void(Connection&)> on_release;
  /// A lease older than `leak_after`, once, on the pool's thread; must not throw.
  std::function<void(const held_lease&)> on_leak;
  /// Callers fail from now on because nothing can be connected, with the cause; and, with nullptr,
  /// no longer. On the pool's thread; must not throw.
  std::function<void(const connect_failure*)> on_outage;
};

}  // namespace soundhash::db
