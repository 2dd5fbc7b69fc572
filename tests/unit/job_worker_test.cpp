#include <chrono>
#include <cstdint>
#include <functional>
#include <string>
#include <tuple>

#include <gtest/gtest.h>

#include <soundhash/db/job_worker.hpp>
#include <soundhash/db/testing/fake_executor.hpp>

#include "support/caught.hpp"

namespace soundhash::db {
namespace {

using namespace std::chrono_literals;
using test::caught;
using testing::fake_executor;
using testing::rows;

/// A row of what ends jobs.
struct ended_job {
  std::int32_t id = 0;
};

}  // namespace

template <>
struct row_traits<ended_job> {
  static constexpr auto columns = std::tuple{column{"id", &ended_job::id}};
};

namespace {

std::string refused(const std::function<void(job_worker_options&)>& change) {
  job_worker_options options{.job_types = {"t"}};
  change(options);
  const auto make = [&] { job_worker{database::open({}), options, [](job_run&) {}}; };
  return std::string{caught<config_error>(make).variable()};
}

TEST(job_worker_options_test, each_range_is_checked) {
  EXPECT_EQ(refused([](auto& o) { o.job_types.clear(); }), "job_worker_options::job_types");
  EXPECT_EQ(refused([](auto& o) { o.concurrency = 0; }), "job_worker_options::concurrency");
  EXPECT_EQ(refused([](auto& o) { o.concurrency = 1001; }), "job_worker_options::concurrency");
  EXPECT_EQ(refused([](auto& o) { o.lease = 99ms; }), "job_worker_options::lease");
  EXPECT_EQ(refused([](auto& o) { o.lease = 25h; }), "job_worker_options::lease");
  EXPECT_EQ(refused([](auto& o) { o.poll_interval = 0ms; }), "job_worker_options::poll_interval");
  EXPECT_EQ(refused([](auto& o) { o.grace = -1ms; }), "job_worker_options::grace");
  EXPECT_EQ(refused([](auto& o) { o.retry = job_backoff{.first = 2h}; }),
            "job_worker_options::retry");
}

TEST(job_worker_options_test, a_type_that_the_column_does_not_take_is_refused) {
  const auto make = [] {
    job_worker{database::open({}), {.job_types = {"t", std::string(51, 'x')}}, [](job_run&) {}};
  };
  EXPECT_EQ(caught<invalid_argument>(make).row(), 1U);
}

/// What a worker hands out, with a database that answers as the test says.
struct job_run_test : ::testing::Test {
  fake_executor fake;
  job_run run{leased_job{.job = {}, .lease = {7, 42}, .expires_at = {}}, fake};
};

TEST_F(job_run_test, completes_inside_the_executor_that_is_given) {
  fake_executor transaction;
  transaction.expect("job.complete", rows::of<ended_job>({{7}}));
  run.complete(transaction);
  EXPECT_TRUE(run.completed());
  EXPECT_FALSE(run.stop().stop_requested());
  EXPECT_TRUE(fake.calls().empty());
  transaction.verify();
}

TEST_F(job_run_test, a_job_that_is_not_held_any_more_cannot_be_completed) {
  fake.expect("job.complete", rows::of<ended_job>({}));
  EXPECT_EQ(caught<cancelled>([&] { run.complete(fake); }).code(), errc::cancelled);
  EXPECT_FALSE(run.completed());
  EXPECT_TRUE(run.stop().stop_requested());
}

TEST_F(job_run_test, progress_that_counts_no_more_asks_to_stop) {
  fake.expect("job.set_progress");
  EXPECT_FALSE(run.set_progress(0.5, "half"));
  EXPECT_TRUE(run.stop().stop_requested());
}

}  // namespace
}  // namespace soundhash::db
