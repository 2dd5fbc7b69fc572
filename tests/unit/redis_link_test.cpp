#include "cache/redis_link.hpp"

#include <array>
#include <chrono>
#include <memory>
#include <optional>
#include <string>

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>

#include "support/sockets.hpp"

/// A link whose other end the test holds.
namespace soundhash::db::redis {
namespace {

using namespace std::chrono_literals;

class redis_link_test : public ::testing::Test {
 protected:
  redis_link_test() {
    std::array<int, 2> ends{};
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()), 0);
    ::fcntl(ends[0], F_SETFL, O_NONBLOCK);
    link_ = std::make_unique<link>(ends[0], nullptr);
    server_.emplace(ends[1]);
  }

  std::unique_ptr<link> link_;
  std::optional<test::descriptor> server_;
};

/// Else a server that never stops sending would hold its reader for ever.
TEST_F(redis_link_test, bytes_that_are_there_do_not_move_a_deadline_that_has_passed) {
  const std::string large(100'000, 'x');
  ASSERT_TRUE(test::send_all(*server_, "$100000\r\n" + large + "\r\n"));
  EXPECT_FALSE(link_->read(deadline::in(0s))) << "one look at the socket is too short for all";
  EXPECT_EQ(link_->read({}).value().text, large) << "what was read is not lost";
}

TEST_F(redis_link_test, an_answer_that_is_there_is_read_after_the_deadline) {
  ASSERT_TRUE(test::send_all(*server_, "+late\r\n"));
  EXPECT_EQ(link_->read(deadline::in(0s)).value().text, "late");
}

TEST_F(redis_link_test, a_server_that_reads_nothing_ends_the_sending_at_the_deadline) {
  const command large{"SET", "a", std::string(50'000'000, 'x')};
  EXPECT_THROW(link_->send({&large, 1}, deadline::in(10ms)), link_error);
}

}  // namespace
}  // namespace soundhash::db::redis
