#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <iostream>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <tuple>
#include <vector>

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <soundhash/db/core/error.hpp>
#include <soundhash/db/database.hpp>

#include "support/caught.hpp"
#include "support/eventually.hpp"
#include "support/sql.hpp"
#include "support/tcp_proxy.hpp"
#include "support/test_database.hpp"

namespace soundhash::db {

namespace {
struct wide_row {
  std::int32_t id = 0;
  std::int64_t big = 0;
  double real = 0;
  std::string text{};
  std::optional<std::string> none{};
  friend bool operator==(const wide_row&, const wide_row&) = default;
};
}  // namespace

template <>
struct row_traits<wide_row> {
  static constexpr auto columns = std::tuple{
      column{"id", &wide_row::id}, column{"big", &wide_row::big}, column{"real", &wide_row::real},
      column{"text", &wide_row::text}, column{"none", &wide_row::none}};
};

/// A link that ends, falls silent, slows down or lies in the middle of an answer to a read.
namespace {

using namespace std::chrono_literals;
using test::caught;
using test::direction;
using test::effect;

constexpr query point{"link.point", "SELECT id, big, real, text, \"none\" FROM wide WHERE id = $1",
                      access::read_only};
constexpr query all_rows{"link.all", "SELECT id, big, real, text, \"none\" FROM wide ORDER BY id",
                         access::read_only};
constexpr int row_count = 1000;

/// The library promises 250 ms; the machine of a test may be busy.
constexpr auto tolerance = 2s;
constexpr auto short_limit = 400ms;
/// Long enough for the fault to come before it, on a busy machine too.
constexpr auto fault_limit = 2s;
constexpr auto long_limit = 20s;

bool full() {
  return std::getenv("SOUNDHASH_TEST_FULL") != nullptr;
}

/// A read, by its request's name and by what it returns on a healthy link.
struct read {
  const char* name;
  std::vector<wide_row> (*run)(executor&, deadline);
};

std::vector<wide_row> read_point(executor& on, deadline until) {
  return {on.one<wide_row>(point, {7}, {.until = until, .stop = {}})};
}
std::vector<wide_row> read_all(executor& on, deadline until) {
  return on.all<wide_row>(all_rows, {}, {.until = until, .stop = {}});
}

constexpr read of_a_point{"link.point", read_point};
constexpr read of_all_rows{"link.all", read_all};

long peak_memory_kib() {
  rusage used{};
  ::getrusage(RUSAGE_SELF, &used);
  return used.ru_maxrss;
}

class link_faults : public ::testing::Test {
 protected:
  link_faults() {
    test::execute(
        options_,
        "CREATE TABLE wide (id int PRIMARY KEY, big bigint NOT NULL, "
        "real float8 NOT NULL, text text NOT NULL, \"none\" text);"
        "INSERT INTO wide SELECT i, i * 1000000007::bigint, i / 7.0, repeat(md5(i::text), 8), "
        "NULL FROM generate_series(1, " +
            std::to_string(row_count) + ") AS i");
    proxy_ = std::make_unique<test::tcp_proxy>(options_);
    auto linked = proxy_->options();
    linked.application_name = "link faults";
    linked.pool.size = 1;
    linked.pool.max_overflow = 0;
    db_ = std::make_unique<database>(database::open(linked));
    auto direct = database::open(options_);
    for (const auto* each : {&of_a_point, &of_all_rows}) {
      expected_[each] = each->run(direct, deadline::in(long_limit));
    }
  }

  /// After every test: the one connection works, gives right rows, and the server has no other.
  void TearDown() override {
    proxy_->set_pace(direction::to_client, {});
    proxy_->set_pace(direction::to_server, {});
    expect_right_rows(of_a_point);
    const auto sessions = [&] {
      return std::stoul(test::query_text(
          options_,
          "SELECT count(*)::text FROM pg_stat_activity WHERE application_name = 'link faults'"));
    };
    EXPECT_TRUE(test::eventually([&] {
      const auto pool = db_->pool_stats();
      return pool.closing == 0 && sessions() == pool.idle + pool.used;
    })) << "the server has "
        << sessions() << " sessions, the pool " << db_->pool_stats().idle << " idle";
    EXPECT_EQ(db_->pool_stats().used, 0U);
  }

  void expect_right_rows(const read& wanted) {
    EXPECT_EQ(wanted.run(*db_, deadline::in(long_limit)), expected_[&wanted]) << wanted.name;
  }

  /// Reads in a transaction: there the library does not try a lost read again.
  std::vector<wide_row> read_once(const read& wanted, std::chrono::milliseconds limit) {
    const auto until = deadline::in(limit);
    try {
      auto tx = db_->begin({.until = until});
      auto rows = wanted.run(tx, until);
      note_return(until);
      return rows;
    } catch (const error&) {
      note_return(until);
      throw;
    }
  }

  void note_return(deadline until) {
    const auto excess = deadline::clock::now() - until.at();
    latest_ = std::max(latest_, excess);
    EXPECT_LE(excess, tolerance);
  }

  /// How many bytes the answer has to a call with such a limit, whose digits are part of it.
  std::size_t answer_size(const read& wanted, std::chrono::milliseconds limit = long_limit) {
    expect_right_rows(wanted);  // prepares
    proxy_->record_anew();
    EXPECT_EQ(read_once(wanted, limit), expected_[&wanted]);
    // Up to the statement's own ReadyForQuery; what ends the transaction comes after it.
    const std::string ready{"Z\0\0\0\x05T", 6};
    const auto answer = proxy_->recorded(direction::to_client);
    const auto end = answer.find(ready);
    EXPECT_NE(end, std::string::npos);
    return end + ready.size();
  }

  /// The connection is up and has the statement prepared; then the fault waits for the read.
  void arm(const read& wanted, effect what, std::size_t after, unsigned bit = 0) {
    expect_right_rows(wanted);
    proxy_->arm({.what = what, .after = after, .trigger = wanted.name, .bit = bit});
  }

  /// Ends the link after each of these bytes: an error that says so, or all rows.
  void end_at(const read& wanted, effect what, const std::vector<std::size_t>& positions,
              std::size_t size) {
    for (const auto k : positions) {
      arm(wanted, what, k);
      const auto before = proxy_->struck();
      try {
        EXPECT_EQ(read_once(wanted, long_limit), expected_[&wanted]) << "cut after byte " << k;
        EXPECT_EQ(k, size) << "a short answer was taken as complete";
      } catch (const connection_error& e) {
        EXPECT_EQ(e.code(), errc::lost) << e.what();
        EXPECT_FALSE(e.connection_usable());
        EXPECT_TRUE(k < size || what == effect::rst) << "the answer was complete";
      }
      EXPECT_EQ(proxy_->struck(), before + 1) << "nothing was cut at byte " << k;
    }
  }

  /// 0, the last byte, the end, and every n-th.
  static std::vector<std::size_t> positions_of(std::size_t size, std::size_t step) {
    std::vector<std::size_t> all;
    for (std::size_t k = 0; k < size; k += step) all.push_back(k);
    all.push_back(size - 1);
    all.push_back(size);
    return all;
  }

  database_options options_ = test::empty_database_options();
  std::unique_ptr<test::tcp_proxy> proxy_;
  std::unique_ptr<database> db_;
  std::map<const read*, std::vector<wide_row>> expected_;
  std::chrono::nanoseconds latest_ = std::chrono::nanoseconds::min();
};

class ending_link : public link_faults, public ::testing::WithParamInterface<effect> {};

INSTANTIATE_TEST_SUITE_P(fault, ending_link, ::testing::Values(effect::fin, effect::rst),
                         [](const auto& tested) {
                           return tested.param == effect::fin ? "fin" : "rst";
                         });

TEST_P(ending_link, in_the_answer_to_a_point_read_is_an_error) {
  const auto size = answer_size(of_a_point);
  end_at(of_a_point, GetParam(), positions_of(size, full() ? 1 : 13), size);
}

TEST_P(ending_link, in_a_long_answer_is_an_error_and_never_a_short_result) {
  const auto size = answer_size(of_all_rows);
  ASSERT_GT(size, 250'000U);
  end_at(of_all_rows, GetParam(), positions_of(size, full() ? 997 : 16'411), size);
}

TEST_P(ending_link, is_transparent_for_a_read_outside_a_transaction) {
  const auto size = answer_size(of_all_rows);
  for (const auto k : {std::size_t{0}, size / 2, size - 100}) {  // without the answer to BEGIN
    arm(of_all_rows, GetParam(), k);
    expect_right_rows(of_all_rows);
  }
  EXPECT_EQ(proxy_->struck(), 3);
}

TEST_F(link_faults, bytes_that_come_one_by_one_make_a_whole) {
  for (const auto way : {direction::to_server, direction::to_client}) {
    proxy_->set_pace(way, {.slice = 1});
  }
  expect_right_rows(of_a_point);
  expect_right_rows(of_all_rows);
}

TEST_F(link_faults, slices_with_pauses_make_a_whole) {
  expect_right_rows(of_a_point);
  proxy_->set_pace(direction::to_client, {.slice = 3, .delay = 1ms});
  expect_right_rows(of_a_point);
}

TEST_F(link_faults, a_reply_after_the_deadline_never_reaches_the_next_user) {
  for (int id = 1; id <= 5; ++id) {
    expect_right_rows(of_a_point);
    const auto closed = db_->pool_stats().closed_broken;
    proxy_->set_pace(direction::to_client, {.slice = 0, .delay = 2 * short_limit});
    const auto until = deadline::in(short_limit);
    const auto e = caught<timeout_error>([&] {
      static_cast<void>(db_->one<wide_row>(point, {900 + id}, {.until = until, .stop = {}}));
    });
    note_return(until);
    EXPECT_EQ(e.code(), errc::deadline_exceeded);
    EXPECT_EQ(e.sent(), sent::maybe);
    EXPECT_FALSE(e.connection_usable());
    proxy_->set_pace(direction::to_client, {});
    EXPECT_EQ(db_->one<wide_row>(point, {id}).id, id) << "somebody else's reply";
    EXPECT_EQ(db_->pool_stats().closed_broken, closed + 1);
  }
}

TEST_F(link_faults, a_link_that_falls_silent_ends_by_the_deadline) {
  for (const auto* wanted : {&of_a_point, &of_all_rows}) {
    const auto size = answer_size(*wanted, fault_limit);
    for (const auto k : {std::size_t{0}, std::size_t{1}, size / 2, size - 1}) {
      arm(*wanted, effect::silence, k);
      const auto e = caught<timeout_error>([&] { read_once(*wanted, fault_limit); });
      EXPECT_EQ(e.code(), errc::deadline_exceeded);
      EXPECT_FALSE(e.connection_usable());
      expect_right_rows(*wanted);  // while the silent link is still there
      proxy_->cut();
    }
  }
  EXPECT_EQ(proxy_->struck(), 8);
}

/// Without TLS a changed value cannot be noticed, but it must not do more than that.
TEST_F(link_faults, a_flipped_bit_is_an_error_or_another_value) {
  std::mt19937 random{20'240'602};
  int errors = 0;
  int rows = 0;
  const auto before = peak_memory_kib();
  const auto flip_in = [&](const read& wanted, std::size_t from, std::size_t to) {
    const auto at = std::uniform_int_distribution<std::size_t>{from, to - 1}(random);
    const auto bit = std::uniform_int_distribution<unsigned>{0, 7}(random);
    SCOPED_TRACE(wanted.name + (" bit " + std::to_string(bit) + " of byte " + std::to_string(at)));
    arm(wanted, effect::flip, at, bit);
    const auto struck = proxy_->struck();
    try {
      EXPECT_EQ(read_once(wanted, fault_limit).size(), expected_[&wanted].size());
      ++rows;
    } catch (const error&) {
      ++errors;
    }
    EXPECT_EQ(proxy_->struck(), struck + 1);
    expect_right_rows(of_a_point);  // what follows is not touched by it
  };
  // Headers, column descriptions and the first rows, then anywhere.
  const auto point_size = answer_size(of_a_point, fault_limit);
  for (int i = 0; i < (full() ? 1000 : 60); ++i) flip_in(of_a_point, 0, point_size);
  const auto size = answer_size(of_all_rows, fault_limit);
  for (int i = 0; i < (full() ? 100 : 10); ++i) flip_in(of_all_rows, 0, 600);
  for (int i = 0; i < (full() ? 100 : 10); ++i) flip_in(of_all_rows, 0, size);
  EXPECT_GT(errors, 0);
  EXPECT_GT(rows, 0);
  EXPECT_LT(peak_memory_kib() - before, 256 * 1024) << "KiB more";
  const auto excess = std::chrono::duration_cast<std::chrono::milliseconds>(latest_).count();
  std::cout << "[ FLIPS    ] " << errors << " errors, " << rows << " results; latest return "
            << excess << " ms after its deadline\n";
}

}  // namespace
}  // namespace soundhash::db
