#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include <soundhash/db/cache/cache_options.hpp>
#include <soundhash/db/core/deadline.hpp>

#include "cache/interruption.hpp"
#include "cache/redis_call.hpp"

namespace soundhash::db::redis {

class link;

/// A connection that nobody shares: for SCAN, for messages of a subscription, and for what must be
/// said on a new connection first. After an unclear answer (none in time, broken bytes, too few) it
/// is dead for good.
/// Thread safety: one thread at a time; another may ring the interruption.
class session final : public caller {
 public:
  /// Finds the server (its name, or the master that the sentinels name), connects and says who we
  /// are, all by `until`. A failure gives a dead session that knows why. `stop` outlives it.
  [[nodiscard]] static session open(const cache_options& options, deadline until,
                                    const interruption* stop = nullptr);
  explicit session(std::unique_ptr<link> established);
  ~session() override;
  session(session&&) noexcept;
  session& operator=(session&&) noexcept;

  /// False once dead.
  [[nodiscard]] bool available() const noexcept override;
  /// Why it is dead, without any secret; empty while it is not.
  [[nodiscard]] const std::string& failure() const noexcept { return failure_; }

  /// As caller::call; the client's budget does not apply. nullopt: dead from now on.
  [[nodiscard]] std::optional<std::vector<reply>> call(std::span<const command> commands,
                                                       deadline until) override;

  /// Sends and awaits nothing: what comes back is for next_push(). False: dead from now on.
  bool post(std::span<const command> commands, deadline until);
  /// The next thing the server says. nullopt: nothing by `until`, and the session is still good,
  /// unless it is dead (available() tells).
  [[nodiscard]] std::optional<reply> next_push(deadline until);

  /// Gives the connection away; the session is dead then.
  [[nodiscard]] std::unique_ptr<link> release();

 private:
  explicit session(std::string failure);
  void fail(std::string why) noexcept;

  std::unique_ptr<link> link_;
  std::string failure_;
};

}  // namespace soundhash::db::redis
