#include <chrono>
#include <cstdint>
#include <optional>

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <soundhash/db/core/error.hpp>
#include <soundhash/db/database.hpp>

#include "support/eventually.hpp"
#include "support/private_redis.hpp"
#include "support/test_database.hpp"

/// The child of a fork must leave the parent's sessions alone.
namespace soundhash::db {
namespace {

constexpr query pid{"test.pid", "SELECT pg_backend_pid()", access::read_only};

/// Runs `body` in a child and returns its exit status.
int in_child(const auto& body) {
  const pid_t child = ::fork();
  if (child == 0) ::_exit(body());
  int status = 0;
  ::waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

TEST(fork_test, a_child_is_refused_and_the_parent_keeps_its_session) {
  std::optional<database> db = database::open(test::empty_database_options());
  const auto session = db->one<std::int32_t>(pid);
  const int refused = in_child([&] {
    try {
      (void)db->one<std::int32_t>(pid);
      return 1;
    } catch (const pool_error& e) {
      return e.code() == errc::used_after_fork ? 0 : 2;
    }
  });
  EXPECT_EQ(refused, 0);
  EXPECT_EQ(db->one<std::int32_t>(pid), session);
}

TEST(fork_test, a_child_that_destroys_its_copy_ends_at_once_and_harms_nobody) {
  std::optional<database> db = database::open(test::empty_database_options());
  const auto session = db->one<std::int32_t>(pid);
  std::optional<transaction> open = db->begin();
  EXPECT_EQ(open->one<std::int32_t>(pid), session);
  const auto began = deadline::clock::now();
  EXPECT_EQ(in_child([&] {
              open.reset();
              db.reset();
              return 0;
            }),
            0);
  EXPECT_LT(deadline::clock::now() - began, std::chrono::seconds{1});
  EXPECT_EQ(open->one<std::int32_t>(pid), session);
  open->commit();
}

TEST(fork_test, a_lease_and_a_transaction_carried_into_a_child_are_refused) {
  auto db = database::open(test::empty_database_options());
  auto tx = db.begin();
  const auto session = tx.one<std::int32_t>(pid);
  auto native = db.acquire();
  const auto code_of = [](const auto& call) {
    try {
      call();
    } catch (const pool_error& e) {
      return e.code();
    }
    return errc::configuration;
  };
  EXPECT_EQ(in_child([&] {
              if (code_of([&] { (void)tx.one<std::int32_t>(pid); }) != errc::used_after_fork)
                return 1;
              if (code_of([&] { tx.commit(); }) != errc::used_after_fork) return 2;
              tx.rollback();
              if (code_of([&] { native.guard({}); }) != errc::used_after_fork) return 3;
              if (code_of([&] { (void)db.acquire(); }) != errc::used_after_fork) return 7;
              if (code_of([&] { db.resize_pool(1, 0); }) != errc::used_after_fork) return 4;
              if (db.pool_stats().used != 0) return 5;  // nothing is this process's
              return code_of([&] { (void)native.backend_pid(); }) == errc::used_after_fork ? 0 : 6;
            }),
            0);
  EXPECT_EQ(tx.one<std::int32_t>(pid), session);
  tx.commit();
}

TEST(fork_test, a_lease_that_ends_in_a_child_runs_no_hook) {
  auto options = test::empty_database_options();
  int released = 0;
  options.hooks.on_release = [&](hooked_session&) { ++released; };
  auto db = database::open(options);
  std::optional<pooled_connection> lease = db.acquire();
  EXPECT_EQ(in_child([&] {
              lease.reset();
              return released;
            }),
            0);
  lease.reset();
  EXPECT_EQ(released, 1);
}

constexpr query series{"test.series", "SELECT generate_series(1, 100000)", access::read_only};

/// Its child is refused the next row, and another only destroys its copy; the parent reads on.
void expect_the_parent_reads_on(std::optional<row_stream<std::int32_t>> rows) {
  auto row = rows->begin();
  for (std::int32_t n = 1; n < 10; ++n) ++row;
  EXPECT_EQ(in_child([&] {
              try {
                ++row;
                return 2;
              } catch (const pool_error& e) {
                return e.code() == errc::used_after_fork && *row == 10 ? 0 : 1;
              }
            }),
            0);
  EXPECT_EQ(in_child([&] {
              rows.reset();
              return 0;
            }),
            0);
  std::int32_t expected = 10;
  for (; row != rows->end(); ++row) ASSERT_EQ(*row, expected++);
  EXPECT_EQ(expected, 100001);
}

TEST(fork_test, a_stream_carried_into_a_child_is_refused_and_the_parent_reads_on) {
  auto db = database::open(test::empty_database_options());
  const auto session = db.one<std::int32_t>(pid);
  expect_the_parent_reads_on(db.stream<std::int32_t>(series));
  EXPECT_EQ(db.one<std::int32_t>(pid), session);
}

TEST(fork_test, a_stream_of_a_transaction_carried_into_a_child_is_refused_too) {
  auto db = database::open(test::empty_database_options());
  std::optional<transaction> tx = db.begin();
  const auto session = tx->one<std::int32_t>(pid);
  expect_the_parent_reads_on(tx->stream<std::int32_t>(series));
  std::optional<row_stream<std::int32_t>> rows = tx->stream<std::int32_t>(series);
  auto row = rows->begin();
  EXPECT_EQ(in_child([&] {
              tx.reset();
              rows.reset();
              return 0;
            }),
            0);
  while (row != rows->end()) ++row;
  EXPECT_EQ(tx->one<std::int32_t>(pid), session);
  tx->commit();
}

TEST(fork_test, a_child_may_open_its_own) {
  const auto options = test::empty_database_options();
  auto db = database::open(options);
  (void)db.one<std::int32_t>(pid);
  EXPECT_EQ(in_child([&] {
              auto own = database::open(options);
              return own.one<std::int32_t>(pid) > 0 ? 0 : 1;
            }),
            0);
}

TEST(fork_test, a_child_reads_nothing_from_the_caches_of_its_parent) {
  test::private_redis redis;
  auto options = test::fresh_database_options();
  options.cache = redis.options();
  options.cache.near_cache.entries = 100;
  std::optional<database> db = database::open(options);
  const auto id = db->channels().create({.channel_id = "UC1"}).id;
  const auto hits = [&] {
    double sum = 0;
    for (const auto& one : db->metrics().totals().figures) {
      if (one.labels == "result=\"hit\"" || one.labels == "result=\"near_hit\"") sum += one.value;
    }
    return sum;
  };
  ASSERT_TRUE(test::eventually([&] {
    (void)db->channels().find(id);
    return hits() > 1;
  }));
  EXPECT_EQ(in_child([&] {
              try {
                (void)db->channels().find(id);
                return 1;
              } catch (const pool_error& e) {
                if (e.code() != errc::used_after_fork) return 2;
              }
              (void)db->cache().get("key");
              db.reset();
              return 0;
            }),
            0);
  const auto before = hits();
  EXPECT_TRUE(db->channels().find(id));
  EXPECT_EQ(hits(), before + 1);
}

}  // namespace
}  // namespace soundhash::db
