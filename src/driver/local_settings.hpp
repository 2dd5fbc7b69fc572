#pragma once

#include <chrono>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include <soundhash/db/core/deadline.hpp>

#include "driver/conninfo.hpp"

namespace soundhash::db::driver {

/// A statement that goes ahead of ours in the same round trip.
struct set_config_call {
  std::string sql;  ///< "SELECT set_config('…', $1, true), …"
  std::vector<std::string> values;
};

/// What is set on the server for one transaction at a time: the limit of a call whose deadline is
/// shorter than the session's, and, where sessions cannot keep settings, all of them. They revert
/// by themselves, on success and on error.
/// Thread safety: one thread at a time.
class local_settings {
 public:
  explicit local_settings(const conninfo& where);

  /// The statement_timeout of calls with a longer deadline; zero: none.
  [[nodiscard]] std::chrono::milliseconds usual_limit() const noexcept { return usual_limit_; }
  /// The server's own limit for this statement when the call's deadline is the shorter one.
  [[nodiscard]] std::optional<std::chrono::milliseconds> shorter_limit(deadline until) const;

  /// What to send ahead of the next statement for this limit (none: the usual one); nullopt when
  /// it is in force already. Counts as in force from now on.
  std::optional<set_config_call> ahead(std::optional<std::chrono::milliseconds> shorter);

  void transaction_ended() noexcept;
  /// Which settings a savepoint brings back is not known: the next statement sets its own.
  void savepoint_rolled_back() noexcept { limit_in_force_.reset(); }

 private:
  [[nodiscard]] set_config_call all_with(const std::string& limit) const;

  std::map<std::string, std::string> settings_;  ///< that no session keeps
  std::chrono::milliseconds usual_limit_;
  std::optional<std::chrono::milliseconds> limit_in_force_;  ///< nullopt: not known
};

}  // namespace soundhash::db::driver
