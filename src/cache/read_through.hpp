#pragma once

#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <soundhash/db/cache/cache_options.hpp>
#include <soundhash/db/core/cached.hpp>
#include <soundhash/db/core/deadline.hpp>
#include <soundhash/db/core/function_ref.hpp>
#include <soundhash/db/core/param.hpp>
#include <soundhash/db/core/query.hpp>
#include <soundhash/db/core/result.hpp>
#include <soundhash/db/observe/metrics.hpp>

#include "cache/redis_call.hpp"
#include "core/tag_listener.hpp"

namespace soundhash::db {

class near_cache;

/// What a load brought.
struct loaded {
  // NOLINTNEXTLINE(google-explicit-constructor): a load that returns a result is the rule
  loaded(result found, bool is_from_primary = true) noexcept
      : rows{std::move(found)}, from_primary{is_from_primary} {}

  result rows;
  /// A standby may lag behind: its rows are neither stored nor shared.
  bool from_primary;
};

/// The read-through cache of one database: the protocol of reads and writes over Redis.
///
/// Each tag is a key in Redis that holds a random stamp, and each value holds the stamps that its
/// tags had before it was read from the database. A value is valid while they are equal. A write
/// removes the stamps of its tags after COMMIT; a stamp that comes later was never seen before, so
/// whoever holds it began to read after the COMMIT. Losing a stamp only costs misses. While a
/// COMMIT is announced or in doubt, its tags hold a mark instead: neither hits nor fills.
/// Thread safety: safe for concurrent use; what says "once" is said before the first use.
class read_through final : public tag_listener {
 public:
  using wall_clock = std::chrono::system_clock::time_point (*)() noexcept;

  /// What it works with.
  struct parts {
    /// Outlives every COMMIT that is in doubt: more than statement timeout + check interval + TCP
    /// timeouts.
    std::chrono::milliseconds doubt_ttl{120'000};
    /// Opens a connection for SCAN alone; nullptr or an unavailable one: none could be had.
    std::function<std::unique_ptr<redis::caller>(deadline)> open_session{};
    std::shared_ptr<near_cache> near{};
    /// After which what Redis did not acknowledge is sent again.
    std::chrono::milliseconds resend_pause{100};
    wall_clock now = &std::chrono::system_clock::now;
  };
  read_through(const cache_options& options, parts with);
  ~read_through() override;

  /// Once, unless the options name one (`key_space::name_of` makes it). Nothing is hit or filled
  /// before, and no connection passes before_use.
  void name_space(std::string_view name);
  /// Once. Whom to call from now on; until then, and while it is unavailable, all reads load.
  void attach(std::shared_ptr<redis::caller> server);
  /// For every new connection, before any call may use it: drops what a restarted server may have
  /// revived and the tags that could not be delivered. False: do not use this connection.
  [[nodiscard]] bool before_use(redis::caller& session, deadline until);
  /// After calls may use new connections: tells the server what was lost on the old ones meanwhile.
  void resume() noexcept;

  /// Answers a read from the cache, or by `load`, which runs the statement on the database outside
  /// of any transaction. Pass options whose deadline is effective: it bounds the wait for another
  /// caller's load of the same value.
  /// Throws: what `load` and the sink throw.
  void read(const query& statement, const params& values, const call_options& options,
            const cached& how, read_sink& into, function_ref<loaded()> load);

  struct request {
    const query& statement;
    const params& values;
    const cached& how;
    read_sink& into;
  };
  /// The same for many, with one MGET. `load` is called at most once, with the indexes of those
  /// that must be loaded, and returns as many results, in that order.
  void read_many(std::span<const request> requests, const call_options& options,
                 function_ref<std::vector<loaded>(std::span<const std::size_t>)> load);

  // What writes changed; see tag_listener.
  [[nodiscard]] bool strict() const noexcept override;
  [[nodiscard]] bool announce(const tag_set& changed) noexcept override;
  void committed(const tag_set& changed) noexcept override;
  void in_doubt(const tag_set& changed) noexcept override;
  void rolled_back(const tag_set& changed) noexcept override;

  /// Drops tags; true when Redis has answered. Else they are dropped before this process uses them
  /// again.
  bool drop(const tag_set& tags) noexcept;

  // What `cache` offers.
  [[nodiscard]] std::vector<std::optional<std::string>> get(std::span<const std::string_view> keys);
  bool set(std::string_view key, std::string_view value, std::chrono::milliseconds ttl);
  bool del(std::string_view key);
  bool clear() noexcept;
  [[nodiscard]] std::optional<std::size_t> clear(std::string_view pattern, deadline until);
  [[nodiscard]] std::optional<std::string> wrapped(std::string_view key, const tag_set& tags,
                                                   std::chrono::milliseconds ttl,
                                                   const call_options& options,
                                                   function_ref<std::optional<std::string>()> load);

  /// Counters of the protocol; those of the Redis client and of the near cache are theirs.
  void add_figures(std::vector<figure>& out) const;

 private:
  struct impl;
  class batch;
  std::unique_ptr<impl> impl_;
};

}  // namespace soundhash::db
