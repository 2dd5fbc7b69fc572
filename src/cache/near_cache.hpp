#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <soundhash/db/cache/cache_options.hpp>
#include <soundhash/db/core/cached.hpp>

#include "core/fork_epoch.hpp"

namespace soundhash::db {

/// Values kept decoded in this process, in front of Redis. How a read uses it:
///
///     if (near.find(key, into)) return;       // the tags are not needed for that
///     const auto place = near.begin(tags);    // BEFORE Redis is asked: what is dropped from here
///     … MGET, or the load …                   // on takes the place away
///     near.fill(key, place, into, life);      // kept only if nothing was
///
/// A tag is a counter that `drop` moves, and an entry is valid while the counters of its tags are
/// those of its place. So a drop is a few increments, no list of entries by tag exists, and a place
/// needs no room here. Tags share 32768 counters by hash: a shared one only drops too much.
///
/// Keys and tags are byte strings, the same wherever they are given: as they are in Redis.
/// In the child of a fork, which nobody tells anything, it answers nothing.
/// Thread safety: safe for concurrent use.
class near_cache {
 public:
  using clock = std::chrono::steady_clock;
  using now_function = clock::time_point (*)() noexcept;

  /// CLOCK_MONOTONIC_COARSE: some milliseconds old, a sixth of the price.
  [[nodiscard]] static clock::time_point coarse_now() noexcept;

  /// Keeps at most `options.entries` values, one at least, each for at most `options.ttl`. Answers
  /// nothing until `trust` is called.
  explicit near_cache(const near_cache_options& options, now_function now = &coarse_now);
  ~near_cache();
  near_cache(const near_cache&) = delete;
  near_cache& operator=(const near_cache&) = delete;

  /// Copies the value of `key` if it is there, of the type of `into`, and valid.
  [[nodiscard]] bool find(std::string_view key, read_sink& into);

  /// What was dropped when a read began.
  class place {
   public:
    place() = default;

   private:
    friend class near_cache;
    struct counted {
      std::uint32_t counter;
      std::uint64_t drops;
    };
    std::vector<counted> tags_;
    std::uint64_t flushes_ = 0;
    clock::time_point began_{};
    bool open_ = false;
  };
  /// Takes a place for a value that carries these tags: all that the value depends on, those of
  /// whole tables and the global one too.
  [[nodiscard]] place begin(std::span<const std::string> tags) const;

  /// Keeps the value of `from`, for `life` at most, unless one of its tags was dropped since
  /// `begin`. Its lifetime here counts from `begin`. What fails is not kept.
  void fill(std::string_view key, const place& at, const read_sink& from,
            std::chrono::milliseconds life) noexcept;

  /// Values with this tag are gone, and no read that has begun fills one again. To be called when
  /// the tag is gone from Redis, or when this process no longer believes Redis about it.
  void drop(std::string_view tag) noexcept;
  void drop(std::span<const std::string> tags) noexcept;
  /// The same for all values.
  void flush() noexcept;

  /// What others dropped has been heard of late enough to answer until then, and no longer: also
  /// when the thread that listens gets no time to say that it hears nothing.
  void trust(clock::time_point until) noexcept;
  /// Nobody tells any more what others drop: flushes, and answers nothing until `trust`.
  void distrust() noexcept;

  struct figures {
    std::uint64_t hits = 0;
    std::uint64_t fills = 0;
    std::uint64_t evictions = 0;  ///< valid entries that had to make room
    std::uint64_t drops = 0;      ///< tags
    std::uint64_t flushes = 0;
    std::size_t entries = 0;  ///< with those no longer valid
  };
  [[nodiscard]] figures stats() const;
  /// Does it answer at the moment?
  [[nodiscard]] bool trusted() const noexcept { return trusted(now_()); }

 private:
  class shard;
  struct entry;

  [[nodiscard]] bool trusted(clock::time_point now) const noexcept;
  [[nodiscard]] bool valid(const entry& kept, clock::time_point now) const noexcept;
  [[nodiscard]] bool unchanged(const place& at) const noexcept;
  [[nodiscard]] shard& shard_of(std::size_t hash) noexcept;

  now_function now_;
  std::chrono::milliseconds ttl_;
  std::vector<std::unique_ptr<shard>> shards_;
  std::vector<std::atomic<std::uint64_t>> dropped_;  // by hash of the tag
  std::atomic<std::uint64_t> flushes_{0};
  std::atomic<std::uint64_t> drops_{0};
  std::atomic<clock::rep> trusted_until_{0};
  const fork_epoch fork_;
};

}  // namespace soundhash::db
