#include "support/tcp_proxy.hpp"

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <list>
#include <mutex>
#include <string_view>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

namespace soundhash::db::test {
namespace {

class descriptor {
 public:
  explicit descriptor(int fd) : fd_{fd} {
    if (fd < 0) throw std::system_error{errno, std::generic_category(), "tcp_proxy"};
  }
  descriptor(descriptor&& other) noexcept : fd_{std::exchange(other.fd_, -1)} {}
  descriptor& operator=(descriptor&&) = delete;
  ~descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  [[nodiscard]] int get() const noexcept { return fd_; }

 private:
  int fd_;
};

void require(int status) {
  if (status != 0) throw std::system_error{errno, std::generic_category(), "tcp_proxy"};
}

descriptor listen_on_loopback(std::uint16_t& port) {
  descriptor listener{::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  auto* const generic = reinterpret_cast<sockaddr*>(&address);
  require(::bind(listener.get(), generic, size));
  require(::listen(listener.get(), 64));
  require(::getsockname(listener.get(), generic, &size));
  port = ntohs(address.sin_port);
  return listener;
}

descriptor connect_to(const std::string& path) {
  descriptor server{::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)};
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::strncpy(address.sun_path, path.c_str(), sizeof address.sun_path - 1);
  require(::connect(server.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address));
  return server;
}

bool send_all(int to, std::string_view data) {
  while (!data.empty()) {
    const auto sent = ::send(to, data.data(), data.size(), MSG_NOSIGNAL);
    if (sent <= 0) return false;
    data.remove_prefix(static_cast<std::size_t>(sent));
  }
  return true;
}

}  // namespace

struct tcp_proxy::impl {
  struct link {
    descriptor client;
    descriptor server;
    bool asked = false;
    bool loses_answer = false;
    bool dead = false;
  };
  enum class loss { none, request, answer };

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
      ::poll(watched.data(), watched.size(), -1);
      const std::lock_guard lock{mutex};
      if (watched[1].revents != 0) clear_wakeup();
      auto at = watched.begin() + 2;
      for (auto& each : links) {
        if ((at++)->revents != 0) pass_request(each);
        if ((at++)->revents != 0) pass_answer(each);
      }
      links.remove_if([](const link& each) { return each.dead; });
      if (watched[0].revents != 0) accept_one();
    }
  }

  std::vector<pollfd> wanted() {
    const std::lock_guard lock{mutex};
    if (std::exchange(cutting, false)) links.clear();
    std::vector<pollfd> watched{{listener.get(), POLLIN, 0}, {waker.get(), POLLIN, 0}};
    for (const auto& each : links) {
      watched.push_back({each.client.get(), POLLIN, 0});
      watched.push_back({each.server.get(), POLLIN, 0});
    }
    return watched;
  }

  void clear_wakeup() const {
    std::uint64_t count = 0;
    [[maybe_unused]] const auto got = ::read(waker.get(), &count, sizeof count);
  }

  /// A server that is down shows as a link that ends at once.
  void accept_one() {
    descriptor client{::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC)};
    try {
      auto server = connect_to(reached.host + "/.s.PGSQL." + std::to_string(reached.port));
      links.push_back({std::move(client), std::move(server)});
    } catch (const std::system_error&) {
      return;
    }
  }

  std::string_view read_some(link& each, int from) {
    const auto got = ::recv(from, buffer.data(), buffer.size(), 0);
    if (got <= 0) each.dead = true;
    return {buffer.data(), got <= 0 ? 0 : static_cast<std::size_t>(got)};
  }

  void pass_request(link& each) {
    const auto data = read_some(each, each.client.get());
    if (armed != loss::none && data.find(trigger) != std::string_view::npos) {
      each.loses_answer = armed == loss::answer;
      each.dead = armed == loss::request;
      armed = loss::none;
    }
    if (each.dead || !send_all(each.server.get(), data)) each.dead = true;
    each.asked = true;
  }

  void pass_answer(link& each) {
    const auto data = read_some(each, each.server.get());
    if (std::exchange(each.asked, false)) ++trips;
    if (each.loses_answer || each.dead || !send_all(each.client.get(), data)) each.dead = true;
  }

  void arm(loss what, const std::string& text) {
    const std::lock_guard lock{mutex};
    armed = what;
    trigger = text;
  }

  database_options reached;
  std::uint16_t port = 0;
  descriptor listener;
  descriptor waker;
  std::mutex mutex;
  std::list<link> links;
  loss armed = loss::none;
  std::string trigger;
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

void tcp_proxy::lose_request(const std::string& text) {
  state_->arm(impl::loss::request, text);
}
void tcp_proxy::lose_answer(const std::string& text) {
  state_->arm(impl::loss::answer, text);
}
void tcp_proxy::cut() {
  {
    const std::lock_guard lock{state_->mutex};
    state_->cutting = true;
  }
  state_->wake();
}
int tcp_proxy::round_trips() const {
  return state_->trips;
}

}  // namespace soundhash::db::test
