#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include <soundhash/db/database_options.hpp>

namespace soundhash::db::test {

/// A link to a server that fails when told to: listens on 127.0.0.1 and passes bytes to a server's
/// Unix socket and back.
/// Thread safety: safe for concurrent use.
class tcp_proxy {
 public:
  /// `upstream` reaches the server by its socket.
  explicit tcp_proxy(const database_options& upstream);
  ~tcp_proxy();
  tcp_proxy(const tcp_proxy&) = delete;
  tcp_proxy& operator=(const tcp_proxy&) = delete;

  /// The upstream's options by way of this link.
  [[nodiscard]] database_options options() const;

  /// Cuts the link that next carries bytes with this text to the server, before they arrive.
  void lose_request(const std::string& text);
  /// The same, but the server gets them and answers; the answer is lost.
  void lose_answer(const std::string& text);
  /// Cuts all links there are.
  void cut();

  /// How often an answer came after something was sent, over all links so far.
  [[nodiscard]] int round_trips() const;

 private:
  struct impl;
  std::unique_ptr<impl> state_;
};

}  // namespace soundhash::db::test
