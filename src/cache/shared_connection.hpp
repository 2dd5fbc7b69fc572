#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include <soundhash/db/core/deadline.hpp>

#include "cache/redis_call.hpp"
#include "cache/redis_link.hpp"

namespace soundhash::db::redis {

/// One connection for the calls of many threads. Of the callers in it one leads: it sends what all
/// have queued and reads the answers of all, until its own are there; then another of them leads.
/// So a lone caller makes the system calls of a plain client, and many share them.
/// A caller whose deadline passes leaves its place in the order behind, and whoever leads then
/// drops its answers. A server that is silent for a budget ends the connection for all, for good.
/// Thread safety: safe for concurrent use.
class shared_connection {
 public:
  /// What became of a call.
  enum class outcome : unsigned char {
    answered,
    left,    ///< its own deadline passed
    failed,  ///< the connection is dead; failure() says why
  };

  /// `budget` bounds each call, and the silence of the server.
  shared_connection(std::unique_ptr<link> established, std::chrono::nanoseconds budget);
  ~shared_connection();
  shared_connection(const shared_connection&) = delete;
  shared_connection& operator=(const shared_connection&) = delete;

  /// `now`: the caller's look at the clock.
  outcome call(std::span<const command> commands, deadline::clock::time_point now, deadline until,
               std::vector<reply>& answers);

  /// How many are in a call just now.
  [[nodiscard]] unsigned callers() const noexcept {
    return callers_.load(std::memory_order_relaxed);
  }
  [[nodiscard]] std::string failure() const;

 private:
  struct batch;
  using batch_ptr = std::shared_ptr<batch>;
  using lock_type = std::unique_lock<std::mutex>;

  [[nodiscard]] std::uint32_t next_signal() noexcept;
  void enqueue(std::span<const command> commands, const batch_ptr& own);
  outcome follow(batch& own);
  outcome leave(batch& own);
  outcome lead(lock_type& lock, batch& own);
  outcome lead_until_answered(lock_type& lock, batch& own);
  void adopt();
  void send_queued(lock_type& lock);
  void progress(const batch& own);
  void deliver(reply answer);
  void wake_answered() noexcept;
  void wake(std::uint32_t signals) noexcept;
  batch_ptr next_leader();
  void hand_over(lock_type& lock) noexcept;
  void fail(lock_type& lock, const char* why);

  const std::chrono::nanoseconds budget_;
  std::atomic<unsigned> callers_ = 0;
  std::atomic<std::uint32_t> signals_ = 0;  // given to callers, in turn
  std::atomic<std::uint32_t> told_ = 0;     // moves when sleepers are told; they wait for that
  mutable std::mutex mutex_;                // guards all down to the leader's
  bool led_ = false;
  std::string unsent_;
  std::deque<batch_ptr> queued_;
  std::string failure_;

  // The leader's; passed on under the mutex.
  std::unique_ptr<link> link_;
  std::deque<batch_ptr> in_flight_;
  std::vector<batch_ptr> answered_;  // to be woken
};

}  // namespace soundhash::db::redis
