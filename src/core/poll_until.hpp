#pragma once

#include <span>

#include <poll.h>

#include <soundhash/db/core/deadline.hpp>

namespace soundhash::db {

/// poll(2) with a deadline, undisturbed by signals. Looks at the descriptors at least once, also
/// when `until` has passed. Returns whether any is ready.
bool poll_until(std::span<pollfd> watched, deadline until) noexcept;

}  // namespace soundhash::db
