#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <string_view>

#include <soundhash/db/core/deadline.hpp>

#include "support/link_fault.hpp"
#include "support/sockets.hpp"

namespace soundhash::db::test {

/// One client's connection through a proxy. It passes what it is given, at a pace, until its fault.
/// Thread safety: one thread at a time.
class link {
 public:
  link(descriptor client, descriptor server);
  link(const link&) = delete;
  link& operator=(const link&) = delete;

  /// Descriptor to read from for this direction; -1 when that peer has hung up.
  [[nodiscard]] int source(direction way) const noexcept;
  /// Takes the fault that this link will meet, `after` counted from now.
  void expect(const link_fault& fault);
  /// Bytes arrived: passes, delays, changes or swallows them. True when the fault struck.
  bool arrived(direction way, std::string data, const pace& speed);
  /// The peer that sends this way hung up, and so the other is hung up on.
  void hung_up(direction way);
  /// Sends what has waited long enough.
  void send_due();
  /// When send_due() has something to do.
  [[nodiscard]] deadline next_due() const;
  /// Nothing can happen to it any more.
  [[nodiscard]] bool over() const noexcept;

 private:
  struct piece {
    deadline due;
    std::string data;
  };
  struct flow {
    descriptor* from;
    descriptor* to;
    bool open = true;
    std::optional<link_fault> fault{};
    std::deque<piece> waiting{};
  };

  flow& of(direction way) { return flows_[static_cast<std::size_t>(way)]; }
  void pass(flow& through, std::string_view data, const pace& speed);
  void send_all_waiting();
  void end(effect how);

  descriptor client_;
  descriptor server_;
  std::array<flow, 2> flows_;
  bool passes_ = true;  ///< else everything is swallowed
};

}  // namespace soundhash::db::test
