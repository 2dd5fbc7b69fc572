#pragma once

#include <chrono>
#include <cmath>

namespace soundhash::db {

/// Loads faster than this are not worth an early one.
inline constexpr std::chrono::microseconds least_refreshed_load{5000};

/// Should a value that is still good be loaded anew, so that it does not end for all callers at
/// once? The nearer its end and the slower its load, the likelier: `now − load·ln(random) ≥
/// expires` (XFetch with beta = 1: Vattani, Chierichetti, Lowenstein, "Optimal Probabilistic Cache
/// Stampede Prevention", VLDB 2015). `random` is uniform in (0, 1].
template <class Time>
[[nodiscard]] bool refresh_early(Time now, Time expires, std::chrono::microseconds load,
                                 double random) noexcept {
  if (load < least_refreshed_load) return false;
  const std::chrono::duration<double, std::micro> early{-static_cast<double>(load.count()) *
                                                        std::log(random)};
  return early >= expires - now;
}

}  // namespace soundhash::db
