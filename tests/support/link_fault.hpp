#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>

namespace soundhash::db::test {

enum class direction : std::uint8_t { to_server, to_client };

/// What happens to a link.
enum class effect : std::uint8_t {
  fin,      ///< both peers see an orderly end
  rst,      ///< both sockets are closed hard: the client's unread bytes are lost
  silence,  ///< nothing passes any more, in both directions, and nobody hangs up
  flip      ///< one bit of the next byte is changed; everything goes on
};

/// A fault at one byte of one link.
struct link_fault {
  effect what = effect::fin;
  direction on = direction::to_client;
  /// Bytes of that direction that still pass. They are counted from the first byte of `trigger`, or
  /// (to_client) from the answer to it; without a trigger, from the start of the next link. The
  /// fault comes with the bytes that complete the count, or with the next ones, never before.
  std::size_t after = 0;
  /// Text on its way to the server, within one write of the client. Only the first link that
  /// carries it is hit.
  std::string trigger{};
  unsigned bit = 0;  ///< which one to flip; 0 to 7
};

/// How fast one direction passes bytes.
struct pace {
  std::size_t slice = 0;              ///< bytes of one write; 0: as they come
  std::chrono::milliseconds delay{};  ///< the wait before each write
};

}  // namespace soundhash::db::test
