#include <csignal>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <memory>
#include <optional>
#include <string>
#include <system_error>
#include <thread>
#include <tuple>

#include <arpa/inet.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <soundhash/db/core/error.hpp>
#include <soundhash/db/testing/private_postgres.hpp>

namespace soundhash::db::testing {

namespace {

namespace fs = std::filesystem;

/// A socket connected to where the options point, or nothing.
class raw_session {
 public:
  explicit raw_session(const database_options& at)
      : file_{socket(at.host.starts_with('/') ? AF_UNIX : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)} {
    connected_ = at.host.starts_with('/') ? connect_unix(at) : connect_tcp(at);
  }
  ~raw_session() { close(file_); }
  raw_session(const raw_session&) = delete;
  raw_session& operator=(const raw_session&) = delete;

  [[nodiscard]] bool connected() const { return connected_; }

  /// Asks for TLS (SSLRequest) and gives the answer's byte; nothing when none comes in that time.
  std::optional<char> ask_for_tls(int milliseconds) {
    constexpr unsigned char request[] = {0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f};
    if (send(file_, request, sizeof request, MSG_NOSIGNAL) != sizeof request) return std::nullopt;
    return answer_within(milliseconds);
  }

  std::optional<char> answer_within(int milliseconds) {
    pollfd readable{file_, POLLIN, 0};
    char answer = 0;
    if (poll(&readable, 1, milliseconds) != 1 || recv(file_, &answer, 1, 0) != 1) {
      return std::nullopt;
    }
    return answer;
  }

 private:
  bool connect_unix(const database_options& at) const {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    const auto path = at.host + "/.s.PGSQL." + std::to_string(at.port);
    std::strncpy(address.sun_path, path.c_str(), sizeof address.sun_path - 1);
    return connect(file_, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
  }
  bool connect_tcp(const database_options& at) const {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(at.port);
    inet_pton(AF_INET, at.host.c_str(), &address.sin_addr);
    return connect(file_, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
  }

  int file_;
  bool connected_ = false;
};

bool runs(pid_t pid) {
  return kill(pid, 0) == 0;
}

TEST(private_postgres_test, serves_while_it_lives_and_leaves_nothing) {
  auto server = std::make_unique<private_postgres>();
  const auto at = server->options();
  const auto pid = server->pid();
  EXPECT_EQ(raw_session{at}.ask_for_tls(10'000), 'N');
  EXPECT_TRUE(fs::exists(at.host));
  server.reset();
  EXPECT_FALSE(fs::exists(at.host));
  EXPECT_FALSE(runs(pid));
}

TEST(private_postgres_test, never_runs_as_root_and_hides_its_directory) {
  const private_postgres server;
  struct stat process {};
  ASSERT_EQ(stat(("/proc/" + std::to_string(server.pid())).c_str(), &process), 0);
  EXPECT_NE(process.st_uid, 0U);
  struct stat directory {};
  ASSERT_EQ(stat(server.options().host.c_str(), &directory), 0);
  EXPECT_EQ(directory.st_mode & 0777U, 0700U);
}

TEST(private_postgres_test, listens_on_tcp_only_when_asked) {
  const private_postgres silent;
  EXPECT_THROW((void)silent.tcp_options(), config_error);
  const private_postgres open{{.tcp = true}};
  EXPECT_EQ(raw_session{open.tcp_options()}.ask_for_tls(10'000), 'N');
  EXPECT_FALSE(open.tcp_options().password.empty());
}

TEST(private_postgres_test, creates_databases_and_reports_refusals) {
  private_postgres server{{.password = secret{"a pass'word"}}};
  server.create_database("one");
  server.create_database("two", "one");
  try {
    server.create_database("two");
    FAIL() << "nothing was thrown";
  } catch (const query_error& failure) {
    EXPECT_NE(std::string{failure.what()}.find("already exists"), std::string::npos);
  }
}

TEST(private_postgres_test, stops_starts_and_survives_a_crash_at_the_same_place) {
  private_postgres server;
  const auto at = server.options();
  const auto first = server.pid();
  server.stop();
  EXPECT_EQ(server.pid(), 0);
  EXPECT_FALSE(raw_session{at}.connected());
  server.start();
  EXPECT_TRUE(raw_session{at}.connected());
  server.kill_immediately();
  EXPECT_FALSE(raw_session{at}.connected());
  server.start();
  EXPECT_TRUE(raw_session{at}.connected());
  EXPECT_NE(server.pid(), first);
}

TEST(private_postgres_test, a_paused_server_is_silent_until_it_resumes) {
  private_postgres server;
  server.pause();
  raw_session session{server.options()};
  ASSERT_TRUE(session.connected());
  EXPECT_EQ(session.ask_for_tls(100), std::nullopt);
  server.resume();
  EXPECT_EQ(session.answer_within(10'000), 'N');
}

TEST(private_postgres_test, a_paused_server_can_be_destroyed) {
  auto server = std::make_unique<private_postgres>();
  const auto pid = server->pid();
  server->pause();
  server.reset();
  EXPECT_FALSE(runs(pid));
}

TEST(private_postgres_test, outlives_the_thread_that_started_it) {
  std::unique_ptr<private_postgres> server;
  std::thread{[&] { server = std::make_unique<private_postgres>(); }}.join();
  EXPECT_EQ(raw_session{server->options()}.ask_for_tls(10'000), 'N');
}

TEST(private_postgres_test, a_setting_that_the_server_refuses_is_shown_from_its_log) {
  try {
    const private_postgres server{{.settings = {{"shared_buffers", "plenty"}}}};
    FAIL() << "nothing was thrown";
  } catch (const connection_error& failure) {
    EXPECT_NE(std::string{failure.what()}.find("shared_buffers"), std::string::npos);
  }
}

TEST(private_postgres_test, a_directory_without_a_server_is_refused) {
  EXPECT_THROW(private_postgres({.binaries = "/usr/share"}), config_error);
}

/// The child starts a server, says where it is and dies without any clean-up.
TEST(private_postgres_test, ends_when_its_process_dies) {
  int report[2];
  ASSERT_EQ(pipe2(report, O_CLOEXEC), 0);
  const pid_t owner = fork();
  if (owner == 0) {
    const private_postgres server;
    const auto where = server.options().host;
    const pid_t pid = server.pid();
    std::ignore = write(report[1], &pid, sizeof pid);
    std::ignore = write(report[1], where.data(), where.size());
    raise(SIGKILL);
  }
  close(report[1]);
  pid_t server = 0;
  ASSERT_EQ(read(report[0], &server, sizeof server), static_cast<ssize_t>(sizeof server));
  char where[256] = {};
  ASSERT_GT(read(report[0], where, sizeof where - 1), 0);
  close(report[0]);
  waitpid(owner, nullptr, 0);

  database_options at;
  at.host = where;
  const auto gone = [&] { return !raw_session{at}.connected(); };
  for (int tries = 0; tries < 1'000 && !gone(); ++tries) poll(nullptr, 0, 10);
  EXPECT_TRUE(gone());
  // It may still be removing files of its own.
  std::error_code left;
  do {
    left.clear();
    fs::remove_all(where, left);
  } while (left == std::errc::no_such_file_or_directory);
  EXPECT_FALSE(left) << left.message();
}

}  // namespace

}  // namespace soundhash::db::testing
