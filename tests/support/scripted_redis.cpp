#include "support/scripted_redis.hpp"

#include <array>
#include <cstdint>
#include <list>
#include <mutex>
#include <string_view>
#include <system_error>
#include <thread>
#include <utility>

#include <sys/socket.h>
#include <unistd.h>

#include "cache/link_error.hpp"
#include "cache/reply_reader.hpp"
#include "support/sockets.hpp"

namespace soundhash::db::test {

struct scripted_redis::impl {
  explicit impl(script given)
      : say{std::move(given)}, listener{listen_on_loopback(port)}, greeter{[this] { serve(); }} {}

  ~impl() {
    {
      const std::lock_guard lock{mutex};
      ending = true;
      ::shutdown(listener.get(), SHUT_RDWR);
      for (const auto& peer : peers) ::shutdown(peer.get(), SHUT_RDWR);
    }
    greeter.join();
    for (auto& each : talkers) each.join();
  }

  void serve() {
    for (;;) {
      const int peer = ::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC);
      const std::lock_guard lock{mutex};
      if (ending || peer < 0) return;
      const auto& kept = peers.emplace_back(peer);
      talkers.emplace_back([this, &kept] { talk(kept); });
    }
  }

  void talk(const descriptor& peer) {
    redis::reply_reader reader;
    std::array<char, 4096> buffer{};
    try {
      for (;;) {
        const auto got = ::recv(peer.get(), buffer.data(), buffer.size(), 0);
        if (got <= 0) return;
        reader.feed({buffer.data(), static_cast<std::size_t>(got)});
        while (const auto said = reader.next()) {
          if (!answer(peer, *said)) return hang_up(peer);
        }
      }
    } catch (const redis::link_error&) {
      hang_up(peer);
    }
  }

  static void hang_up(const descriptor& peer) { ::shutdown(peer.get(), SHUT_RDWR); }

  bool answer(const descriptor& peer, const redis::reply& said) {
    arguments words;
    std::string line;
    for (const auto& each : said.items) {
      words.push_back(each.text);
      line += (line.empty() ? "" : " ") + each.text;
    }
    {
      const std::lock_guard lock{mutex};
      lines.push_back(line);
    }
    const auto bytes = say(words);
    return bytes && send_all(peer, *bytes);
  }

  const script say;
  std::uint16_t port = 0;
  descriptor listener;
  std::mutex mutex;  // guards all below but the greeter
  bool ending = false;
  std::list<descriptor> peers;
  std::list<std::thread> talkers;
  std::vector<std::string> lines;
  std::thread greeter;
};

scripted_redis::scripted_redis(script say) : state_{std::make_unique<impl>(std::move(say))} {}
scripted_redis::~scripted_redis() = default;

cache_options scripted_redis::options() const {
  cache_options options;
  options.enabled = true;
  options.host = "127.0.0.1";
  options.port = state_->port;
  options.connections = 1;
  return options;
}

std::vector<std::string> scripted_redis::heard() const {
  const std::lock_guard lock{state_->mutex};
  return state_->lines;
}

std::optional<std::string> scripted_redis::greeting(const arguments& said) {
  const auto& verb = said.front();
  if (verb == "CLIENT" || verb == "SELECT" || verb == "AUTH") return "+OK\r\n";
  if (verb == "ROLE") return "*3\r\n$6\r\nmaster\r\n:0\r\n*0\r\n";
  if (verb == "PING") return "+PONG\r\n";
  return std::nullopt;
}

}  // namespace soundhash::db::test
