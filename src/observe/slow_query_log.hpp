#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <mutex>
#include <optional>

#include <soundhash/db/observe/interceptor.hpp>

#include "observe/token_bucket.hpp"

namespace soundhash::db {

/// Logs statements whose execute phase took longer than a threshold, at level warn: name, time by
/// phase, rows, SQLSTATE and the beginning of the SQL; never a value. Writes 10 lines a second at
/// most, after a burst of 20; the next line tells how many statements had none.
/// Thread safety: safe for concurrent use; a statement that is not slow takes no lock.
class slow_query_log final : public interceptor {
 public:
  using clock = std::function<std::chrono::steady_clock::time_point()>;

  explicit slow_query_log(std::chrono::nanoseconds threshold,
                          clock now = std::chrono::steady_clock::now);

  void on_finish(const statement_event& event) override;

 private:
  /// How many statements were left out since the last line; nullopt: leave this one out too.
  [[nodiscard]] std::optional<std::uint64_t> admit();

  const std::chrono::nanoseconds threshold_;
  const clock now_;
  std::mutex mutex_;  // guards all below
  token_bucket allowed_;
  std::uint64_t left_out_ = 0;
};

}  // namespace soundhash::db
