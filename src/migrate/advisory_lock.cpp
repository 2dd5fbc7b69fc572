#include "migrate/advisory_lock.hpp"

#include <algorithm>
#include <charconv>
#include <thread>

#include <soundhash/db/core/deadline.hpp>
#include <soundhash/db/core/error.hpp>

#include "migrate/jitter.hpp"
#include "migrate/sha256.hpp"

namespace soundhash::db::migrate {
namespace {

using std::chrono::milliseconds;

// A bigint key shows in pg_locks as classid (high half), objid (low half) and objsubid 1.
constexpr std::string_view holder_sql = R"sql(
SELECT l.pid, coalesce(a.usename::text, '?'), coalesce(a.application_name, '?'),
       coalesce(host(a.client_addr), 'local'), coalesce(a.state, '?'),
       coalesce(a.backend_start AT TIME ZONE 'UTC', timestamp 'epoch')
FROM pg_locks l LEFT JOIN pg_stat_activity a USING (pid)
WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1
  AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
  AND l.classid = (($1::bigint >> 32) & 4294967295)::oid
  AND l.objid = ($1::bigint & 4294967295)::oid
LIMIT 1)sql";

}  // namespace

std::int64_t lock_key(const std::string& schema) {
  const auto digest = sha256_hex("soundhash-db migrations of schema " + schema);
  std::uint64_t key = 0;
  std::from_chars(digest.data(), digest.data() + 16, key, 16);
  return static_cast<std::int64_t>(key);
}

std::optional<migration_lock_holder> find_lock_holder(session& on, std::int64_t key) {
  const auto rows = on.query(holder_sql, {key});
  if (rows.empty()) return std::nullopt;
  const auto row = rows[0];
  return migration_lock_holder{.pid = row[0].as<std::int32_t>(),
                               .user = row[1].as<std::string>(),
                               .application_name = row[2].as<std::string>(),
                               .client = row[3].as<std::string>(),
                               .state = row[4].as<std::string>(),
                               .since = row[5].as<timestamp>()};
}

std::string describe(const migration_lock_holder& holder) {
  return "pid " + std::to_string(holder.pid) + ", application \"" +
         sanitize(holder.application_name, 64) + "\", user " + sanitize(holder.user, 64) +
         ", client " + holder.client;
}

advisory_lock::advisory_lock(session& on, milliseconds wait,
                             const std::function<void(const std::string&)>& on_wait)
    : on_{on}, key_{lock_key(on.schema())} {
  const auto until = deadline::in(wait);
  if (try_once()) return;
  const auto holder = find_lock_holder(on_, key_);
  on_wait(holder ? describe(*holder) : "unknown");
  for (milliseconds pause{25}; !until.passed(); pause = std::min(pause * 2, milliseconds{1000})) {
    std::this_thread::sleep_for(
        std::min<deadline::clock::duration>(jittered(pause), until.remaining()));
    if (try_once()) return;
  }
  give_up(wait);
}

advisory_lock::~advisory_lock() {
  on_.rollback();
  if (!on_.usable()) return;
  try {
    const auto rows = on_.query("SELECT pg_advisory_unlock($1::bigint)", {key_});
    if (!rows[0][0].as<bool>()) on_.abort();
  } catch (const error&) {
    on_.abort();
  }
}

void advisory_lock::require_held() {
  const auto holder = find_lock_holder(on_, key_);
  const auto self = on_.query("SELECT pg_backend_pid()")[0][0].as<std::int32_t>();
  if (holder && holder->pid == self) return;
  throw migration_error(errc::migration_locked,
                        "the migration lock was lost: either a migration released it (DISCARD ALL, "
                        "pg_advisory_unlock_all) or a pooler changed the session; connect to the "
                        "PostgreSQL server directly and run again");
}

bool advisory_lock::try_once() {
  const auto rows = on_.query("SELECT pg_try_advisory_lock($1::bigint)", {key_});
  return rows[0][0].as<bool>();
}

void advisory_lock::give_up(milliseconds waited) {
  const auto holder = find_lock_holder(on_, key_);
  throw migration_error(errc::migration_locked, "another migrator holds the lock (" +
                                                    (holder ? describe(*holder) : "just released") +
                                                    ") and did not finish within " +
                                                    std::to_string(waited.count()) +
                                                    " ms; wait for it, or give a longer lock wait");
}

}  // namespace soundhash::db::migrate
