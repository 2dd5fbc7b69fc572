#include "driver/resolve.hpp"

#include <condition_variable>
#include <memory>
#include <mutex>
#include <thread>

#include <arpa/inet.h>
#include <netdb.h>
#include <sys/socket.h>

#include <soundhash/db/core/error.hpp>

namespace soundhash::db::driver {
namespace {

struct lookup {
  std::mutex mutex;
  std::condition_variable finished;
  bool done = false;
  int status = 0;
  std::vector<std::string> addresses;
};

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
                             "; check DATABASE_HOST and the name service",
                         {.code = errc::name_resolution, .retryable = true}};
}

}  // namespace

std::vector<std::string> resolve(const std::string& host, deadline until) {
  if (is_numeric(host)) return {host};
  auto shared = std::make_shared<lookup>();
  std::thread{[shared, host] {
    std::vector<std::string> found;
    const int status = addresses_of(host, found);
    const std::lock_guard lock{shared->mutex};
    shared->status = status;
    shared->addresses = std::move(found);
    shared->done = true;
    shared->finished.notify_one();
  }}.detach();

  std::unique_lock lock{shared->mutex};
  const auto is_done = [&] { return shared->done; };
  if (until.is_never()) {
    shared->finished.wait(lock, is_done);
  } else if (!shared->finished.wait_until(lock, until.at(), is_done)) {
    throw_unresolved(host, "no answer in time");
  }
  if (shared->status != 0) throw_unresolved(host, ::gai_strerror(shared->status));
  return shared->addresses;
}

}  // namespace soundhash::db::driver
