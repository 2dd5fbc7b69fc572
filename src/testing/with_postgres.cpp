#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <exception>
#include <iostream>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>

#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <soundhash/db/testing/private_postgres.hpp>

namespace {

namespace sdb = soundhash::db;

constexpr std::string_view usage =
    "usage: soundhash-db-with-postgres [--port] -- COMMAND [ARGUMENT...]\n"
    "\n"
    "Starts a private PostgreSQL server with an empty database named soundhash, runs the command\n"
    "with DATABASE_URL, DATABASE_HOST, DATABASE_PORT, DATABASE_NAME, DATABASE_USER and\n"
    "DATABASE_PASSWORD in its environment, stops the server and returns the command's exit code.\n"
    "\n"
    "  --port   reach the server by a free port of 127.0.0.1 instead of its socket\n";

constexpr int bad_usage = 64;

struct arguments {
  bool port = false;
  char** command = nullptr;
};

std::optional<arguments> parse(char** argv) {
  arguments found;
  for (char** at = argv + 1; *at != nullptr; ++at) {
    const std::string_view word{*at};
    if (word == "--") {
      found.command = at + 1;
      break;
    }
    if (word != "--port") return std::nullopt;
    found.port = true;
  }
  if (found.command == nullptr || *found.command == nullptr) return std::nullopt;
  return found;
}

/// SQLAlchemy and libpq both read a socket directory from the query part.
std::string url_of(const sdb::database_options& at) {
  const auto port = std::to_string(at.port);
  if (at.host.starts_with('/')) {
    return "postgresql://" + at.user + "@/" + at.name + "?host=" + at.host + "&port=" + port;
  }
  return "postgresql://" + at.user + ":" + at.password.reveal() + "@" + at.host + ":" + port + "/" +
         at.name;
}

void export_options(const sdb::database_options& at) {
  const auto set = [](const char* name, const std::string& value) {
    setenv(name, value.c_str(), 1);
  };
  set("DATABASE_URL", url_of(at));
  set("DATABASE_HOST", at.host);
  set("DATABASE_PORT", std::to_string(at.port));
  set("DATABASE_NAME", at.name);
  set("DATABASE_USER", at.user);
  set("DATABASE_PASSWORD", at.password.reveal());
}

/// Signals that end us or tell of the command's end. Blocked in every thread and awaited in main.
sigset_t awaited_signals() {
  sigset_t set;
  sigemptyset(&set);
  for (const int number : {SIGINT, SIGTERM, SIGHUP, SIGCHLD}) sigaddset(&set, number);
  return set;
}

pid_t spawn(char** command, const sigset_t& mask) {
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  posix_spawnattr_setsigmask(&attributes, &mask);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK);
  pid_t pid = 0;
  const int failure = posix_spawnp(&pid, command[0], nullptr, &attributes, command, environ);
  posix_spawnattr_destroy(&attributes);
  if (failure != 0) throw std::system_error{failure, std::generic_category(), command[0]};
  return pid;
}

/// A terminal sends its Ctrl-C to the command as well; what somebody sent to us alone is passed on.
bool sent_to_us_alone(const siginfo_t& info) {
  return info.si_code == SI_USER || info.si_code == SI_TKILL || info.si_code == SI_QUEUE;
}

int wait_and_forward(pid_t command, const sigset_t& awaited) {
  while (true) {
    siginfo_t info{};
    const int number = sigwaitinfo(&awaited, &info);
    if (number != SIGCHLD) {
      if (number > 0 && sent_to_us_alone(info)) kill(command, number);
      continue;
    }
    int status = 0;
    if (waitpid(command, &status, WNOHANG) != command) continue;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  }
}

/// A signal to end that came while the server was starting.
std::optional<int> pending_end(sigset_t awaited) {
  sigdelset(&awaited, SIGCHLD);
  constexpr timespec at_once{};
  const int number = sigtimedwait(&awaited, nullptr, &at_once);
  return number > 0 ? std::optional{number} : std::nullopt;
}

int run(const arguments& wanted) {
  const auto awaited = awaited_signals();
  sigset_t original;
  pthread_sigmask(SIG_BLOCK, &awaited, &original);

  sdb::testing::private_postgres server{{.tcp = wanted.port}};
  server.create_database("soundhash");
  export_options(wanted.port ? server.tcp_options("soundhash") : server.options("soundhash"));
  if (const auto number = pending_end(awaited)) return 128 + *number;
  return wait_and_forward(spawn(wanted.command, original), awaited);
}

}  // namespace

int main(int, char** argv) {
  const auto wanted = parse(argv);
  if (!wanted) {
    std::cerr << usage;
    return bad_usage;
  }
  try {
    return run(*wanted);
  } catch (const std::exception& failure) {
    std::cerr << "soundhash-db-with-postgres: " << failure.what() << '\n';
    return EXIT_FAILURE;
  }
}
