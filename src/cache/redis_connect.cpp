#include "cache/redis_connect.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <optional>
#include <span>
#include <string_view>
#include <system_error>
#include <utility>

#include <arpa/inet.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <soundhash/db/core/error.hpp>

#include "core/resolve.hpp"

namespace soundhash::db::redis {
namespace {

constexpr std::string_view client_name = "soundhash-db";

using tls_handle = std::shared_ptr<const tls_context>;

tls_handle read_tls(const redis_tls_options& options) {
  if (!options.enabled) return nullptr;
  try {
    return std::make_shared<const tls_context>(options);
  } catch (const config_error& failure) {
    throw link_error{failure.what()};
  }
}

/// An address as the kernel wants it.
struct socket_address {
  sockaddr_storage storage{};
  socklen_t size = 0;
  [[nodiscard]] const sockaddr* get() const noexcept {
    return reinterpret_cast<const sockaddr*>(&storage);
  }
};

bool is_path(const std::string& host) noexcept {
  return host.starts_with('/');
}

socket_address unix_address(const std::string& path) {
  socket_address made;
  auto& address = reinterpret_cast<sockaddr_un&>(made.storage);
  if (path.size() >= sizeof address.sun_path)
    throw link_error{"the path of the socket is too long"};
  address.sun_family = AF_UNIX;
  path.copy(address.sun_path, path.size());
  made.size = sizeof address;
  return made;
}

socket_address internet_address(const std::string& numeric, std::uint16_t port) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV;
  addrinfo* found = nullptr;
  const auto service = std::to_string(port);
  if (const int code = ::getaddrinfo(numeric.c_str(), service.c_str(), &hints, &found); code != 0) {
    throw link_error{std::string{"unusable address: "} + ::gai_strerror(code)};
  }
  const std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> owned{found, &::freeaddrinfo};
  socket_address made;
  made.size = found->ai_addrlen;
  const auto* bytes = reinterpret_cast<const char*>(found->ai_addr);
  std::copy_n(bytes, found->ai_addrlen, reinterpret_cast<char*>(&made.storage));
  return made;
}

[[noreturn]] void throw_refused(int code) {
  throw link_error{"cannot connect: " + std::generic_category().message(code)};
}

/// Small commands leave at once; a peer that is gone is noticed while the link is idle.
void configure_tcp(int socket) {
  const int on = 1;
  const int idle_seconds = 15;
  ::setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  ::setsockopt(socket, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
  ::setsockopt(socket, IPPROTO_TCP, TCP_KEEPIDLE, &idle_seconds, sizeof idle_seconds);
}

std::unique_ptr<link> begin_connect(const socket_address& to, const interruption* stop) {
  const int family = to.get()->sa_family;
  const int socket = ::socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (socket < 0) throw_refused(errno);
  auto made = std::make_unique<link>(socket, stop);
  if (family != AF_UNIX) configure_tcp(socket);
  if (::connect(socket, to.get(), to.size) != 0 && errno != EINPROGRESS) throw_refused(errno);
  return made;
}

std::unique_ptr<link> connect_one(const socket_address& to, const location& where, deadline until,
                                  const interruption* stop) {
  auto made = begin_connect(to, stop);
  made->wait_connected(until);
  if (where.tls) made->secure(*where.tls, where.host, until);
  return made;
}

/// The time for one of several addresses: what is left, shared evenly.
deadline share(deadline until, std::size_t addresses) {
  if (until.is_never()) return until;
  return deadline::in(until.remaining() / static_cast<std::int64_t>(addresses));
}

/// "WRONGPASS" of "WRONGPASS invalid username-password pair …".
std::string_view error_code(const reply& answer) noexcept {
  return std::string_view{answer.text}.substr(0, answer.text.find(' '));
}

/// Foreign text may repeat what was sent, as "unknown command" does: of AUTH only the code is
/// shown.
[[noreturn]] void throw_refused_login(const reply& answer) {
  throw link_error{"AUTH was refused: " + sanitize(error_code(answer), 32)};
}

[[noreturn]] void throw_unfit(const reply& answer) {
  throw link_error{sanitize(answer.text, 200)};
}

enum class step : unsigned char { login, select, name, role, ping };

struct greeting {
  std::vector<command> commands;
  std::vector<step> steps;
  void add(step what, command say) {
    steps.push_back(what);
    commands.push_back(std::move(say));
  }
};

std::optional<command> login(const std::string& user, const secret& password) {
  if (!user.empty()) return command{"AUTH", user, password.reveal()};
  if (!password.empty()) return command{"AUTH", password.reveal()};
  return std::nullopt;
}

greeting greet(const cache_options& options) {
  greeting made;
  if (auto who = login(options.user, options.password)) made.add(step::login, std::move(*who));
  if (options.db != 0) made.add(step::select, {"SELECT", std::to_string(options.db)});
  made.add(step::name, {"CLIENT", "SETNAME", client_name});
  made.add(step::role, {"ROLE"});
  // The one here that a server refuses while it is loading.
  made.add(step::ping, {"PING"});
  return made;
}

/// Restricted users may not ask for the role; then what READONLY says must do.
void check_role(const reply& answer) {
  if (answer.is_error()) return;
  const auto role = answer.items.empty() ? std::string{} : answer.items.front().text;
  if (role == "master") return;
  throw link_error{"not a master but in the role \"" + sanitize(role, 32) + "\""};
}

void check(step what, const reply& answer) {
  if (what == step::login && answer.is_error()) throw_refused_login(answer);
  if (what == step::select && answer.is_error()) throw_unfit(answer);
  if (what == step::role) check_role(answer);
  if (what == step::ping && answer.is_error() && error_code(answer) != "NOPERM") {
    throw_unfit(answer);
  }
}

std::vector<std::string> resolve_host(const std::string& host, deadline until) {
  try {
    return resolve(host, until);
  } catch (const connection_error& failure) {
    throw link_error{failure.what()};
  }
}

location locate_host(const std::string& host, std::uint16_t port, const tls_handle& tls,
                     deadline until) {
  if (is_path(host)) return {{host}, 0, host, tls};
  return {resolve_host(host, until), port, host, tls};
}

/// A server that expects TLS hangs up on who speaks plainly, and does not say why.
std::vector<reply> say_first(link& to, std::span<const command> commands, const location& where,
                             deadline until) {
  try {
    return to.exchange(commands, until);
  } catch (const link_lost& failure) {
    if (where.tls || is_path(where.host)) throw;
    throw link_lost{std::string{failure.what()} + "; perhaps the server expects TLS"};
  }
}

/// The login of a sentinel is its own: it may know less than the master's.
location ask_sentinel(const cache_options& options, const sentinel_address& sentinel,
                      const tls_handle& tls, deadline until, const interruption* stop) {
  const auto where = locate_host(sentinel.host, sentinel.port, tls, until);
  const auto asked = connect(where, until, stop);
  std::vector<command> said;
  auto who = login(options.sentinel_user, options.sentinel_password);
  if (who) said.push_back(std::move(*who));
  said.push_back({"SENTINEL", "get-master-addr-by-name", options.sentinel_master});
  const auto answers = say_first(*asked, said, where, until);
  if (who) check(step::login, answers.front());
  const auto& answer = answers.back();
  if (answer.is_error()) throw_unfit(answer);
  if (answer.items.size() != 2) throw link_error{"it knows no master of this name"};
  const int port = std::atoi(answer.items[1].text.c_str());
  if (port <= 0 || port > 65535) throw link_error{"broken answer: the port of the master"};
  return locate_host(answer.items[0].text, static_cast<std::uint16_t>(port), tls, until);
}

location ask_sentinels(const cache_options& options, const tls_handle& tls, deadline until,
                       const interruption* stop) {
  std::string why;
  for (const auto& sentinel : options.sentinels) {
    try {
      return ask_sentinel(options, sentinel, tls,
                          std::min(until, deadline::in(options.connect_timeout)), stop);
    } catch (const link_error& failure) {
      why += (why.empty() ? "" : "; ") + sentinel.host + ":" + std::to_string(sentinel.port) +
             ": " + failure.what();
    }
  }
  throw link_error{"no sentinel names the master: " + why};
}

}  // namespace

std::string describe(const cache_options& options) {
  if (!options.sentinels.empty()) return "the master " + options.sentinel_master;
  if (is_path(options.host)) return options.host;
  return options.host + ":" + std::to_string(options.port);
}

location locate(const cache_options& options, deadline until, const interruption* stop) {
  const auto tls = read_tls(options.tls);
  if (!options.sentinels.empty()) return ask_sentinels(options, tls, until, stop);
  return locate_host(options.host, options.port, tls, until);
}

std::unique_ptr<link> connect(const location& where, deadline until, const interruption* stop) {
  if (is_path(where.addresses.front())) {
    return connect_one(unix_address(where.addresses.front()), where, until, stop);
  }
  for (auto left = where.addresses.size();; --left) {
    const auto& numeric = where.addresses[where.addresses.size() - left];
    try {
      return connect_one(internet_address(numeric, where.port), where, share(until, left), stop);
    } catch (const link_error&) {
      if (left == 1) throw;
    }
  }
}

std::unique_ptr<link> establish(const cache_options& options, const location& where, deadline until,
                                const interruption* stop) {
  auto made = connect(where, until, stop);
  const auto said = greet(options);
  const auto answers = say_first(*made, said.commands, where, until);
  for (std::size_t i = 0; i < answers.size(); ++i) check(said.steps[i], answers[i]);
  return made;
}

bool is_unfit(const reply& answer) noexcept {
  static constexpr std::array<std::string_view, 7> codes{
      "LOADING", "MASTERDOWN", "READONLY", "NOAUTH", "MOVED", "ASK", "CLUSTERDOWN"};
  return answer.is_error() && std::ranges::find(codes, error_code(answer)) != codes.end();
}

}  // namespace soundhash::db::redis
