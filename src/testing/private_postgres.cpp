#include <algorithm>
#include <cerrno>
#include <csignal>
#include <fstream>
#include <initializer_list>
#include <iterator>
#include <optional>
#include <random>
#include <system_error>
#include <tuple>
#include <utility>
#include <vector>

#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <soundhash/db/core/deadline.hpp>
#include <soundhash/db/core/error.hpp>
#include <soundhash/db/testing/private_postgres.hpp>

#include "testing/child_process.hpp"
#include "testing/postgres_binaries.hpp"
#include "testing/temporary_directory.hpp"

namespace soundhash::db::testing {

namespace {

using namespace std::chrono_literals;

/// Part of the socket's file name; nothing listens on this port.
constexpr std::uint16_t socket_only_port = 5432;

std::string text_of(const std::filesystem::path& file) {
  std::ifstream in{file};
  return {std::istreambuf_iterator<char>{in}, {}};
}

std::string tail_of(const std::filesystem::path& file, std::size_t from = 0) {
  constexpr std::size_t enough = 2'000;
  auto text = text_of(file).substr(from);
  return text.size() <= enough ? text : "..." + text.substr(text.size() - enough);
}

std::string random_password() {
  std::random_device random;
  std::uniform_int_distribution<int> letter{'a', 'z'};
  std::string password(24, '\0');
  for (auto& c : password) c = static_cast<char>(letter(random));
  return password;
}

/// A port that was free a moment ago; should somebody take it, the server does not start.
std::uint16_t free_port() {
  const int probe = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  auto* const generic = reinterpret_cast<sockaddr*>(&address);
  const bool found = bind(probe, generic, size) == 0 && getsockname(probe, generic, &size) == 0;
  const int failure = errno;
  close(probe);
  if (!found) throw std::system_error{failure, std::generic_category(), "no free port"};
  return ntohs(address.sin_port);
}

std::vector<std::string> plain_environment(const secret& password) {
  std::vector<std::string> environment{"PATH=/usr/bin:/bin", "LC_ALL=C.UTF-8", "TZ=UTC"};
  if (!password.empty()) environment.push_back("PGPASSWORD=" + password.reveal());
  return environment;
}

/// Process ids of the direct children of `parent`.
std::vector<pid_t> children_of(pid_t parent) {
  const auto task = std::to_string(parent);
  std::ifstream in{"/proc/" + task + "/task/" + task + "/children"};
  return {std::istream_iterator<pid_t>{in}, {}};
}

}  // namespace

struct private_postgres::impl {
  explicit impl(private_postgres_options given)
      : wanted{std::move(given)},
        binaries{find_postgres_binaries(wanted.binaries)},
        user{user_for_servers()},
        directory{"soundhash-db-", user} {
    require_short_socket_path();
    if (wanted.tcp) {
      port = free_port();
      if (wanted.password.empty()) tcp_password = secret{random_password()};
    }
    init();
    start();
  }
  ~impl() { stop(); }
  impl(const impl&) = delete;
  impl& operator=(const impl&) = delete;

  [[nodiscard]] std::filesystem::path data() const { return directory.path() / "data"; }
  [[nodiscard]] std::filesystem::path log() const { return directory.path() / "log"; }
  [[nodiscard]] const secret& password_for_tcp() const {
    return wanted.password.empty() ? tcp_password : wanted.password;
  }

  void require_short_socket_path() const {
    constexpr std::size_t room = sizeof(sockaddr_un::sun_path) - sizeof("/.s.PGSQL.65535.lock");
    if (directory.path().native().size() <= room) return;
    throw config_error{"TMPDIR", "its path is too long for a Unix socket",
                       "a directory of at most 60 bytes, such as /tmp"};
  }

  [[nodiscard]] child_command command(const std::string& program,
                                      std::vector<std::string> arguments) const {
    arguments.insert(arguments.begin(), (binaries / program).string());
    return {.arguments = std::move(arguments),
            .environment = plain_environment(wanted.password),
            .directory = directory.path(),
            .output = log(),
            .user = user,
            .signal_when_orphaned = SIGKILL};
  }

  void init() {
    std::vector<std::string> arguments{"--pgdata=" + data().string(),
                                       "--username=postgres",
                                       "--encoding=UTF8",
                                       "--locale=C.UTF-8",
                                       "--no-sync",
                                       "--auth-host=scram-sha-256"};
    const bool trust = wanted.password.empty();
    arguments.emplace_back(trust ? "--auth-local=trust" : "--auth-local=scram-sha-256");
    const auto password_file = directory.path() / "password";
    if (!password_for_tcp().empty()) {
      std::ofstream{password_file} << password_for_tcp().reveal() << '\n';
      if (user) std::ignore = chown(password_file.c_str(), user->uid, user->gid);
      arguments.push_back("--pwfile=" + password_file.string());
    }
    child_process initdb{command("initdb", std::move(arguments))};
    const bool done = initdb.wait() == 0;
    std::filesystem::remove(password_file);
    if (!done) fail_to_start("initdb failed");
  }

  [[nodiscard]] std::vector<std::string> server_arguments() const {
    std::map<std::string, std::string> settings{
        {"listen_addresses", wanted.tcp ? "127.0.0.1" : ""},
        {"port", std::to_string(port)},
        {"unix_socket_directories", directory.path().string()},
        {"max_connections", std::to_string(wanted.max_connections)},
        {"shared_buffers", "16MB"},
        {"timezone", "UTC"},
        {"log_timezone", "UTC"},
        {"log_line_prefix", "%m [%p] "},
    };
    if (!wanted.durable) {
      for (const char* name : {"fsync", "synchronous_commit", "full_page_writes"}) {
        settings.emplace(name, "off");
      }
    }
    for (const auto& [name, value] : wanted.settings) settings.insert_or_assign(name, value);
    std::vector<std::string> arguments{"-D", data().string()};
    for (const auto& [name, value] : settings) {
      arguments.insert(arguments.end(), {"-c", name + "=" + value});
    }
    return arguments;
  }

  /// The postmaster writes its state into the eighth line of its pid file.
  [[nodiscard]] bool ready() const {
    std::ifstream in{data() / "postmaster.pid"};
    std::vector<std::string> lines;
    for (std::string line; std::getline(in, line);) lines.push_back(line);
    return lines.size() >= 8 && lines[0] == std::to_string(server->pid()) &&
           lines[7].starts_with("ready");
  }

  void start() {
    if (server) return;
    auto postgres = command("postgres", server_arguments());
    postgres.signal_when_orphaned = SIGQUIT;  // takes the sessions along, unlike SIGKILL
    server.emplace(std::move(postgres));
    const auto until = deadline::in(wanted.start_timeout);
    while (!ready()) {
      if (server->wait_for(5ms)) fail_to_start("the server ended while starting");
      if (until.passed()) fail_to_start("the server was not ready in time");
    }
  }

  [[noreturn]] void fail_to_start(const std::string& problem) {
    server.reset();
    throw connection_error{"private PostgreSQL server: " + problem + "; the end of its log:\n" +
                               sanitize_lines(tail_of(log())),
                           {.code = errc::not_ready}};
  }

  static std::string sanitize_lines(const std::string& text) {
    std::string clean;
    for (std::size_t start = 0; start < text.size();) {
      const auto end = std::min(text.find('\n', start), text.size());
      clean.append(sanitize(text.substr(start, end - start))).push_back('\n');
      start = end + 1;
    }
    return clean;
  }

  /// Signals in turn, each given half the start timeout to work.
  void end_by(std::initializer_list<int> signals) {
    if (!server) return;
    resume();
    for (const int number : signals) {
      server->signal(number);
      if (server->wait_for(wanted.start_timeout / 2)) break;
    }
    server.reset();
  }

  void stop() { end_by({SIGINT, SIGQUIT}); }

  void pause() {
    if (!server || !paused.empty()) return;
    server->signal(SIGSTOP);  // first, so that it forks no more
    paused = children_of(server->pid());
    for (const auto pid : paused) kill(pid, SIGSTOP);
    paused.push_back(server->pid());
  }

  void resume() {
    for (const auto pid : paused) kill(pid, SIGCONT);
    paused.clear();
  }

  void create_database(const std::string& name, const std::string& template_name) {
    const auto logged = text_of(log()).size();
    child_process createdb{
        command("createdb", {"--host=" + directory.path().string(),
                             "--port=" + std::to_string(port), "--username=postgres",
                             "--template=" + (template_name.empty() ? "template0" : template_name),
                             "--maintenance-db=postgres", "--", name})};
    if (createdb.wait() == 0) return;
    throw query_error{"createdb failed: " + sanitize_lines(tail_of(log(), logged)),
                      {.code = errc::server_error, .sent = sent::yes}};
  }

  private_postgres_options wanted;
  std::filesystem::path binaries;
  std::optional<unprivileged_user> user;
  temporary_directory directory;
  std::uint16_t port = socket_only_port;
  secret tcp_password;
  std::optional<child_process> server;
  std::vector<pid_t> paused;
};

private_postgres::private_postgres(private_postgres_options options)
    : impl_{std::make_unique<impl>(std::move(options))} {}

private_postgres::~private_postgres() = default;

database_options private_postgres::options(const std::string& database_name) const {
  database_options options;
  options.host = impl_->directory.path().string();
  options.port = impl_->port;
  options.name = database_name;
  options.user = "postgres";
  options.password = impl_->wanted.password;
  return options;
}

database_options private_postgres::tcp_options(const std::string& database_name) const {
  if (!impl_->wanted.tcp) {
    throw config_error{"private_postgres_options::tcp", "the server listens on its socket only",
                       "true"};
  }
  auto reachable = options(database_name);
  reachable.host = "127.0.0.1";
  reachable.password = impl_->password_for_tcp();
  return reachable;
}

void private_postgres::create_database(const std::string& name, const std::string& template_name) {
  impl_->create_database(name, template_name);
}

void private_postgres::stop() {
  impl_->stop();
}

void private_postgres::start() {
  impl_->start();
}

void private_postgres::restart() {
  impl_->stop();
  impl_->start();
}

void private_postgres::kill_immediately() {
  impl_->end_by({SIGQUIT});
}

void private_postgres::pause() {
  impl_->pause();
}

void private_postgres::resume() {
  impl_->resume();
}

pid_t private_postgres::pid() const noexcept {
  return impl_->server ? impl_->server->pid() : 0;
}

std::filesystem::path private_postgres::log() const {
  return impl_->log();
}

}  // namespace soundhash::db::testing
