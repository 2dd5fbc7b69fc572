#pragma once

#include <memory>
#include <string>

#include <soundhash/db/database_options.hpp>

#include "support/link_fault.hpp"

namespace soundhash::db::test {

/// Links to a server that fail when told to: listens on 127.0.0.1 and passes bytes to a server and
/// back.
/// Thread safety: safe for concurrent use.
class tcp_proxy {
 public:
  /// `upstream` reaches the server by its socket directory or by an IPv4 address.
  explicit tcp_proxy(const database_options& upstream);
  ~tcp_proxy();
  tcp_proxy(const tcp_proxy&) = delete;
  tcp_proxy& operator=(const tcp_proxy&) = delete;

  /// The upstream's options by way of this proxy.
  [[nodiscard]] database_options options() const;

  /// Prepares one fault, which strikes once, in the place of one that has not struck yet.
  void arm(const link_fault& fault);
  /// How many faults have struck so far.
  [[nodiscard]] int struck() const;

  /// Ends the link that next carries this text to the server, before it arrives.
  void lose_request(const std::string& text);
  /// The same, but the server gets it and answers; the answer is lost.
  void lose_answer(const std::string& text);
  /// Ends all links there are, silent ones too.
  void cut();

  /// How bytes pass from now on, on all links.
  void set_pace(direction way, const pace& speed);

  /// Forgets what was recorded.
  void record_anew();
  /// All bytes that arrived from the peers, since the start or record_anew(), of all links.
  [[nodiscard]] std::string recorded(direction way) const;

  /// How often an answer came after something was sent, over all links so far.
  [[nodiscard]] int round_trips() const;

 private:
  struct impl;
  std::unique_ptr<impl> state_;
};

}  // namespace soundhash::db::test
