#include "support/private_redis.hpp"

#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <optional>
#include <span>
#include <sstream>
#include <tuple>
#include <utility>

#include <unistd.h>

#include <soundhash/db/core/error.hpp>

#include "cache/redis_connect.hpp"
#include "support/eventually.hpp"
#include "support/sockets.hpp"
#include "testing/child_process.hpp"
#include "testing/temporary_directory.hpp"

namespace soundhash::db::test {
namespace {

using namespace std::chrono_literals;

std::filesystem::path find_program() {
  std::istringstream places{std::string{"/usr/bin:/usr/local/bin:"} +
                            (std::getenv("PATH") != nullptr ? std::getenv("PATH") : "")};
  for (std::string place; std::getline(places, place, ':');) {
    if (const auto path = std::filesystem::path{place} / "redis-server";
        std::filesystem::exists(path)) {
      return path;
    }
  }
  throw config_error{"redis-server", "is not installed", "apt-get install redis-server"};
}

std::uint16_t free_port() {
  std::uint16_t port = 0;
  listen_on_loopback(port);
  return port;
}

std::string text_of(const redis::reply& answer) {
  if (answer.what == redis::reply::kind::integer) return std::to_string(answer.integer);
  std::string text = answer.text;
  for (const auto& each : answer.items) text += text_of(each) + "\n";
  return text;
}

}  // namespace

struct private_redis::impl {
  explicit impl(private_redis_options given)
      : wanted{std::move(given)},
        user{testing::user_for_servers()},
        directory{"soundhash-db-redis-", user} {
    if (wanted.tcp) port = free_port();
    start();
    await_answer();
  }

  [[nodiscard]] std::filesystem::path socket() const { return directory.path() / "socket"; }
  [[nodiscard]] std::filesystem::path log() const { return directory.path() / "log"; }

  [[nodiscard]] std::vector<std::string> arguments() const {
    std::vector<std::string> all{find_program().string()};
    if (wanted.sentinel_of != 0) {
      all.insert(all.end(), {write_sentinel_file().string(), "--sentinel"});
      return all;
    }
    all.insert(all.end(), {"--port", std::to_string(wanted.tls ? 0 : port), "--bind", "127.0.0.1",
                           "--save", "", "--appendonly", "no", "--unixsocket", socket().string(),
                           "--dir", directory.path().string(), "--enable-debug-command", "yes"});
    if (wanted.tls) all.insert(all.end(), {"--tls-port", std::to_string(port)});
    if (!wanted.password.empty()) all.insert(all.end(), {"--requirepass", wanted.password});
    all.insert(all.end(), wanted.arguments.begin(), wanted.arguments.end());
    return all;
  }

  /// Sentinels take most settings from a file only, and write to it.
  [[nodiscard]] std::filesystem::path write_sentinel_file() const {
    const auto path = directory.path() / "sentinel.conf";
    const std::string master = "sentinel monitor mymaster 127.0.0.1 ";
    std::ofstream file{path};
    file << "port " << (wanted.tls ? 0 : port) << "\nbind 127.0.0.1\nunixsocket "
         << socket().string() << "\ndir " << directory.path().string() << "\n"
         << master << wanted.sentinel_of << " 1\n"
         << "sentinel down-after-milliseconds mymaster 500\n"
         << "sentinel failover-timeout mymaster 5000\n";
    if (wanted.tls) file << "tls-port " << port << "\n";
    if (!wanted.password.empty()) file << "requirepass " << wanted.password << "\n";
    for (const auto& each : wanted.arguments) {
      file << (each.starts_with("--") ? "\n" + each.substr(2) : " " + each);
    }
    file.close();
    if (user) std::ignore = chown(path.c_str(), user->uid, user->gid);
    return path;
  }

  void start(const std::vector<std::string>& more = {}) {
    if (running()) return;
    std::filesystem::remove(socket());
    auto said = arguments();
    said.insert(said.end(), more.begin(), more.end());
    program.emplace(testing::child_command{.arguments = std::move(said),
                                           .environment = {"PATH=/usr/bin:/bin", "LC_ALL=C.UTF-8"},
                                           .directory = directory.path(),
                                           .output = log(),
                                           .user = user,
                                           .signal_when_orphaned = SIGKILL});
  }

  [[nodiscard]] bool running() { return program && !program->wait_for(0ms); }

  redis::reply say(const std::vector<std::string>& arguments) const {
    const auto until = deadline::in(10s);
    const auto link = redis::connect({{socket().string()}, 0}, until, nullptr);
    if (!wanted.password.empty()) {
      const redis::command login{"AUTH", wanted.password};
      static_cast<void>(link->exchange({&login, 1}, until));
    }
    redis::command said{};
    for (const auto& each : arguments) said << each;
    return link->exchange({&said, 1}, until).front();
  }

  [[nodiscard]] bool answers() const {
    try {
      return !say({"PING"}).is_error();
    } catch (const redis::link_error&) {
      return false;
    }
  }

  void await_answer() {
    if (eventually([&] { return answers() || !running(); }) && running()) return;
    std::ifstream in{log()};
    throw connection_error{
        "private Redis did not start: " + std::string{std::istreambuf_iterator<char>{in}, {}},
        {.code = errc::not_ready}};
  }

  void end_with(int signal) {
    if (!program) return;
    program->signal(signal);
    program->wait();
    program.reset();
  }

  private_redis_options wanted;
  std::uint16_t port = 0;
  std::optional<testing::unprivileged_user> user;
  testing::temporary_directory directory;
  std::optional<testing::child_process> program;
};

private_redis::private_redis(private_redis_options wanted)
    : state_{std::make_unique<impl>(std::move(wanted))} {}
private_redis::~private_redis() = default;

cache_options private_redis::options() const {
  cache_options options;
  options.enabled = true;
  options.host = state_->socket().string();
  options.password = secret{state_->wanted.password};
  return options;
}

cache_options private_redis::tcp_options() const {
  auto options = this->options();
  options.host = "127.0.0.1";
  options.port = state_->port;
  return options;
}

void private_redis::stop() {
  state_->end_with(SIGTERM);
}
void private_redis::kill_immediately() {
  state_->end_with(SIGKILL);
}
void private_redis::start() {
  state_->start();
  state_->await_answer();
}
void private_redis::start_loading_slowly() {
  state_->start({"--key-load-delay", "1000"});
}
void private_redis::restart() {
  stop();
  start();
}
void private_redis::pause() {
  state_->program->signal(SIGSTOP);
}
void private_redis::resume() {
  state_->program->signal(SIGCONT);
}
pid_t private_redis::pid() const {
  return state_->program ? state_->program->pid() : 0;
}

std::string private_redis::ask(const std::vector<std::string>& arguments) {
  try {
    return text_of(state_->say(arguments));
  } catch (const redis::link_error& failure) {
    throw connection_error{failure.what(), {.code = errc::not_ready}};
  }
}

std::filesystem::path private_redis::directory() const {
  return state_->directory.path();
}
std::filesystem::path private_redis::log() const {
  return state_->log();
}

}  // namespace soundhash::db::test
