#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include <sys/types.h>

#include <soundhash/db/cache/cache_options.hpp>

namespace soundhash::db::test {

/// How a private Redis is set up.
struct private_redis_options {
  bool tcp = false;                      ///< also listen on a free port of 127.0.0.1
  bool tls = false;                      ///< the port speaks TLS alone, by files in `arguments`
  std::string password{};                ///< asked for, if not empty
  std::vector<std::string> arguments{};  ///< further ones of redis-server; they win over ours
  /// Not 0: a sentinel that watches the master at this port of 127.0.0.1 as "mymaster", and alone
  /// may name another after half a second of silence.
  std::uint16_t sentinel_of = 0;
};

/// A Redis server of one's own in a fresh temporary directory, without persistence, reachable by a
/// Unix socket. Ends with this object and also when this process dies.
/// Thread safety: one thread at a time, except options().
class private_redis {
 public:
  /// Returns when the server answers PING.
  /// Throws: config_error when redis-server is not installed; connection_error with its log when it
  /// does not come up.
  explicit private_redis(private_redis_options wanted = {});
  ~private_redis();
  private_redis(const private_redis&) = delete;
  private_redis& operator=(const private_redis&) = delete;

  /// Enabled, by the socket; every other member but the password has its default.
  [[nodiscard]] cache_options options() const;
  /// The same by 127.0.0.1, if made with `tcp`.
  [[nodiscard]] cache_options tcp_options() const;

  /// SIGTERM, and waits for the end: SHUTDOWN, which saves if told so by a setting.
  void stop();
  /// SIGKILL.
  void kill_immediately();
  /// Starts again on the same socket, port and directory. No effect when running.
  void start();
  /// The same, but takes a millisecond for each key that was saved, and returns at once.
  void start_loading_slowly();
  /// stop() and start().
  void restart();
  /// SIGSTOP: connections stay open and silent.
  void pause();
  void resume();
  [[nodiscard]] pid_t pid() const;

  /// Answer of one command by a connection of its own, on the socket: "PONG", "7", "" for nil;
  /// elements of an array a line each.
  /// Throws: connection_error when there is no answer.
  std::string ask(const std::vector<std::string>& arguments);

  [[nodiscard]] std::filesystem::path directory() const;
  [[nodiscard]] std::filesystem::path log() const;

 private:
  struct impl;
  std::unique_ptr<impl> state_;
};

}  // namespace soundhash::db::test
