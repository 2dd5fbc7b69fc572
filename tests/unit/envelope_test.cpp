#include "cache/envelope.hpp"

#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include <soundhash/db/testing/rows.hpp>

#include "cache/crc32c.hpp"

namespace soundhash::db {
namespace {

using std::chrono::milliseconds;
using testing::rows;

constexpr query find{"item.find", "SELECT a, b FROM items WHERE id = $1", access::read_only};
constexpr query find_more{"item.find", "SELECT a, b, c FROM items WHERE id = $1",
                          access::read_only};

const std::vector<stamp> two_stamps{stamp::random(), stamp::random()};
const value_times times{value_times::point{milliseconds{1'700'000'000'000}},
                        value_times::point{milliseconds{1'700'000'300'000}},
                        std::chrono::microseconds{1234}};

envelope_label label(std::string_view key = "key", const query& statement = find,
                     std::span<const stamp> stamps = two_stamps) {
  return {statement, key, stamps};
}

result several_rows() {
  return rows{"a", "b"}
      .add(1, "one")
      .add(2, std::optional<std::string>{})
      .affected(2)
      .build(find.name());
}

unsealing outcome_of(std::string stored) {
  return unseal(label(), std::move(stored)).outcome;
}

/// The last four bytes made right, as an attacker would.
std::string with_sum(std::string bytes_without) {
  const auto sum = crc32c(bytes_without);
  for (int shift = 0; shift < 32; shift += 8) {
    bytes_without.push_back(static_cast<char>((sum >> shift) & 255U));
  }
  return bytes_without;
}

TEST(crc32c, has_the_values_of_rfc_3720) {
  std::string ascending;
  for (int i = 0; i < 32; ++i) ascending.push_back(static_cast<char>(i));
  for (const auto sum : {&crc32c, &crc32c_by_tables}) {
    EXPECT_EQ(sum(std::string(32, '\0')), 0x8A9136AAU);
    EXPECT_EQ(sum(std::string(32, '\xff')), 0x62A8AB43U);
    EXPECT_EQ(sum(ascending), 0x46DD794EU);
    EXPECT_EQ(sum("123456789"), 0xE3069283U);
    EXPECT_EQ(sum(""), 0U);
  }
}

TEST(crc32c, is_the_same_by_instruction_and_by_tables) {
  std::mt19937 random{3};
  for (std::size_t size = 0; size < 100; ++size) {
    std::string data(size, ' ');
    for (auto& c : data) c = static_cast<char>(random());
    EXPECT_EQ(crc32c(data), crc32c_by_tables(data)) << size;
  }
}

TEST(envelope, gives_back_every_type) {
  const timestamp when{std::chrono::microseconds{1'700'000'000'123'456}};
  const bytes embedded{std::byte{'a'}, std::byte{0}, std::byte{'b'}};
  const bytes raw{std::byte{0}, std::byte{255}};
  const std::vector<std::int32_t> array{1, -2, 3};
  const auto before =
      rows{"flag", "small", "int", "big", "real",  "double", "when",
           "text", "empty", "nul", "raw", "array", "null"}
          .add(true, std::int16_t{-1}, std::int32_t{5}, std::numeric_limits<std::int64_t>::min(),
               1.5F, std::numeric_limits<double>::quiet_NaN(), when, "ümlaut", "", embedded, raw,
               array, std::optional<std::int32_t>{})
          .build(find.name());
  const auto after = unseal(label(), seal(label(), times, before));
  ASSERT_EQ(after.outcome, unsealing::good);
  ASSERT_EQ(after.rows.size(), 1U);
  ASSERT_EQ(after.rows.columns().size(), before.columns().size());
  for (std::size_t c = 0; c < before.columns().size(); ++c) {
    EXPECT_EQ(after.rows.columns()[c].name, before.columns()[c].name);
    EXPECT_EQ(after.rows.columns()[c].type, before.columns()[c].type);
    EXPECT_EQ(after.rows[0][c].is_null(), before[0][c].is_null());
    EXPECT_EQ(after.rows[0][c].bytes(), before[0][c].bytes());
  }
  const auto row = after.rows[0];
  EXPECT_EQ(row[0].as<bool>(), true);
  EXPECT_EQ(row[3].as<std::int64_t>(), std::numeric_limits<std::int64_t>::min());
  EXPECT_TRUE(std::isnan(row[5].as<double>()));
  EXPECT_EQ(row[6].as<timestamp>(), when);
  EXPECT_EQ(row[8].as<std::string>(), "");
  EXPECT_EQ(row[9].as<bytes>(), embedded);
  EXPECT_EQ(row[10].as<bytes>(), raw);
  EXPECT_EQ(row[11].as<std::vector<std::int32_t>>(), array);
  EXPECT_EQ(row[12].as<std::optional<std::int32_t>>(), std::nullopt);
}

TEST(envelope, gives_back_rows_times_and_what_was_affected) {
  const auto found = unseal(label(), seal(label(), times, several_rows()));
  ASSERT_EQ(found.outcome, unsealing::good);
  EXPECT_EQ(found.times.created, times.created);
  EXPECT_EQ(found.times.expires, times.expires);
  EXPECT_EQ(found.times.load, times.load);
  EXPECT_EQ(found.rows.query_name(), find.name());
  EXPECT_EQ(found.rows.affected(), 2U);
  ASSERT_EQ(found.rows.size(), 2U);
  EXPECT_EQ(found.rows[1][0].as<std::int32_t>(), 2);
  EXPECT_TRUE(found.rows[1][1].is_null());
}

TEST(envelope, gives_back_that_there_is_no_row_and_no_column) {
  for (const auto& nothing : {rows{"a", "b"}, rows{}}) {
    const auto found = unseal(label(), seal(label(), times, nothing.build(find.name())));
    EXPECT_EQ(found.outcome, unsealing::good);
    EXPECT_TRUE(found.rows.empty());
  }
}

TEST(envelope, its_rows_outlive_what_they_came_from) {
  auto found = std::make_unique<unsealed>(unseal(label(), seal(label(), times, several_rows())));
  const auto kept = std::move(found->rows);
  found.reset();
  EXPECT_EQ(kept[0][1].as<std::string>(), "one");
  EXPECT_EQ(kept.columns()[1].name, "b");
}

TEST(envelope, of_other_stamps_is_stale) {
  const auto sealed = seal(label(), times, several_rows());
  const std::vector<stamp> other{two_stamps[0], stamp::random()};
  const std::vector<stamp> fewer{two_stamps[0]};
  EXPECT_EQ(unseal(label("key", find, other), sealed).outcome, unsealing::stale);
  EXPECT_EQ(unseal(label("key", find, fewer), sealed).outcome, unsealing::stale);
  EXPECT_EQ(unseal(label("key", find, {}), sealed).outcome, unsealing::stale);
}

TEST(envelope, of_another_key_or_query_text_is_malformed) {
  const auto sealed = seal(label(), times, several_rows());
  EXPECT_EQ(unseal(label("other"), sealed).outcome, unsealing::malformed);
  EXPECT_EQ(unseal(label("key", find_more), sealed).outcome, unsealing::malformed);
}

TEST(envelope, cut_at_any_byte_or_longer_is_malformed) {
  const auto sealed = seal(label(), times, several_rows());
  for (std::size_t size = 0; size < sealed.size(); ++size) {
    EXPECT_EQ(outcome_of(sealed.substr(0, size)), unsealing::malformed) << size;
    if (size > 4) {
      EXPECT_EQ(outcome_of(with_sum(sealed.substr(0, size - 4))), unsealing::malformed) << size;
    }
  }
  EXPECT_EQ(outcome_of(sealed + '\0'), unsealing::malformed);
  EXPECT_EQ(outcome_of(with_sum(sealed)), unsealing::malformed);
}

TEST(envelope, with_any_bit_flipped_is_malformed) {
  const auto sealed = seal(label(), times, several_rows());
  for (std::size_t bit = 0; bit < sealed.size() * 8; ++bit) {
    auto flipped = sealed;
    flipped[bit / 8] = static_cast<char>(flipped[bit / 8] ^ (1 << (bit % 8)));
    EXPECT_EQ(outcome_of(flipped), unsealing::malformed) << bit;
  }
}

/// Behind a right checksum: no length that lies may be believed, whatever else follows from it.
TEST(envelope, with_any_byte_made_up_behind_a_right_checksum_does_no_harm) {
  const auto sealed = seal(label(), times, several_rows());
  const auto body = sealed.substr(0, sealed.size() - 4);
  for (std::size_t at = 0; at < body.size(); ++at) {
    for (const int value : {0, 1, 0x7f, 0x80, 0xff}) {
      auto forged = body;
      forged[at] = static_cast<char>(value);
      const auto found = unseal(label(), with_sum(forged));
      for (std::size_t r = 0; r < found.rows.size(); ++r) {
        for (std::size_t c = 0; c < found.rows.columns().size(); ++c) {
          EXPECT_LE(found.rows[r][c].bytes().size(), sealed.size());
        }
      }
    }
  }
}

TEST(envelope, with_huge_lengths_behind_a_right_checksum_is_malformed) {
  const auto sealed = seal(label(), times, several_rows());
  const auto body = sealed.substr(0, sealed.size() - 4);
  std::size_t refused = 0;
  for (std::size_t at = 48; at + 4 <= body.size(); ++at) {
    for (const std::uint32_t huge : {0xFFFFFFFFU, 0x7FFFFFFFU, 0x80000000U, 0x40000000U}) {
      auto forged = body;
      std::memcpy(&forged[at], &huge, sizeof huge);
      refused += unseal(label(), with_sum(forged)).outcome == unsealing::good ? 0U : 1U;
    }
  }
  EXPECT_GT(refused, 100U);
}

TEST(envelope, of_random_bytes_is_malformed) {
  std::mt19937 random{5};
  for (int i = 0; i < 20'000; ++i) {
    std::string junk(random() % 200, ' ');
    for (auto& c : junk) c = static_cast<char>(random());
    EXPECT_EQ(outcome_of(junk), unsealing::malformed);
    EXPECT_EQ(outcome_of(with_sum(junk)), unsealing::malformed);
  }
}

}  // namespace
}  // namespace soundhash::db
