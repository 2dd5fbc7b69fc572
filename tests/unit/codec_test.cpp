#include <array>
#include <bit>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <limits>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <soundhash/db/core/codec.hpp>
#include <soundhash/db/core/error.hpp>

namespace soundhash::db {
namespace {

using namespace std::chrono_literals;
using std::chrono::sys_days;
using testing::ElementsAre;

template <class T>
std::string binary_of(const T& value) {
  std::string out;
  codec<T>::append_binary(out, value);
  return out;
}

template <class T>
std::string text_of(const T& value) {
  std::string out;
  codec<T>::append_text(out, value);
  return out;
}

template <class T>
std::optional<T> decoded(std::string_view data, std::uint32_t type) {
  T value{};
  if (!codec<T>::decode(data, type, value)) return std::nullopt;
  return value;
}

template <class T>
std::optional<T> round_trip(const T& value, std::uint32_t type = codec<T>::element_oid) {
  return decoded<T>(binary_of(value), type);
}

template <class T>
std::optional<std::vector<T>> array_round_trip(const std::vector<T>& values) {
  return decoded<std::vector<T>>(binary_of(values), oid::unknown);
}

timestamp at(int year, unsigned month, unsigned day, std::chrono::microseconds into_day) {
  return sys_days{std::chrono::year{year} / std::chrono::month{month} / std::chrono::day{day}} +
         into_day;
}

/// Array bytes put together by hand.
std::string words(std::initializer_list<std::uint32_t> values) {
  std::string out;
  for (const auto value : values) detail::append_big_endian(out, value);
  return out;
}

TEST(codec, integers_survive_at_their_limits) {
  const auto check = []<class T>(T) {
    for (const T value :
         {std::numeric_limits<T>::min(), T{-1}, T{0}, T{1}, std::numeric_limits<T>::max()}) {
      EXPECT_EQ(round_trip(value), value);
      EXPECT_EQ(text_of(value), std::to_string(value));
    }
  };
  check(std::int16_t{});
  check(std::int32_t{});
  check(std::int64_t{});
}

TEST(codec, integers_travel_in_network_byte_order) {
  EXPECT_EQ(binary_of(std::int32_t{0x01020304}), std::string("\1\2\3\4", 4));
  EXPECT_EQ(binary_of(std::int16_t{-2}), std::string("\xff\xfe", 2));
}

TEST(codec, integers_widen_but_never_narrow) {
  EXPECT_TRUE(codec<std::int64_t>::accepts(oid::int2));
  EXPECT_TRUE(codec<std::int64_t>::accepts(oid::oid));
  EXPECT_FALSE(codec<std::int32_t>::accepts(oid::int8));
  EXPECT_FALSE(codec<std::int16_t>::accepts(oid::int4));
  EXPECT_EQ(decoded<std::int64_t>(binary_of(std::int16_t{-5}), oid::int2), -5);
  EXPECT_EQ(decoded<std::int64_t>(binary_of(std::int32_t{-1}), oid::oid), 4294967295);
}

TEST(codec, bool_is_one_byte_and_one_letter) {
  EXPECT_EQ(round_trip(true), true);
  EXPECT_EQ(round_trip(false), false);
  EXPECT_EQ(text_of(true), "t");
  EXPECT_EQ(text_of(false), "f");
  EXPECT_FALSE(codec<bool>::accepts(oid::int2));
}

TEST(codec, floating_point_survives_bit_by_bit) {
  const auto check = []<class T>(T) {
    using limits = std::numeric_limits<T>;
    using bits = std::conditional_t<sizeof(T) == 4, std::uint32_t, std::uint64_t>;
    for (const T value :
         {T{0}, -T{0}, T{0.1F}, limits::max(), limits::lowest(), limits::min(),
          limits::denorm_min(), limits::infinity(), -limits::infinity(), limits::quiet_NaN()}) {
      const auto back = round_trip(value);
      ASSERT_TRUE(back);
      EXPECT_EQ(std::bit_cast<bits>(*back), std::bit_cast<bits>(value)) << value;
    }
  };
  check(float{});
  check(double{});
}

TEST(codec, floating_point_text_reads_back_as_the_same_number) {
  for (const double value : {0.1, 1.0 / 3.0, 1e-308, 5e-324, 1.7976931348623157e308}) {
    EXPECT_EQ(std::strtod(text_of(value).c_str(), nullptr), value);
  }
  EXPECT_EQ(text_of(std::numeric_limits<double>::infinity()), "inf");
  EXPECT_EQ(text_of(-std::numeric_limits<float>::infinity()), "-inf");
  EXPECT_EQ(text_of(std::numeric_limits<double>::quiet_NaN()), "nan");
}

TEST(codec, a_float4_column_reads_as_double) {
  EXPECT_TRUE(codec<double>::accepts(oid::float4));
  EXPECT_FALSE(codec<float>::accepts(oid::float8));
  EXPECT_EQ(decoded<double>(binary_of(0.5F), oid::float4), 0.5);
}

TEST(codec, timestamps_survive_from_year_1_to_9999) {
  for (const timestamp value :
       {at(1, 1, 1, 0us), at(1, 1, 1, 1us), at(1969, 12, 31, 24h - 1us),
        at(1999, 12, 31, 24h - 1us), at(2000, 1, 1, 0us),
        at(2024, 2, 29, 12h + 34min + 56s + 789012us), at(9999, 12, 31, 24h - 1us)}) {
    EXPECT_EQ(round_trip(value), value);
  }
}

TEST(codec, a_timestamp_counts_microseconds_from_2000) {
  EXPECT_EQ(binary_of(at(2000, 1, 1, 1us)), std::string("\0\0\0\0\0\0\0\1", 8));
  EXPECT_EQ(binary_of(at(1999, 12, 31, 24h - 1us)), std::string(8, '\xff'));
}

TEST(codec, timestamp_text_is_utc_with_every_digit) {
  EXPECT_EQ(text_of(at(1, 1, 1, 0us)), "0001-01-01 00:00:00.000000+00");
  EXPECT_EQ(text_of(at(1969, 7, 20, 20h + 17min + 40s + 7us)), "1969-07-20 20:17:40.000007+00");
  EXPECT_EQ(text_of(at(9999, 12, 31, 24h - 1us)), "9999-12-31 23:59:59.999999+00");
}

TEST(codec, timestamps_that_python_cannot_hold_are_refused) {
  for (const timestamp value :
       {at(0, 12, 31, 24h - 1us), at(10000, 1, 1, 0us), timestamp::min(), timestamp::max()}) {
    EXPECT_THROW(binary_of(value), invalid_argument);
    EXPECT_THROW(text_of(value), invalid_argument);
  }
}

TEST(codec, infinite_and_unreachable_timestamps_are_malformed) {
  for (const std::int64_t count :
       {std::numeric_limits<std::int64_t>::max(), std::numeric_limits<std::int64_t>::min(),
        std::numeric_limits<std::int64_t>::max() - 1}) {
    EXPECT_EQ(decoded<timestamp>(binary_of(count), oid::timestamp), std::nullopt) << count;
  }
}

TEST(codec, text_and_bytes_survive) {
  const std::string text = "Größe \"'\\ \n 音";
  EXPECT_EQ(round_trip(text), text);
  EXPECT_EQ(round_trip(std::string{}), "");
  EXPECT_EQ(text_of(text), text);
  const bytes raw{std::byte{0}, std::byte{0xFF}, std::byte{'\\'}, std::byte{0}};
  EXPECT_EQ(round_trip(raw), raw);
  EXPECT_EQ(round_trip(bytes{}), bytes{});
}

TEST(codec, text_is_read_from_every_text_like_column_and_no_other) {
  for (const auto type : {oid::text, oid::varchar, oid::bpchar, oid::name, oid::json, oid::jsonb}) {
    EXPECT_TRUE(codec<std::string>::accepts(type)) << type;
  }
  for (const auto type : {oid::int4, oid::bytea, oid::timestamp, oid::boolean}) {
    EXPECT_FALSE(codec<std::string>::accepts(type)) << type;
  }
}

TEST(codec, jsonb_needs_its_version_byte) {
  EXPECT_EQ(decoded<std::string>("\1{}", oid::jsonb), "{}");
  EXPECT_EQ(decoded<std::string>("{}", oid::jsonb), std::nullopt);
  EXPECT_EQ(decoded<std::string>("\2{}", oid::jsonb), std::nullopt);
  EXPECT_EQ(decoded<std::string>("", oid::jsonb), std::nullopt);
  EXPECT_EQ(decoded<std::string>("{}", oid::json), "{}");
}

TEST(codec, arrays_of_each_element_survive) {
  EXPECT_EQ(array_round_trip<bool>({true, false, true}), (std::vector<bool>{true, false, true}));
  EXPECT_EQ(array_round_trip<std::int16_t>({-1, 0, 7}), (std::vector<std::int16_t>{-1, 0, 7}));
  EXPECT_EQ(array_round_trip<std::int32_t>({1, -2}), (std::vector<std::int32_t>{1, -2}));
  EXPECT_EQ(array_round_trip<std::int64_t>({1LL << 40}), (std::vector<std::int64_t>{1LL << 40}));
  EXPECT_EQ(array_round_trip<float>({0.5F}), (std::vector<float>{0.5F}));
  EXPECT_EQ(array_round_trip<double>({-1.5, 2}), (std::vector<double>{-1.5, 2}));
  EXPECT_EQ(array_round_trip<std::string>({"", "a,b", "{}"}),
            (std::vector<std::string>{"", "a,b", "{}"}));
  const std::vector<timestamp> times{at(1, 1, 1, 0us), at(2026, 1, 2, 3us)};
  EXPECT_EQ(array_round_trip(times), times);
  const std::vector<bytes> blobs{{}, {std::byte{0}}};
  EXPECT_EQ(array_round_trip(blobs), blobs);
}

TEST(codec, null_elements_need_optional) {
  const std::vector<std::optional<std::int32_t>> values{1, std::nullopt, 3};
  EXPECT_EQ(array_round_trip(values), values);
  EXPECT_EQ(decoded<std::vector<std::int32_t>>(binary_of(values), oid::unknown), std::nullopt);
}

TEST(codec, an_empty_array_has_no_dimension) {
  const auto data = binary_of(std::vector<std::int32_t>{});
  EXPECT_EQ(data, words({0, 0, oid::int4}));
  EXPECT_EQ(array_round_trip<std::int32_t>({}), std::vector<std::int32_t>{});
}

TEST(codec, decoding_replaces_what_was_there) {
  std::vector<std::int32_t> values{9, 9, 9};
  ASSERT_TRUE(codec<std::vector<std::int32_t>>::decode(binary_of(std::vector<std::int32_t>{1}),
                                                       oid::unknown, values));
  EXPECT_THAT(values, ElementsAre(1));
}

TEST(codec, an_array_element_with_a_nul_is_refused) {
  EXPECT_THROW(binary_of(std::vector<std::string>{std::string("a\0b", 3)}), invalid_argument);
}

TEST(codec, fixed_size_values_of_another_size_are_malformed) {
  for (std::size_t size = 0; size <= 9; ++size) {
    const std::string data(size, '\1');
    EXPECT_EQ(decoded<bool>(data, oid::boolean).has_value(), size == 1) << size;
    EXPECT_EQ(decoded<std::int16_t>(data, oid::int2).has_value(), size == 2) << size;
    EXPECT_EQ(decoded<std::int32_t>(data, oid::int4).has_value(), size == 4) << size;
    EXPECT_EQ(decoded<std::int64_t>(data, oid::int8).has_value(), size == 8) << size;
    EXPECT_EQ(decoded<float>(data, oid::float4).has_value(), size == 4) << size;
    EXPECT_EQ(decoded<double>(data, oid::float8).has_value(), size == 8) << size;
    EXPECT_EQ(decoded<double>(data, oid::float4).has_value(), size == 4) << size;
    EXPECT_EQ(decoded<timestamp>(data, oid::timestamp).has_value(), size == 8) << size;
  }
}

TEST(codec, a_truncated_array_is_malformed_at_every_length) {
  const auto whole = binary_of(std::vector<std::string>{"alpha", "", "beta"});
  for (std::size_t size = 0; size < whole.size(); ++size) {
    EXPECT_EQ(decoded<std::vector<std::string>>(whole.substr(0, size), oid::unknown), std::nullopt)
        << size;
  }
  EXPECT_EQ(decoded<std::vector<std::string>>(whole + "x", oid::unknown), std::nullopt);
}

TEST(codec, arrays_that_lie_are_malformed) {
  using ints = std::vector<std::int32_t>;
  const auto element = words({4, 42});
  ASSERT_EQ(decoded<ints>(words({1, 0, oid::int4, 1, 1}) + element, 0), ints{42});
  // More elements than bytes; the count must not be believed and allocated.
  EXPECT_EQ(decoded<ints>(words({1, 0, oid::int4, 0x7FFFFFFF, 1}) + element, 0), std::nullopt);
  EXPECT_EQ(decoded<ints>(words({1, 0, oid::int4, 0xFFFFFFFF, 1}) + element, 0), std::nullopt);
  EXPECT_EQ(decoded<ints>(words({1, 0, oid::int4, 2, 1}) + element, 0), std::nullopt);
  // An element longer than the data, and one of a wrong size.
  EXPECT_EQ(decoded<ints>(words({1, 0, oid::int4, 1, 1, 8, 42}), 0), std::nullopt);
  EXPECT_EQ(decoded<ints>(words({1, 0, oid::int4, 1, 1, 0x80000000, 42}), 0), std::nullopt);
  EXPECT_EQ(decoded<ints>(words({1, 0, oid::int4, 1, 1, 0}), 0), std::nullopt);
  // Another element type.
  EXPECT_EQ(decoded<ints>(words({1, 0, oid::float4, 1, 1}) + element, 0), std::nullopt);
  // Two dimensions, and more.
  EXPECT_EQ(decoded<ints>(words({2, 0, oid::int4, 1, 1, 1, 1}) + element, 0), std::nullopt);
  EXPECT_EQ(decoded<ints>(words({0xFFFFFFFF, 0, oid::int4}), 0), std::nullopt);
  // No dimension, but bytes.
  EXPECT_EQ(decoded<ints>(words({0, 0, oid::int4, 1}), 0), std::nullopt);
}

TEST(codec, sql_types_have_names) {
  EXPECT_EQ(sql_type_name(oid::int4), "int4");
  EXPECT_EQ(sql_type_name(oid::timestamp), "timestamp");
  EXPECT_EQ(sql_type_name(1015), "varchar[]");
  EXPECT_EQ(sql_type_name(4'000'000'000U), "oid 4000000000");
}

/// Bytes of a random length, often shaped like an array so that the decoders get past its header.
std::string hostile_bytes(std::mt19937_64& random) {
  const auto below = [&](std::uint32_t n) { return static_cast<std::uint32_t>(random() % n); };
  static constexpr std::array types{oid::boolean, oid::bytea,  oid::int8,      oid::int2, oid::int4,
                                    oid::text,    oid::float4, oid::timestamp, oid::jsonb};
  std::string data;
  if (below(2) == 0) data = words({below(3), below(2), types[below(types.size())], below(4), 1});
  for (auto left = below(5); left > 0; --left) {
    if (below(2) == 0) data += words({below(8) == 0 ? 0xFFFFFFFFU : below(10)});
    for (auto size = below(10); size > 0; --size) data.push_back(static_cast<char>(random()));
  }
  return data;
}

template <class... Ts>
int decode_as_all(std::string_view data, std::uint32_t type) {
  return (0 + ... + (decoded<Ts>(data, type) ? 1 : 0));
}

TEST(codec, random_bytes_never_crash_a_decoder) {
  constexpr int rounds = 100'000;
  std::mt19937_64 random{20'240'229};
  int accepted = 0;
  int refused = 0;
  for (int i = 0; i < rounds; ++i) {
    const auto data = hostile_bytes(random);
    for (const auto type : {oid::int2, oid::int4, oid::oid, oid::int8, oid::float4, oid::jsonb}) {
      const int count =
          decode_as_all<bool, std::int16_t, std::int32_t, std::int64_t, float, double, timestamp,
                        std::string, bytes, std::vector<bool>, std::vector<std::int16_t>,
                        std::vector<std::int32_t>, std::vector<std::int64_t>, std::vector<float>,
                        std::vector<double>, std::vector<timestamp>, std::vector<std::string>,
                        std::vector<bytes>, std::vector<std::optional<std::int32_t>>,
                        std::vector<std::optional<std::string>>>(data, type);
      accepted += count;
      refused += 20 - count;
    }
  }
  // Both paths were taken, or the loop tests nothing.
  EXPECT_GT(accepted, rounds);
  EXPECT_GT(refused, rounds);
}

}  // namespace
}  // namespace soundhash::db
