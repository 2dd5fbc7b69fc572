#include "testing/child_process.hpp"

#include <array>
#include <cerrno>
#include <system_error>
#include <utility>

#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <soundhash/db/core/error.hpp>

namespace soundhash::db::testing {

namespace {

unprivileged_user identity_of(const passwd& entry) {
  int count = 64;
  std::vector<gid_t> groups(static_cast<std::size_t>(count));
  if (getgrouplist(entry.pw_name, entry.pw_gid, groups.data(), &count) < 0) {
    groups.resize(static_cast<std::size_t>(count));
    getgrouplist(entry.pw_name, entry.pw_gid, groups.data(), &count);
  }
  groups.resize(static_cast<std::size_t>(count));
  return {entry.pw_uid, entry.pw_gid, std::move(groups)};
}

std::vector<char*> pointers_to(const std::vector<std::string>& texts) {
  std::vector<char*> pointers;
  pointers.reserve(texts.size() + 1);
  for (const auto& text : texts) pointers.push_back(const_cast<char*>(text.c_str()));
  pointers.push_back(nullptr);
  return pointers;
}

/// Everything the child needs, made before fork: between fork and exec only async-signal-safe
/// calls are allowed, since other threads may have held locks.
struct prepared_child {
  explicit prepared_child(const child_command& from)
      : command{&from},
        arguments{pointers_to(from.arguments)},
        environment{pointers_to(from.environment)} {}

  const child_command* command;
  std::vector<char*> arguments;
  std::vector<char*> environment;
  pid_t parent = getpid();
};

bool redirect(const char* output) {
  const int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
  const int log = open(output, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  return null >= 0 && log >= 0 && dup2(null, STDIN_FILENO) >= 0 && dup2(log, STDOUT_FILENO) >= 0 &&
         dup2(log, STDERR_FILENO) >= 0;
}

bool become(const unprivileged_user& user) {
  return setgroups(user.groups.size(), user.groups.data()) == 0 && setgid(user.gid) == 0 &&
         setuid(user.uid) == 0;
}

void reset_signals() {
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  for (const int number : {SIGINT, SIGTERM, SIGQUIT, SIGPIPE, SIGCHLD}) {
    std::signal(number, SIG_DFL);
  }
}

void close_inherited_files() {
  constexpr int beyond_any_test = 1024;
  for (int file = STDERR_FILENO + 1; file < beyond_any_test; ++file) {
    fcntl(file, F_SETFD, FD_CLOEXEC);
  }
}

/// Runs in the child; returns only when something failed, with errno.
int become_program(const prepared_child& child) {
  reset_signals();
  setsid();
  close_inherited_files();
  const auto& command = *child.command;
  if (!redirect(command.output.c_str())) return errno;
  if (command.user && !become(*command.user)) return errno;
  if (chdir(command.directory.c_str()) != 0) return errno;
  // After setuid, which clears the parent-death signal.
  prctl(PR_SET_PDEATHSIG, command.signal_when_orphaned);
  if (getppid() != child.parent) return ECHILD;
  execve(child.arguments[0], child.arguments.data(), child.environment.data());
  return errno;
}

/// Returns the pid; throws when fork or anything up to exec failed.
pid_t start(const child_command& command) {
  const prepared_child child{command};
  std::array<int, 2> report{};
  if (pipe2(report.data(), O_CLOEXEC) != 0) throw std::system_error{errno, std::generic_category()};
  const pid_t pid = fork();
  if (pid == 0) {
    const int failure = become_program(child);
    // Nobody is left to tell when even this write fails.
    [[maybe_unused]] const auto written = write(report[1], &failure, sizeof failure);
    _exit(127);
  }
  const int fork_failure = pid < 0 ? errno : 0;
  close(report[1]);
  int failure = fork_failure;
  if (pid > 0 && read(report[0], &failure, sizeof failure) > 0) waitpid(pid, nullptr, 0);
  close(report[0]);
  if (failure != 0) throw std::system_error{failure, std::generic_category()};
  return pid;
}

int exit_code_of(int status) {
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

}  // namespace

std::optional<unprivileged_user> user_for_servers() {
  if (geteuid() != 0) return std::nullopt;
  for (const char* name : {"postgres", "nobody"}) {
    if (const passwd* entry = getpwnam(name)) return identity_of(*entry);
  }
  throw config_error{"user", "root may not run PostgreSQL and there is no unprivileged user",
                     "a user named postgres or nobody"};
}

child_process::child_process(child_command command) {
  keeper_ = std::thread{[this, command = std::move(command)] { keep(command); }};
  std::unique_lock lock{mutex_};
  changed_.wait(lock, [this] { return pid_ != 0 || start_error_ != 0; });
  if (start_error_ == 0) return;
  lock.unlock();
  keeper_.join();
  throw std::system_error{start_error_, std::generic_category(), "cannot start a child process"};
}

child_process::~child_process() {
  signal(SIGKILL);
  keeper_.join();
}

void child_process::signal(int number) {
  const std::lock_guard lock{mutex_};
  if (!ended_) kill(pid_, number);
}

bool child_process::wait_for(std::chrono::milliseconds span) {
  std::unique_lock lock{mutex_};
  return changed_.wait_for(lock, span, [this] { return ended_; });
}

int child_process::wait() {
  std::unique_lock lock{mutex_};
  changed_.wait(lock, [this] { return ended_; });
  return exit_code_;
}

void child_process::keep(const child_command& command) {
  try {
    const pid_t started = start(command);
    const std::lock_guard lock{mutex_};
    pid_ = started;
  } catch (const std::system_error& failure) {
    const std::lock_guard lock{mutex_};
    start_error_ = failure.code().value();
  }
  changed_.notify_all();
  if (start_error_ != 0) return;

  // Look first and reap under the lock, so that signal() never reaches a reused pid.
  siginfo_t info{};
  while (waitid(P_PID, static_cast<id_t>(pid_), &info, WEXITED | WNOWAIT) != 0 && errno == EINTR) {
  }
  const std::lock_guard lock{mutex_};
  int status = 0;
  waitpid(pid_, &status, 0);
  exit_code_ = exit_code_of(status);
  ended_ = true;
  changed_.notify_all();
}

}  // namespace soundhash::db::testing
