#include "support/private_pgbouncer.hpp"

#include <chrono>
#include <csignal>
#include <cstdint>
#include <fstream>
#include <iterator>
#include <optional>
#include <tuple>

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <soundhash/db/core/error.hpp>

#include "support/eventually.hpp"
#include "testing/child_process.hpp"
#include "testing/temporary_directory.hpp"

namespace soundhash::db::test {
namespace {

using namespace std::chrono_literals;

/// Part of the socket's file name; nothing listens on this port.
constexpr std::uint16_t socket_only_port = 6432;

/// Debian's package, and where one built by hand goes.
std::filesystem::path find_program() {
  for (const char* path :
       {"/usr/sbin/pgbouncer", "/usr/bin/pgbouncer", "/usr/local/bin/pgbouncer"}) {
    if (std::filesystem::exists(path)) return path;
  }
  throw config_error{"pgbouncer", "is not installed", "apt-get install pgbouncer"};
}

/// The file is there before anybody listens on it.
bool accepts_connections(const std::filesystem::path& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.native().size() >= sizeof address.sun_path) return false;
  path.native().copy(address.sun_path, sizeof address.sun_path - 1);
  const int probe = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const bool accepted =
      connect(probe, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
  close(probe);
  return accepted;
}

}  // namespace

struct private_pgbouncer::impl {
  impl(const database_options& server, const std::map<std::string, std::string>& settings)
      : upstream{server},
        user{testing::user_for_servers()},
        directory{"soundhash-db-pooler-", user} {
    write("users", "\"" + upstream.user + "\" \"\"\n");
    write("pgbouncer.ini", configuration(settings));
    start();
  }

  void write(const std::string& name, const std::string& text) const {
    const auto path = directory.path() / name;
    std::ofstream{path} << text;
    if (user) std::ignore = chown(path.c_str(), user->uid, user->gid);
    std::ignore = chmod(path.c_str(), 0600);
  }

  /// Any database name is passed on to the server.
  [[nodiscard]] std::string configuration(const std::map<std::string, std::string>& wanted) const {
    std::map<std::string, std::string> settings{
        {"pool_mode", "transaction"},
        {"default_pool_size", "2"},
        {"min_pool_size", "0"},
        {"server_idle_timeout", "2"},
        {"max_client_conn", "200"},
        {"listen_addr", ""},
        {"listen_port", std::to_string(socket_only_port)},
        {"unix_socket_dir", directory.path().string()},
        {"auth_type", "trust"},
        {"auth_file", (directory.path() / "users").string()},
    };
    for (const auto& [name, value] : wanted) settings.insert_or_assign(name, value);
    std::string text = "[databases]\n* = host=" + upstream.host +
                       " port=" + std::to_string(upstream.port) + "\n[pgbouncer]\n";
    for (const auto& [name, value] : settings) text += name + " = " + value + "\n";
    return text;
  }

  void start() {
    const auto log = directory.path() / "log";
    const auto socket_path = directory.path() / (".s.PGSQL." + std::to_string(socket_only_port));
    program.emplace(testing::child_command{
        .arguments = {find_program().string(), (directory.path() / "pgbouncer.ini").string()},
        .environment = {"PATH=/usr/bin:/bin", "LC_ALL=C.UTF-8", "TZ=UTC"},
        .directory = directory.path(),
        .output = log,
        .user = user,
        .signal_when_orphaned = SIGKILL});
    const auto started = [&] { return accepts_connections(socket_path) || program->wait_for(0ms); };
    if (eventually(started) && !program->wait_for(0ms)) return;
    std::ifstream in{log};
    throw connection_error{
        "private PgBouncer did not start: " + std::string{std::istreambuf_iterator<char>{in}, {}},
        {.code = errc::not_ready}};
  }

  database_options upstream;
  std::optional<testing::unprivileged_user> user;
  testing::temporary_directory directory;
  std::optional<testing::child_process> program;
};

private_pgbouncer::private_pgbouncer(const database_options& upstream,
                                     const std::map<std::string, std::string>& settings)
    : state_{std::make_unique<impl>(upstream, settings)} {}
private_pgbouncer::~private_pgbouncer() = default;

database_options private_pgbouncer::options(const std::string& database_name) const {
  auto options = state_->upstream;
  options.host = state_->directory.path().string();
  options.port = socket_only_port;
  options.name = database_name;
  options.pooler = pooler_mode::transaction;
  return options;
}

}  // namespace soundhash::db::test
