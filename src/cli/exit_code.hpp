#pragma once

namespace soundhash::db::cli {

/// Exit codes of `soundhash-db`.
enum exit_code : int {
  ok = 0,
  failed = 1,
  usage = 2,
  pending = 3,
  drift = 4,
  half_applied = 5,
  locked = 6,
  mismatch = 7,
  unhealthy = 8,  ///< `doctor` found a problem or a warning
};

}  // namespace soundhash::db::cli
