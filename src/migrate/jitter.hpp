#pragma once

#include <chrono>

namespace soundhash::db::migrate {

/// A random time from half of `pause` to all of it, so that several waiters do not move in step.
/// Thread safety: safe.
std::chrono::milliseconds jittered(std::chrono::milliseconds pause);

}  // namespace soundhash::db::migrate
