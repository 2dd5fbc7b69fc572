#include "core/resolve.hpp"

#include <condition_variable>
#include <exception>
#include <memory>
#include <mutex>
#include <system_error>
#include <thread>
#include <utility>

#include <arpa/inet.h>
#include <netdb.h>
#include <sys/socket.h>

#include <soundhash/db/core/error.hpp>

namespace soundhash::db {
namespace {

bool is_numeric(const std::string& host) {
  in6_addr buffer{};
  const auto plain = host.substr(0, host.find('%'));  // an IPv6 scope: fe80::1%eth0
  return ::inet_pton(AF_INET, host.c_str(), &buffer) == 1 ||
         ::inet_pton(AF_INET6, plain.c_str(), &buffer) == 1;
}

int addresses_of(const std::string& host, std::vector<std::string>& out) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  if (const int status = ::getaddrinfo(host.c_str(), nullptr, &hints, &found); status != 0) {
    return status;
  }
  const std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> owned{found, &::freeaddrinfo};
  for (const auto* entry = found; entry != nullptr; entry = entry->ai_next) {
    char text[NI_MAXHOST];
    if (::getnameinfo(entry->ai_addr, entry->ai_addrlen, text, sizeof text, nullptr, 0,
                      NI_NUMERICHOST) == 0) {
      out.emplace_back(text);
    }
  }
  return out.empty() ? EAI_NONAME : 0;
}

[[noreturn]] void throw_unresolved(const std::string& host, const std::string& why) {
  throw connection_error{"cannot resolve the host name \"" + sanitize(host, 255) + "\": " + why +
                             "; check the setting of the host and the name service",
                         {.code = errc::name_resolution, .retryable = true}};
}

struct answer {
  bool done = false;
  int status = 0;
  std::vector<std::string> addresses;
};

}  // namespace

/// Shared with the threads, which may outlive the resolver.
struct name_resolver::shared_state {
  explicit shared_state(lookup wanted) : ask{std::move(wanted)} {}

  /// True when `holds()` within the time.
  template <class F>
  bool wait(std::unique_lock<std::mutex>& lock, deadline until, F holds) {
    if (!until.is_never()) return changed.wait_until(lock, until.at(), holds);
    changed.wait(lock, holds);
    return true;
  }

  int ask_for(const std::string& host, std::vector<std::string>& found) noexcept {
    try {
      return ask(host, found);
    } catch (const std::exception&) {  // nothing may leave the thread
      return EAI_MEMORY;
    }
  }

  void look_up(const std::string& host, answer& into) {
    std::vector<std::string> found;
    const int status = ask_for(host, found);
    const std::lock_guard lock{mutex};
    into.status = status;
    into.addresses = std::move(found);
    into.done = true;
    --running;
    changed.notify_all();
  }

  const lookup ask;
  std::mutex mutex;  // guards all below and the answers
  std::condition_variable changed;
  std::size_t running = 0;
};

name_resolver::name_resolver(lookup ask) : state_{std::make_shared<shared_state>(std::move(ask))} {}

std::vector<std::string> name_resolver::resolve(const std::string& host, deadline until) const {
  if (is_numeric(host)) return {host};
  std::unique_lock lock{state_->mutex};
  if (!state_->wait(lock, until, [&] { return state_->running < most_lookups; })) {
    throw_unresolved(host, "the name service answers none of " + std::to_string(most_lookups) +
                               " earlier lookups");
  }
  const auto reply = std::make_shared<answer>();
  try {
    std::thread{[state = state_, reply, host] { state->look_up(host, *reply); }}.detach();
  } catch (const std::system_error& failure) {
    throw_unresolved(host, std::string{"no thread for the lookup: "} + failure.what());
  }
  ++state_->running;
  if (!state_->wait(lock, until, [&] { return reply->done; })) {
    throw_unresolved(host, "no answer in time");
  }
  if (reply->status != 0) throw_unresolved(host, ::gai_strerror(reply->status));
  return std::move(reply->addresses);
}

std::vector<std::string> resolve(const std::string& host, deadline until) {
  static const name_resolver by_system{addresses_of};
  return by_system.resolve(host, until);
}

}  // namespace soundhash::db
