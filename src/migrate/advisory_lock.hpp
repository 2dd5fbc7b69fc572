#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include <soundhash/db/migrate/migration_report.hpp>

#include "migrate/session.hpp"

namespace soundhash::db::migrate {

/// The key of a schema's migration lock (advisory locks are per database already).
std::int64_t lock_key(const std::string& schema);

/// The session that holds the lock, if any.
std::optional<migration_lock_holder> find_lock_holder(session& on, std::int64_t key);

/// "pid 12, application soundhash-db, user x" for messages.
std::string describe(const migration_lock_holder& holder);

/// The session-level lock that keeps migrators apart. It is polled: a blocking pg_advisory_lock
/// holds a snapshot while it waits, and CREATE INDEX CONCURRENTLY of the lock's holder waits for
/// that snapshot: a deadlock.
/// Thread safety: one thread at a time. The session must outlive it; released with it.
class advisory_lock {
 public:
  /// `on_wait` is called once, with who holds the lock. No transaction is open while it waits.
  /// Throws: migration_error{migration_locked} when `wait` passed.
  advisory_lock(session& on, std::chrono::milliseconds wait,
                const std::function<void(const std::string&)>& on_wait);
  ~advisory_lock();
  advisory_lock(const advisory_lock&) = delete;
  advisory_lock& operator=(const advisory_lock&) = delete;

  /// Throws: migration_error{migration_locked} when this session does not hold the lock any more.
  void require_held();

 private:
  bool try_once();
  [[noreturn]] void give_up(std::chrono::milliseconds waited);

  session& on_;
  std::int64_t key_;
};

}  // namespace soundhash::db::migrate
