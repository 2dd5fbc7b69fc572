#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <mutex>
#include <span>
#include <string_view>
#include <unordered_set>
#include <vector>

#include <soundhash/db/core/cache_tag.hpp>
#include <soundhash/db/core/deadline.hpp>

#include "cache/cache_counters.hpp"
#include "cache/cache_server.hpp"
#include "cache/tag_commands.hpp"
#include "cache/undelivered_tags.hpp"

namespace soundhash::db {

/// Tells Redis what writes changed, at once if it answers, else when it answers again.
/// Thread safety: safe for concurrent use.
class tag_delivery {
 public:
  /// Orders that failed are sent again when the server answers again, and after `pause` by the next
  /// read or write.
  tag_delivery(const cache_server& to, cache_counters& counters,
               std::chrono::milliseconds doubt_ttl, std::chrono::milliseconds pause)
      : to_{to}, counters_{counters}, commands_{doubt_ttl}, pause_{pause} {}

  // Each true when Redis has acknowledged.

  /// A change that is about to be committed. Not sent again.
  bool announce(const tag_set& changed);
  bool committed(const tag_set& changed);
  bool in_doubt(const tag_set& changed);
  /// Not sent again: the mark ends by itself.
  bool rolled_back(const tag_set& changed);
  bool drop(const tag_set& tags);
  bool drop_all();
  /// When there is no memory to say what changed.
  void lose() noexcept { undelivered_.lose(); }

  /// Must a read that depends on these tags do without the cache?
  [[nodiscard]] bool must_bypass(std::span<const std::string_view> tags);
  /// Sends all that failed over a new connection.
  [[nodiscard]] bool resend(redis::caller& over, deadline until);
  /// The server has become available: sends what failed on connections of before since resend().
  void resume();
  [[nodiscard]] std::size_t undelivered() const noexcept { return undelivered_.size(); }

 private:
  using clock = std::chrono::steady_clock;

  bool deliver(std::vector<tag_order> orders);
  bool send(const undelivered_tags::parcel& orders, redis::caller* over, deadline until);
  bool execute(std::span<const tag_order> orders, redis::caller* over, deadline until);
  void resend_all();
  void resend_when_due();
  void remember_mark(std::uint64_t change);
  [[nodiscard]] bool take_mark(std::uint64_t change);

  const cache_server& to_;
  cache_counters& counters_;
  tag_commands commands_;
  undelivered_tags undelivered_;
  std::chrono::milliseconds pause_;
  std::atomic<clock::rep> next_resend_{0};
  std::atomic<std::uint64_t> resumes_{0};

  std::mutex mutex_;
  std::unordered_set<std::uint64_t> marked_;  // changes that may have marked their tags
};

}  // namespace soundhash::db
