#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <string>

#include <sys/types.h>

#include <soundhash/db/database_options.hpp>
#include <soundhash/db/export.hpp>

namespace soundhash::db::testing {

/// How a private server is set up. An aggregate.
struct private_postgres_options {
  /// Directory of `postgres`, `initdb` and `createdb`; empty: that of the newest version under
  /// /usr/lib/postgresql, else the one that PATH names.
  std::filesystem::path binaries{};
  /// Also listen on a free port of 127.0.0.1, where a password is always asked for.
  bool tcp = false;
  /// Ask for this password (SCRAM) on the socket too. Empty: the socket trusts its user, since only
  /// that user can open the directory; TCP then gets a random password.
  secret password{};
  /// Survive a crash of the machine (fsync and friends): slower.
  bool durable = false;
  int max_connections = 100;
  /// Further settings of postgresql.conf; they win over ours.
  std::map<std::string, std::string> settings{};
  /// Bounds each start, and half of each stop.
  std::chrono::milliseconds start_timeout = std::chrono::seconds{60};
};

/// A PostgreSQL server of one's own in a fresh temporary directory, for tests and demonstrations:
/// encoding UTF8, locale C.UTF-8, time zone UTC, reachable by a Unix socket in that directory, with
/// the superuser `postgres`. Started by root, it runs as the user `postgres`, else `nobody`. It
/// ends with this object and also when this process dies; only then does its directory stay behind.
/// Thread safety: one thread at a time, except options().
class SOUNDHASH_DB_EXPORT private_postgres {
 public:
  /// Makes and starts the server; returns when it accepts connections.
  /// Throws: config_error when there is no PostgreSQL; connection_error with the end of the
  /// server's log when it does not come up.
  explicit private_postgres(private_postgres_options options = {});
  /// Stops the server and removes its directory.
  ~private_postgres();
  private_postgres(const private_postgres&) = delete;
  private_postgres& operator=(const private_postgres&) = delete;

  /// How to reach a database of this server by its socket; every other member has its default.
  [[nodiscard]] database_options options(const std::string& database_name = "postgres") const;
  /// The same by 127.0.0.1.
  /// Throws: config_error unless the server was made with `tcp`.
  [[nodiscard]] database_options tcp_options(const std::string& database_name = "postgres") const;

  /// Creates a database as a copy of `template_name` (empty: an empty database). Nobody may be
  /// connected to the template meanwhile.
  /// Throws: query_error with what createdb said.
  void create_database(const std::string& name, const std::string& template_name = "");

  /// Stops as `pg_ctl stop -m fast` does: sessions end, nothing is lost. No effect when stopped.
  void stop();
  /// Starts again on the same socket and port. No effect when running.
  /// Throws: connection_error as the constructor.
  void start();
  /// stop() and start().
  void restart();
  /// Ends as in a crash: sessions are cut, nothing is flushed. start() then recovers.
  void kill_immediately();

  /// Stops the server and its sessions from running (SIGSTOP): connections stay open and silent.
  void pause();
  /// Lets everything that pause() stopped run again.
  void resume();

  /// Process id of the postmaster; 0 when stopped.
  [[nodiscard]] pid_t pid() const noexcept;
  /// The server's log file, valid while this object lives.
  [[nodiscard]] std::filesystem::path log() const;

 private:
  struct impl;
  std::unique_ptr<impl> impl_;
};

}  // namespace soundhash::db::testing
