#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>

#include <soundhash/db/observe/interceptor.hpp>

#include "observe/histogram.hpp"

namespace soundhash::db {

/// What a series held at one moment. Durations in nanoseconds.
struct series_totals {
  histogram_counts durations;
  std::uint64_t slow = 0;
  std::uint64_t rows = 0;
  std::uint64_t sum = 0;
  std::uint64_t wait = 0;
  std::uint64_t max = 0;
  std::map<std::string, std::uint64_t> errors_by_sqlstate;

  /// Precondition: `earlier` is an earlier moment of the same series. The maximum since then is
  /// not known exactly: it becomes the upper edge of the highest bucket that grew.
  series_totals& operator-=(const series_totals& earlier);
};

/// Failures by SQLSTATE: the first 64 codes by themselves, further ones together as "other".
/// Allocates nothing, so that counting cannot fail.
/// Thread safety: safe for concurrent use.
class error_counts {
 public:
  void record(std::string_view sqlstate) noexcept;
  [[nodiscard]] std::map<std::string, std::uint64_t> by_sqlstate() const;

  static constexpr std::size_t max_states = 64;

 private:
  struct entry {
    std::array<char, 6> state{};
    std::uint64_t count = 0;
  };

  mutable std::mutex mutex_;
  std::size_t used_ = 0;
  std::array<entry, max_states> entries_{};
  std::uint64_t other_ = 0;
};

/// The counters of one query. Threads are spread over 8 shards, so that they rarely meet on a
/// cache line; every record is exact.
/// Thread safety: safe for concurrent use.
class series {
 public:
  series(std::string name, statement_kind kind) : name_{std::move(name)}, kind_{kind} {}

  void record(const statement_event& event, std::chrono::nanoseconds slow_threshold) noexcept;
  /// A statement's failure or slowness is never seen before the statement itself.
  [[nodiscard]] series_totals totals() const;

  [[nodiscard]] const std::string& name() const noexcept { return name_; }
  [[nodiscard]] statement_kind kind() const noexcept { return kind_; }

 private:
  struct alignas(64) shard {
    std::atomic<std::uint64_t> sum{0};
    std::atomic<std::uint64_t> max{0};
    std::atomic<std::uint64_t> rows{0};
    std::atomic<std::uint64_t> wait{0};
    std::atomic<std::uint64_t> slow{0};
    histogram durations;
  };

  std::string name_;
  statement_kind kind_;
  std::array<shard, 8> shards_{};
  error_counts errors_;
};

}  // namespace soundhash::db
