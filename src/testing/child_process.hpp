#pragma once

#include <chrono>
#include <condition_variable>
#include <csignal>
#include <filesystem>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include <sys/types.h>

namespace soundhash::db::testing {

/// A user to become before exec.
struct unprivileged_user {
  uid_t uid;
  gid_t gid;
  std::vector<gid_t> groups;
};

/// `postgres`, else `nobody`, when this process is root; otherwise nullopt: stay who we are.
/// Throws: config_error when root and neither user exists.
std::optional<unprivileged_user> user_for_servers();

/// What to run and how.
struct child_command {
  std::vector<std::string> arguments;    ///< the first is the absolute path of the program
  std::vector<std::string> environment;  ///< "NAME=value", complete
  std::filesystem::path directory;       ///< working directory
  std::filesystem::path output;          ///< standard output and error are appended here
  std::optional<unprivileged_user> user;
  int signal_when_orphaned = SIGKILL;  ///< what the child gets when this process dies
};

/// A child in a session of its own (a terminal's Ctrl-C does not reach it) that does not outlive
/// this process. A thread of its own starts and reaps it, since the kernel's parent-death signal
/// follows the thread that forked and not the process.
/// Thread safety: safe for concurrent use.
class child_process {
 public:
  /// Throws: std::system_error when the child cannot be started.
  explicit child_process(child_command command);
  /// Kills the child if it still runs, and reaps it.
  ~child_process();
  child_process(const child_process&) = delete;
  child_process& operator=(const child_process&) = delete;

  [[nodiscard]] pid_t pid() const noexcept { return pid_; }
  /// Nothing happens when the child has ended.
  void signal(int number);
  /// True when the child has ended by then.
  bool wait_for(std::chrono::milliseconds span);
  /// Exit code, 128 + signal number when a signal ended it.
  int wait();

 private:
  void keep(const child_command& command);

  std::mutex mutex_;
  std::condition_variable changed_;
  pid_t pid_ = 0;
  int start_error_ = 0;
  bool ended_ = false;
  int exit_code_ = 0;
  std::thread keeper_;
};

}  // namespace soundhash::db::testing
