#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <thread>

#include <soundhash/db/cache/cache_options.hpp>
#include <soundhash/db/core/deadline.hpp>

#include "cache/interruption.hpp"
#include "cache/redis_session.hpp"
#include "core/fork_epoch.hpp"

namespace soundhash::db {

class near_cache;

/// Tells a near cache which tags others drop, by Redis' server-assisted client-side caching
/// (https://redis.io/docs/manual/client-side-caching/): one connection of its own, which tracks the
/// prefix of the tags in broadcasting mode and is told on itself. Values are not tracked: whatever
/// changes moves a tag.
///
/// The near cache is trusted until `bound` after the last PING that was answered: its answer comes
/// behind all that was dropped before. When the connection ends, or an answer is late, the near
/// cache is flushed and answers nothing until the tags are tracked again.
/// Thread safety: construction and destruction by one thread.
class near_cache_feed {
 public:
  static constexpr std::chrono::milliseconds ping_every{500};
  static constexpr std::chrono::milliseconds pong_within{1000};
  /// What a half-dead link adds to the delivery of a message, at most.
  static constexpr std::chrono::milliseconds bound{ping_every + pong_within};

  /// Begins to connect, on a thread of its own. `tag_prefix`: what the keys of all tags begin with.
  /// `into` outlives this. Throws: std::system_error when descriptors or threads ran out.
  near_cache_feed(cache_options options, std::string tag_prefix, near_cache& into);
  /// Stops within a second (a name lookup) at most. In the child of a fork the thread is not there
  /// to be waited for.
  ~near_cache_feed();
  near_cache_feed(const near_cache_feed&) = delete;
  near_cache_feed& operator=(const near_cache_feed&) = delete;

  /// How often the tags came to be tracked. Thread safety: safe for concurrent use.
  [[nodiscard]] std::uint64_t connections() const noexcept { return connections_.load(); }

 private:
  void run();
  // Each returns why it ended; subscribe(): empty when the tags are tracked.
  [[nodiscard]] std::string listen();
  [[nodiscard]] std::string subscribe(redis::session& to) const;
  [[nodiscard]] std::string follow(redis::session& server, deadline::clock::time_point asked);
  void note_change(bool listening, std::string_view why);

  const cache_options options_;
  const std::string tag_prefix_;
  near_cache& near_;
  redis::interruption stop_;
  std::atomic<std::uint64_t> connections_{0};
  bool complained_ = false;  // that it does not listen
  const fork_epoch fork_;
  std::unique_ptr<std::thread> thread_;  // last: it uses the others
};

}  // namespace soundhash::db
