#pragma once

#include <soundhash/db/core/deadline.hpp>

#include "cache/key_space.hpp"
#include "cache/redis_call.hpp"

namespace soundhash::db {

/// A server that was restarted may have revived old pairs of tags and values from its dump, and one
/// that was promoted may lack the last drops. So the run_id of the server that was last met is kept
/// beside the values; where it is another, or absent, the global tag is dropped first. False: the
/// server is no master, or did not answer as one does.
[[nodiscard]] bool meet_server(redis::caller& session, const key_space& keys, deadline until);

}  // namespace soundhash::db
