#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <soundhash/db/cache/cache_options.hpp>
#include <soundhash/db/core/deadline.hpp>

#include "cache/interruption.hpp"
#include "cache/redis_link.hpp"
#include "cache/redis_tls.hpp"

namespace soundhash::db::redis {

/// Where a server listens, after all questions to name services and sentinels.
struct location {
  std::vector<std::string> addresses;  ///< numeric, or the path of one Unix socket
  std::uint16_t port = 0;
  std::string host{};                        ///< the name that the addresses are of
  std::shared_ptr<const tls_context> tls{};  ///< nullptr: plain
};

/// The server of the options, for log lines: "localhost:6379", a path, "the master mymaster".
[[nodiscard]] std::string describe(const cache_options& options);

/// Asks the name service, or the sentinels in their order, each for the connect timeout at most.
/// Reads the files of TLS, if there is TLS: once for all connections to this location.
/// Throws: link_error.
[[nodiscard]] location locate(const cache_options& options, deadline until,
                              const interruption* stop);

/// Connects, with TLS if the location has it, and asks for nothing.
/// Throws: link_error.
[[nodiscard]] std::unique_ptr<link> connect(const location& where, deadline until,
                                            const interruption* stop);

/// Connects, says who we are and chooses the database, in one round trip. The server must be a
/// master that answers: not loading, not a replica.
/// Throws: link_error.
[[nodiscard]] std::unique_ptr<link> establish(const cache_options& options, const location& where,
                                              deadline until, const interruption* stop);

/// Is this an answer of a server that has become of no use to us: loading, a replica, without our
/// login? Other errors concern one command.
[[nodiscard]] bool is_unfit(const reply& answer) noexcept;

}  // namespace soundhash::db::redis
