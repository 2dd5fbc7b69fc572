#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <soundhash/db/core/error.hpp>

#include "conninfo_from_options.hpp"
#include "driver/connection.hpp"
#include "support/caught.hpp"
#include "support/test_database.hpp"

/// Hosts that swallow what they get, and several of them: connecting ends by its deadline.
namespace soundhash::db {
namespace {

using namespace std::chrono_literals;
using test::caught;
using ::testing::AllOf;
using ::testing::HasSubstr;

class descriptor {
 public:
  explicit descriptor(int flags = 0)
      : fd_{::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | flags, 0)} {
    if (fd_ < 0) throw std::system_error{errno, std::generic_category(), "socket"};
  }
  descriptor(descriptor&& other) noexcept : fd_{std::exchange(other.fd_, -1)} {}
  descriptor& operator=(descriptor&&) = delete;
  ~descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  [[nodiscard]] int get() const noexcept { return fd_; }

 private:
  int fd_;
};

enum class swallows : std::uint8_t {
  requests,  ///< the kernel accepts, nobody answers
  attempts,  ///< the backlog is full, so not even the handshake ends
};

/// An address of this host where packets get no answer.
class black_hole {
 public:
  explicit black_hole(swallows what) {
    auto* const generic = reinterpret_cast<sockaddr*>(&address_);
    address_.sin_family = AF_INET;
    address_.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address_;
    const int backlog = what == swallows::requests ? 16 : 0;
    if (::bind(listener_.get(), generic, size) != 0 || ::listen(listener_.get(), backlog) != 0 ||
        ::getsockname(listener_.get(), generic, &size) != 0) {
      throw std::system_error{errno, std::generic_category(), "listen"};
    }
    if (what == swallows::attempts) fill();
  }
  [[nodiscard]] std::string port() const { return std::to_string(ntohs(address_.sin_port)); }

 private:
  void fill() {
    for (int i = 0; i < 4; ++i) {
      callers_.emplace_back(SOCK_NONBLOCK);
      ::connect(callers_.back().get(), reinterpret_cast<sockaddr*>(&address_), sizeof address_);
    }
  }

  descriptor listener_;
  sockaddr_in address_{};
  std::vector<descriptor> callers_;
};

/// A port of 127.0.0.1 where nobody listens.
std::string refusing_port() {
  return black_hole{swallows::requests}.port();
}

constexpr auto limit = 1s;
constexpr auto tolerance = 500ms;

class connect_deadline : public ::testing::TestWithParam<swallows> {
 protected:
  /// The test's server as the last of the hosts.
  static driver::conninfo with_server(std::string hosts, std::string ports) {
    auto where = session_conninfo(test::server().options());
    where.keywords["host"] = hosts + "," + where.keywords["host"];
    where.keywords["port"] = ports + "," + where.keywords["port"];
    return where;
  }
  static driver::conninfo only(std::string hosts, std::string ports) {
    auto where = session_conninfo(test::server().options());
    where.keywords["host"] = std::move(hosts);
    where.keywords["port"] = std::move(ports);
    return where;
  }
  static connection_error failure_of(const driver::conninfo& where) {
    const auto until = deadline::in(limit);
    auto e = caught<connection_error>([&] { driver::connection::open(where, until); });
    EXPECT_LE(deadline::clock::now(), until.at() + tolerance);
    return e;
  }

  black_hole hole_{GetParam()};
};

INSTANTIATE_TEST_SUITE_P(swallows, connect_deadline,
                         ::testing::Values(swallows::requests, swallows::attempts),
                         [](const auto& tested) {
                           return tested.param == swallows::requests ? "requests" : "attempts";
                         });

TEST_P(connect_deadline, ends_the_attempt) {
  const auto e = failure_of(only("127.0.0.1", hole_.port()));
  EXPECT_EQ(e.code(), errc::connect_timeout);
  EXPECT_EQ(e.sent(), sent::no);
  EXPECT_TRUE(e.retryable());
  EXPECT_THAT(e.what(), HasSubstr("127.0.0.1:" + hole_.port()));
}

TEST_P(connect_deadline, leaves_a_share_to_the_second_host) {
  const auto began = deadline::clock::now();
  const auto session =
      driver::connection::open(with_server("127.0.0.1", hole_.port()), deadline::in(6s));
  EXPECT_TRUE(session->usable());
  EXPECT_GE(deadline::clock::now() - began, 3s - 5ms) << "the first host had half of the time";
}

TEST_P(connect_deadline, leaves_a_share_to_the_last_of_three_hosts) {
  const black_hole second{GetParam()};
  const auto session = driver::connection::open(
      with_server("127.0.0.1,127.0.0.1", hole_.port() + "," + second.port()), deadline::in(9s));
  EXPECT_TRUE(session->usable());
}

TEST_P(connect_deadline, holds_over_several_hosts_that_all_swallow) {
  const black_hole second{GetParam()};
  const auto e = failure_of(only("127.0.0.1,127.0.0.1", hole_.port() + "," + second.port()));
  EXPECT_EQ(e.code(), errc::connect_timeout);
  EXPECT_THAT(e.what(), AllOf(HasSubstr("127.0.0.1:" + second.port()),
                              HasSubstr("tried before: 127.0.0.1 (connect_timeout)")));
}

TEST_P(connect_deadline, is_not_used_up_by_hosts_that_refuse) {
  const auto port = refusing_port();
  const auto e = failure_of(only("localhost,127.0.0.1", port + "," + port));
  EXPECT_EQ(e.code(), errc::refused);
  EXPECT_THAT(e.what(), AllOf(HasSubstr("127.0.0.1:" + port),
                              HasSubstr("tried before: localhost (refused)")));
}

}  // namespace
}  // namespace soundhash::db
