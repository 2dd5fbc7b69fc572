#include "every_public_header.hpp"

#if defined(PQXX_VERSION) || defined(PQXX_VERSION_MAJOR)
#error "a public header includes libpqxx"
#endif
#if defined(LIBPQ_FE_H)
#error "a public header includes libpq"
#endif
#if defined(FMT_VERSION) || defined(SPDLOG_VERSION)
#error "a public header includes fmt or spdlog"
#endif
#if defined(__HIREDIS_H)
#error "a public header includes hiredis"
#endif

#include <iostream>

namespace sdb = soundhash::db;

namespace {

constexpr sdb::query count_tags{"tag.count", "SELECT count(*) FROM tags", sdb::access::read_only};

#if defined(WITHOUT_REDIS)
constexpr bool has_redis = false;
#else
constexpr bool has_redis = true;
#endif

bool testing_library_links() {
  sdb::testing::fake_executor fake;
  fake.expect("tag.count", sdb::testing::rows{"count"}.add(std::int64_t{3}));
  return fake.one<std::int64_t>(count_tags) == 3;
}

/// A build without the Redis client says so instead of running without its cache.
bool redis_is_as_built(sdb::database_options options) {
  options.cache.enabled = true;
  try {
    return sdb::database::open(options).cache().enabled() && has_redis;
  } catch (const sdb::config_error& refused) {
    return refused.variable() == "REDIS_ENABLED" && !has_redis;
  }
}

}  // namespace

int main() {
  sdb::database_options options;
  options.pool.size = 3;
  options.pool.max_overflow = 4;
  const auto db = sdb::database::open(options);
  const auto stats = db.pool_stats();
  std::cout << "pool: limit " << stats.limit << ", idle " << stats.idle << ", connects "
            << stats.connects << '\n';
  const bool right = stats.limit == 7 && stats.connects == 0;
  return right && testing_library_links() && redis_is_as_built(options) ? 0 : 1;
}
