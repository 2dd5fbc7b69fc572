#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <soundhash/db/cache/cache_options.hpp>
#include <soundhash/db/core/deadline.hpp>

#include "cache/redis_call.hpp"
#include "cache/redis_session.hpp"

namespace soundhash::db::redis {

/// What the owner of a client takes part in. All run on the client's thread and must not throw.
struct client_hooks {
  /// On each new connection, after the handshake and before any call may use it. False: the
  /// connection is closed, the breaker stays open and another try follows later.
  std::function<bool(session&)> before_use{};
  /// After the breaker has closed (true) or opened (false, and why).
  std::function<void(bool available, std::string_view why)> on_change{};
};

/// What a client has done so far.
struct client_stats {
  bool available = false;
  std::string why;                   ///< the last reason not to be; empty while available
  std::uint64_t opens = 0;           ///< how often the breaker opened
  std::uint64_t calls = 0;           ///< sent; without those that an open breaker refused
  std::uint64_t failed = 0;          ///< of these, without an answer
  std::chrono::nanoseconds time{0};  ///< of all calls together
};

/// A Redis server, or whichever server the sentinels call the master, behind a breaker. The calls
/// of all threads share `options.connections` connections: of the callers on one, the first sends
/// and reads for all that come meanwhile, so calls travel together. The first failure of a link
/// opens the breaker; a thread of the client's, started by the first use, connects anew and closes
/// it. In the child of a fork it is never available.
/// Thread safety: safe for concurrent use.
class client final : public caller {
 public:
  /// Connects to nothing.
  /// Throws: config_error when a file of TLS cannot be used.
  explicit client(cache_options options, client_hooks hooks = {});
  /// Waits for the client's thread, which stops within a second (a name lookup) at most. Nobody may
  /// be in a call.
  ~client() override;
  client(const client&) = delete;
  client& operator=(const client&) = delete;

  [[nodiscard]] bool available() const noexcept override;

  /// Bounded by `until` and by the command timeout, whichever comes first. The first alone leaves
  /// the connection to the others; the second opens the breaker.
  [[nodiscard]] std::optional<std::vector<reply>> call(std::span<const command> commands,
                                                       deadline until) override;

  /// Tries to connect now, if the breaker is open; returns at once.
  void retry_soon() noexcept;
  /// Waits until the breaker is closed; false when it is not by then.
  [[nodiscard]] bool wait_until_available(deadline until) const;

  [[nodiscard]] client_stats stats() const;

 private:
  struct impl;
  std::unique_ptr<impl> impl_;
};

}  // namespace soundhash::db::redis
