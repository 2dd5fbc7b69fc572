#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include <soundhash/db/observe/metrics.hpp>

#include "observe/labelled_counter.hpp"

namespace soundhash::db {

/// How the cache answered a read.
enum class cache_answer : std::uint8_t {
  near_hit,
  hit,
  negative_hit,  ///< it knew that there is no row
  stale_stamp,   ///< there was a value, whose tags were dropped
  miss,
  bypass,  ///< not asked: wanted so, unavailable, or a tag is undelivered, announced or in doubt
  error,   ///< asked, and Redis did not answer
};

/// What became of a value that was loaded.
enum class fill_end : std::uint8_t { stored, too_large, failed };

/// What became of an order about tags.
enum class delivery : std::uint8_t { delivered, undelivered };

/// What the protocol of the cache did.
/// Thread safety: safe for concurrent use.
struct cache_counters {
  labelled_counter<cache_answer, 7> answers{
      "soundhash_cache_requests_total",
      "Cacheable reads, by how the cache answered",
      "result",
      {"near_hit", "hit", "negative_hit", "stale_stamp", "miss", "bypass", "error"}};
  labelled_counter<fill_end, 3> fills{"soundhash_cache_fills_total",
                                      "Values that were loaded, by what became of them",
                                      "outcome",
                                      {"stored", "too_large", "failed"}};
  labelled_counter<delivery, 2> invalidations{
      "soundhash_cache_invalidations_total",
      "Times that tags of writes were sent to Redis, by whether it acknowledged",
      "outcome",
      {"delivered", "undelivered"}};
  std::atomic<std::uint64_t> lost{0};           ///< tags
  std::atomic<std::uint64_t> decode_errors{0};  ///< values
  std::atomic<std::uint64_t> early_refreshes{0};
  std::atomic<std::uint64_t> payload_bytes{0};
  std::atomic<std::uint64_t> saved_microseconds{0};

  /// A hit on so many bytes, whose load took so long.
  void saved(std::uint64_t size, std::chrono::microseconds load) noexcept {
    payload_bytes.fetch_add(size, std::memory_order_relaxed);
    saved_microseconds.fetch_add(static_cast<std::uint64_t>(load.count()),
                                 std::memory_order_relaxed);
  }

  void add_figures(std::vector<figure>& out) const {
    answers.add_figures(out);
    fills.add_figures(out);
    invalidations.add_figures(out);
    const auto total = [&](std::string name, double value, std::string help) {
      out.push_back({std::move(name), "", value, true, std::move(help)});
    };
    const auto count = [](const std::atomic<std::uint64_t>& of) {
      return static_cast<double>(of.load(std::memory_order_relaxed));
    };
    total("soundhash_cache_lost_invalidations_total", count(lost),
          "Tags whose invalidation Redis did not acknowledge at once");
    total("soundhash_cache_decode_errors_total", count(decode_errors),
          "Values found that were not what had been stored");
    total("soundhash_cache_early_refresh_total", count(early_refreshes),
          "Values loaded anew before their end");
    total("soundhash_cache_payload_bytes_total", count(payload_bytes), "Bytes of the hits");
    total("soundhash_cache_saved_seconds_total", count(saved_microseconds) / 1e6,
          "Time that the loads of the values took that were hit");
  }
};

}  // namespace soundhash::db
