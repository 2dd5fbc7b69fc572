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

class tls_context;
class tls_session;

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
  /// Ahead of all else: from now on in TLS, with the server that has a certificate for `host`.
  void secure(const tls_context& context, const std::string& host, deadline until);

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
  bool shake_hands(deadline until);
  /// Is all sent?
  [[nodiscard]] bool flushed() const noexcept { return output_.empty() && records_.empty(); }
  bool send_now(std::string& bytes);
  void flush_records();
  void take(std::string_view bytes);
  [[noreturn]] void lose(int code);

  static constexpr std::size_t read_bytes = std::size_t{32} << 10U;
  static constexpr std::size_t slice_bytes = std::size_t{64} << 10U;

  int socket_;
  const interruption* stop_;
  reply_reader reader_;
  std::string output_;
  std::size_t sent_ = 0;  // of output_, or of records_ if there is TLS
  std::unique_ptr<char[]> input_;

  std::unique_ptr<tls_session> tls_;  // nullptr: none
  std::string records_;
  std::size_t sealed_ = 0;  // of output_, in records that were made
};

}  // namespace soundhash::db::redis
