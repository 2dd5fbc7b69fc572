#include "support/sockets.hpp"

#include <cerrno>
#include <cstring>
#include <system_error>
#include <utility>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

namespace soundhash::db::test {
namespace {

void require(int status) {
  if (status != 0) throw std::system_error{errno, std::generic_category(), "a test's socket"};
}

descriptor connect_to_path(const std::string& path) {
  descriptor server{::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)};
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::strncpy(address.sun_path, path.c_str(), sizeof address.sun_path - 1);
  require(::connect(server.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address));
  return server;
}

sockaddr_in ipv4(const char* host, std::uint16_t port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  require(::inet_pton(AF_INET, host, &address.sin_addr) - 1);
  return address;
}

}  // namespace

descriptor::descriptor(int fd) : fd_{fd} {
  require(fd < 0 ? -1 : 0);
}
descriptor::descriptor(descriptor&& other) noexcept : fd_{std::exchange(other.fd_, -1)} {}
descriptor::~descriptor() {
  if (fd_ >= 0) ::close(fd_);
}

descriptor listen_on_loopback(std::uint16_t& port) {
  descriptor listener{::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
  auto address = ipv4("127.0.0.1", 0);
  socklen_t size = sizeof address;
  auto* const generic = reinterpret_cast<sockaddr*>(&address);
  require(::bind(listener.get(), generic, size));
  require(::listen(listener.get(), 64));
  require(::getsockname(listener.get(), generic, &size));
  port = ntohs(address.sin_port);
  return listener;
}

descriptor connect_to(const database_options& server) {
  if (server.host.starts_with('/')) {
    return connect_to_path(server.host + "/.s.PGSQL." + std::to_string(server.port));
  }
  descriptor connected{::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
  const auto address = ipv4(server.host.c_str(), server.port);
  require(::connect(connected.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address));
  send_at_once(connected);
  return connected;
}

void send_at_once(const descriptor& socket) {
  const int on = 1;
  require(::setsockopt(socket.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on));
}

void reset_when_closed(const descriptor& socket) {
  const linger at_once{.l_onoff = 1, .l_linger = 0};
  require(::setsockopt(socket.get(), SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once));
}

bool send_all(const descriptor& to, std::string_view data) {
  while (!data.empty()) {
    const auto sent = ::send(to.get(), data.data(), data.size(), MSG_NOSIGNAL);
    if (sent <= 0) return false;
    data.remove_prefix(static_cast<std::size_t>(sent));
  }
  return true;
}

}  // namespace soundhash::db::test
