#include "cache/reply_reader.hpp"

#include <string>
#include <string_view>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "cache/link_error.hpp"
#include "support/caught.hpp"

namespace soundhash::db::redis {
namespace {

using test::caught;
using ::testing::HasSubstr;
using ::testing::StartsWith;

/// Why the bytes are refused.
std::string refusal(std::string_view bytes, reply_limits limits = {}) {
  reply_reader reader{limits};
  reader.feed(bytes);
  const auto read_all = [&] {
    while (reader.next()) {
    }
  };
  const std::string why = caught<link_error>(read_all).what();
  EXPECT_THROW(static_cast<void>(reader.next()), link_error) << "once broken, always broken";
  return why;
}

TEST(reply_reader_test, reads_every_type) {
  reply_reader reader;
  reader.feed("+OK\r\n-ERR no\r\n:-42\r\n$3\r\na\rb\r\n$-1\r\n*2\r\n*1\r\n:1\r\n*-1\r\n");
  const auto expect = [&](reply::kind what, std::string_view text, std::int64_t integer) {
    const auto answer = reader.next();
    ASSERT_TRUE(answer);
    EXPECT_EQ(answer->what, what);
    EXPECT_EQ(answer->text, text);
    EXPECT_EQ(answer->integer, integer);
  };
  expect(reply::kind::status, "OK", 0);
  expect(reply::kind::error, "ERR no", 0);
  expect(reply::kind::integer, "", -42);
  expect(reply::kind::text, "a\rb", 0);
  expect(reply::kind::nil, "", 0);
  const auto nested = reader.next();
  ASSERT_TRUE(nested);
  EXPECT_EQ(nested->what, reply::kind::array);
  ASSERT_EQ(nested->items.size(), 2U);
  EXPECT_EQ(nested->items[0].items.at(0).integer, 1);
  EXPECT_TRUE(nested->items[1].is_nil());
  EXPECT_FALSE(reader.next());
}

TEST(reply_reader_test, an_answer_may_come_byte_by_byte) {
  const std::string_view bytes = "*3\r\n$5\r\nhello\r\n*2\r\n:1\r\n$-1\r\n+x\r\n";
  reply_reader reader;
  for (std::size_t i = 0; i + 1 < bytes.size(); ++i) {
    reader.feed(bytes.substr(i, 1));
    ASSERT_FALSE(reader.next()) << i;
  }
  reader.feed(bytes.substr(bytes.size() - 1));
  const auto answer = reader.next();
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->items.at(0).text, "hello");
  EXPECT_EQ(answer->items.at(1).items.size(), 2U);
  EXPECT_EQ(answer->items.at(2).text, "x");
}

TEST(reply_reader_test, bytes_of_another_protocol_are_refused) {
  EXPECT_THAT(refusal("HTTP/1.1 400 Bad Request\r\n\r\n"), StartsWith("broken answer: "));
  EXPECT_THAT(refusal("%1\r\n+a\r\n+b\r\n,1.5\r\n#t\r\n"), StartsWith("broken answer: "));
  EXPECT_THAT(refusal(":12x\r\n$-7\r\n"), StartsWith("broken answer: "));
}

TEST(reply_reader_test, a_bomb_of_nested_arrays_is_refused) {
  std::string bomb;
  for (int i = 0; i < 100'000; ++i) bomb += "*1\r\n";
  EXPECT_THAT(refusal(bomb), StartsWith("broken answer: "));
}

/// Memory grows with what came: else each of these would take gigabytes.
TEST(reply_reader_test, what_is_only_announced_takes_no_memory) {
  reply_reader reader;
  reader.feed("*2147483647\r\n*2147483647\r\n*2147483647\r\n:1\r\n");
  EXPECT_FALSE(reader.next());
  reply_reader other;
  other.feed("$536870912\r\nabc");
  EXPECT_FALSE(other.next());
}

TEST(reply_reader_test, too_many_elements_are_refused_nested_ones_included) {
  EXPECT_THAT(refusal("*2\r\n*2\r\n:1\r\n:2\r\n*2\r\n:3\r\n:4\r\n", {.elements = 5}),
              HasSubstr("too many elements"));
}

TEST(reply_reader_test, too_long_a_text_is_refused_before_it_has_come) {
  const auto begun = "$1000000\r\n" + std::string(2000, 'x');
  EXPECT_THAT(refusal(begun, {.text_bytes = 1000}), HasSubstr("a text of too many bytes"));
  EXPECT_THAT(refusal("+" + std::string(2000, 'x'), {.text_bytes = 1000}),
              HasSubstr("a text of too many bytes"));
}

TEST(reply_reader_test, too_many_bytes_in_all_are_refused) {
  EXPECT_THAT(refusal("*2\r\n$3\r\nabc\r\n$3\r\nabc\r\n", {.total_bytes = 5}),
              HasSubstr("too many bytes"));
}

TEST(reply_reader_test, limits_are_of_one_answer) {
  reply_reader reader{{.total_bytes = 5, .elements = 2}};
  for (int i = 0; i < 10; ++i) {
    reader.feed("*2\r\n:1\r\n$3\r\nabc\r\n");
    EXPECT_TRUE(reader.next());
  }
}

}  // namespace
}  // namespace soundhash::db::redis
