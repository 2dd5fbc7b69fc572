#include <soundhash/db/core/error.hpp>

#include "cache_stack.hpp"

// In place of cache_stack.cpp in a build with SOUNDHASH_DB_REDIS=OFF.

namespace soundhash::db {

struct cache_stack::impl {};

cache_stack::cache_stack(const database_options&) {
  throw config_error{"REDIS_ENABLED", "this build has no Redis client (SOUNDHASH_DB_REDIS=OFF)",
                     "false"};
}
cache_stack::~cache_stack() = default;
void cache_stack::meet(driver::connection&, deadline) {}
void cache_stack::close() noexcept {}
void cache_stack::add_figures(std::vector<figure>&) const {}

}  // namespace soundhash::db
