#pragma once

#include <atomic>
#include <chrono>
#include <memory>
#include <vector>

#include <soundhash/db/core/deadline.hpp>
#include <soundhash/db/database_options.hpp>
#include <soundhash/db/observe/metrics.hpp>

#include "cache/read_through.hpp"
#include "driver/connection.hpp"

namespace soundhash::db {

/// How long the server may still commit what a client has given up: the statement's own limit, the
/// time in which a session notices that its client is gone, and the time for which TCP repeats what
/// was sent.
[[nodiscard]] std::chrono::milliseconds longest_doubt(const database_options& options);

/// The cache of one database put together: the protocol, the Redis client that it owns, the near
/// cache and who tells that one what others drop. Connects when the first session of the database
/// has told the cache's name.
/// Thread safety: safe for concurrent use.
class cache_stack {
 public:
  /// Throws: config_error when this build has no Redis client, or a file of TLS cannot be used.
  explicit cache_stack(const database_options& options);
  ~cache_stack();
  cache_stack(const cache_stack&) = delete;
  cache_stack& operator=(const cache_stack&) = delete;

  [[nodiscard]] const std::shared_ptr<read_through>& through() const noexcept { return through_; }

  /// For every new session of the database: the first one that can tell the name of the cache,
  /// unless the options name it. What fails costs the cache, never the session.
  void meet(driver::connection& session, deadline until);

  /// False after close(): rows come from the database alone, which refuses.
  [[nodiscard]] bool open() const noexcept { return open_.load(std::memory_order_relaxed); }
  void close() noexcept;

  void add_figures(std::vector<figure>& out) const;

 private:
  struct impl;

  void learn_name(driver::connection& session, deadline until);

  std::atomic<bool> open_{true};
  std::shared_ptr<impl> impl_;
  std::shared_ptr<read_through> through_;
};

}  // namespace soundhash::db
