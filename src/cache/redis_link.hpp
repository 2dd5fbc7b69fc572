#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <soundhash/db/core/deadline.hpp>

#include "cache/interruption.hpp"
#include "cache/link_error.hpp"
#include "cache/redis_call.hpp"
#include "cache/reply_reader.hpp"

namespace soundhash::db::redis {

/// A connected socket to Redis. Waits have deadlines of their own (hiredis' are per read); sending
/// raises no SIGPIPE (hiredis' does). Every function throws link_error once the link is of no more
/// use; nobody may use it after that, since a late answer would be taken for another's.
/// Thread safety: one thread at a time.
class link {
 public:
  /// Owns a non-blocking socket. `stop`, if any, ends its waits.
  link(int socket, const interruption* stop, reply_limits limits = {});
  ~link();
  link(const link&) = delete;
  link& operator=(const link&) = delete;

  /// After a connect() under way.
  void wait_connected(deadline until);

  /// What is to be sent next; append to it.
  [[nodiscard]] std::string& output() noexcept { return output_; }
  /// Sends of it what the socket takes now.
  void flush();
  /// Until something came, or something can be sent if something is to be. False: not by `until`.
  [[nodiscard]] bool wait(deadline until);
  /// Reads what came; perhaps nothing.
  void receive();
  /// The next answer of what was read.
  [[nodiscard]] std::optional<reply> next() { return reader_.next(); }

  /// All of these together: the answers to `commands`, all by `until`.
  [[nodiscard]] std::vector<reply> exchange(std::span<const command> commands, deadline until);
  /// Sends the commands by `until`; their answers are for read().
  void send(std::span<const command> commands, deadline until);
  /// The next answer; nullopt: none by `until`.
  [[nodiscard]] std::optional<reply> read(deadline until);

  /// From now on nothing but deadlines ends a wait.
  void ignore_interruption() noexcept { stop_ = nullptr; }

 private:
  bool wait_for(short events, deadline until);

  static constexpr std::size_t read_bytes = std::size_t{32} << 10U;

  int socket_;
  const interruption* stop_;
  reply_reader reader_;
  std::string output_;
  std::size_t sent_ = 0;  // of output_
  std::unique_ptr<char[]> input_;
};

}  // namespace soundhash::db::redis
