#include "cache/redis_call.hpp"

#include <cstdint>
#include <limits>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace soundhash::db::redis {
namespace {

using ::testing::ElementsAre;

std::string wire(const command& said) {
  std::string out;
  said.append_to(out);
  return out;
}

TEST(redis_call_test, a_command_is_an_array_of_counted_arguments) {
  EXPECT_EQ(wire({"GET", "key"}), "*2\r\n$3\r\nGET\r\n$3\r\nkey\r\n");
}

TEST(redis_call_test, arguments_are_any_bytes) {
  const std::string bytes{"\0\r\n$1\r\n", 8};
  command said{"SET", bytes};
  said << "" << std::numeric_limits<std::int64_t>::min();
  EXPECT_EQ(said.size(), 4U);
  EXPECT_EQ(wire(said),
            "*4\r\n$3\r\nSET\r\n$8\r\n" + bytes + "\r\n$0\r\n\r\n$20\r\n-9223372036854775808\r\n");
  EXPECT_THAT(said.arguments(), ElementsAre("SET", bytes, "", "-9223372036854775808"));
}

TEST(redis_call_test, commands_follow_each_other) {
  std::string out = wire({"PING"});
  command{"PING"}.append_to(out);
  EXPECT_EQ(out, "*1\r\n$4\r\nPING\r\n*1\r\n$4\r\nPING\r\n");
}

}  // namespace
}  // namespace soundhash::db::redis
