#pragma once

#include <vector>

#include <soundhash/db/observe/metrics.hpp>
#include <soundhash/db/pool/pool_stats.hpp>

namespace soundhash::db {

/// The pool's state and counters by OpenTelemetry's names for database clients.
void add_pool_figures(const pool_stats& pool, std::vector<figure>& out);

}  // namespace soundhash::db
