#include <algorithm>

#include <soundhash/db/pool/pool_options.hpp>

#include "pool/pool_limits.hpp"

namespace soundhash::db {

void pool_options::validate() const {
  if (size) require_within("pool.size", *size, pool_limits::size);
  if (max_overflow) require_within("pool.max_overflow", *max_overflow, pool_limits::max_overflow);
  require_within("pool.acquire_timeout", acquire_timeout, pool_limits::acquire_timeout);
  require_within("pool.recycle", recycle, pool_limits::recycle);
  require_within("pool.connect_timeout", connect_timeout, pool_limits::connect_timeout);
  require_within("pool.fail_fast_after", fail_fast_after, pool_limits::fail_fast_after);
  require_within("pool.recent_use", recent_use, pool_limits::recent_use);
  require_within("pool.ping_after", ping_after, {recent_use, pool_limits::longest_ping_after});
  require_within(
      "pool.min_idle", min_idle,
      {0, std::min(size.value_or(pool_limits::min_idle.high), pool_limits::min_idle.high)});
  require_within("pool.idle_timeout", idle_timeout, pool_limits::idle_timeout);
  require_within("pool.keepalive", keepalive, pool_limits::keepalive);
  require_within("pool.leak_after", leak_after, pool_limits::leak_after);
  require_within("pool.max_waiters", max_waiters, pool_limits::max_waiters);
}

}  // namespace soundhash::db
