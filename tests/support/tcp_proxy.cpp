#include "support/tcp_proxy.hpp"

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdint>
#include <list>
#include <mutex>
#include <optional>
#include <set>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "support/link.hpp"
#include "support/sockets.hpp"

namespace soundhash::db::test {
namespace {

constexpr std::array both{direction::to_server, direction::to_client};

std::size_t index(direction way) {
  return static_cast<std::size_t>(way);
}

}  // namespace

struct tcp_proxy::impl {
  explicit impl(database_options upstream)
      : reached{std::move(upstream)},
        listener{listen_on_loopback(port)},
        waker{::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)},
        worker{[this] { serve(); }} {}

  ~impl() {
    ending = true;
    wake();
    worker.join();
  }

  void wake() const {
    const std::uint64_t one = 1;
    [[maybe_unused]] const auto written = ::write(waker.get(), &one, sizeof one);
  }

  void serve() {
    while (!ending) {
      auto watched = wanted();
      ::poll(watched.data(), watched.size(), patience());
      const std::lock_guard lock{mutex};
      if (watched[1].revents != 0) clear_wakeup();
      auto at = watched.begin() + 2;
      for (auto& each : links) {
        for (const auto way : both) {
          if ((at++)->revents != 0 && each.source(way) >= 0) pass(each, way);
        }
        each.send_due();
      }
      links.remove_if([](const link& each) { return each.over(); });
      if (watched[0].revents != 0) accept_one();
    }
  }

  std::vector<pollfd> wanted() {
    const std::lock_guard lock{mutex};
    if (std::exchange(cutting, false)) links.clear();
    std::vector<pollfd> watched{{listener.get(), POLLIN, 0}, {waker.get(), POLLIN, 0}};
    for (const auto& each : links) {
      for (const auto way : both) watched.push_back({each.source(way), POLLIN, 0});
    }
    return watched;
  }

  /// Milliseconds until delayed bytes are due; -1: none are.
  int patience() const {
    deadline next;
    for (const auto& each : links) next = std::min(next, each.next_due());
    if (next.is_never()) return -1;
    return static_cast<int>(std::chrono::ceil<std::chrono::milliseconds>(next.remaining()).count());
  }

  void clear_wakeup() const {
    std::uint64_t count = 0;
    [[maybe_unused]] const auto got = ::read(waker.get(), &count, sizeof count);
  }

  /// A server that is down shows as a link that ends at once.
  void accept_one() {
    descriptor client{::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC)};
    try {
      links.emplace_back(std::move(client), connect_to(reached));
    } catch (const std::system_error&) {
      return;
    }
    if (armed && armed->trigger.empty()) hand_fault_to(links.back(), 0);
  }

  void hand_fault_to(link& each, std::size_t before_trigger) {
    if (armed->on == direction::to_server) armed->after += before_trigger;
    each.expect(*armed);
    armed.reset();
  }

  void pass(link& each, direction way) {
    const auto got = ::recv(each.source(way), buffer.data(), buffer.size(), 0);
    if (got <= 0) return each.hung_up(way);
    std::string data{buffer.data(), static_cast<std::size_t>(got)};
    records[index(way)] += data;
    if (way == direction::to_client) {
      trips += static_cast<int>(asking.erase(&each));
    } else {
      asking.insert(&each);
      look_for_trigger(each, data);
    }
    if (each.arrived(way, std::move(data), paces[index(way)])) ++strikes;
  }

  void look_for_trigger(link& each, const std::string& data) {
    if (!armed || armed->trigger.empty()) return;
    const auto found = data.find(armed->trigger);
    if (found != std::string::npos) hand_fault_to(each, found);
  }

  database_options reached;
  std::uint16_t port = 0;
  descriptor listener;
  descriptor waker;
  mutable std::mutex mutex;
  std::list<link> links;
  std::set<const link*> asking;  ///< sent something last and have no answer yet
  std::optional<link_fault> armed;
  std::array<pace, 2> paces;
  std::array<std::string, 2> records;
  int strikes = 0;
  bool cutting = false;
  std::atomic<bool> ending{false};
  std::atomic<int> trips{0};
  std::array<char, 65'536> buffer{};
  std::thread worker;  // last: it uses all the others
};

tcp_proxy::tcp_proxy(const database_options& upstream) : state_{std::make_unique<impl>(upstream)} {}
tcp_proxy::~tcp_proxy() = default;

database_options tcp_proxy::options() const {
  auto by_link = state_->reached;
  by_link.host = "127.0.0.1";
  by_link.port = state_->port;
  by_link.parameters["sslmode"] = "disable";
  return by_link;
}

void tcp_proxy::arm(const link_fault& fault) {
  const std::lock_guard lock{state_->mutex};
  state_->armed = fault;
}
int tcp_proxy::struck() const {
  // What has struck is counted under the same lock, so whoever felt it sees it counted.
  const std::lock_guard lock{state_->mutex};
  return state_->strikes;
}

void tcp_proxy::lose_request(const std::string& text) {
  arm({.on = direction::to_server, .trigger = text});
}
void tcp_proxy::lose_answer(const std::string& text) {
  arm({.on = direction::to_client, .trigger = text});
}
void tcp_proxy::cut() {
  {
    const std::lock_guard lock{state_->mutex};
    state_->cutting = true;
  }
  state_->wake();
}

void tcp_proxy::set_pace(direction way, const pace& speed) {
  const std::lock_guard lock{state_->mutex};
  state_->paces[index(way)] = speed;
}

void tcp_proxy::record_anew() {
  const std::lock_guard lock{state_->mutex};
  state_->records = {};
}
std::string tcp_proxy::recorded(direction way) const {
  const std::lock_guard lock{state_->mutex};
  return state_->records[index(way)];
}

int tcp_proxy::round_trips() const {
  return state_->trips;
}

}  // namespace soundhash::db::test
