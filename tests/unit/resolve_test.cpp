#include "core/resolve.hpp"

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <future>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netdb.h>

#include <soundhash/db/core/error.hpp>

#include "support/caught.hpp"
#include "support/eventually.hpp"

namespace soundhash::db {
namespace {

using namespace std::chrono_literals;
using test::caught;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

/// A name service that answers when told to. Shared with lookups that outlive their test.
class name_service {
 public:
  int answer(const std::string& host, std::vector<std::string>& out) {
    std::unique_lock lock{mutex_};
    ++asked_;
    opened_.wait(lock, [this] { return open_; });
    ++answered_;
    if (host == "unknown") return EAI_NONAME;
    out = {"192.0.2.1", "192.0.2.2"};
    return 0;
  }
  void open() {
    const std::lock_guard lock{mutex_};
    open_ = true;
    opened_.notify_all();
  }
  std::size_t asked() {
    const std::lock_guard lock{mutex_};
    return asked_;
  }
  std::size_t answered() {
    const std::lock_guard lock{mutex_};
    return answered_;
  }

 private:
  std::mutex mutex_;
  std::condition_variable opened_;
  bool open_ = false;
  std::size_t asked_ = 0;
  std::size_t answered_ = 0;
};

class resolve_test : public ::testing::Test {
 protected:
  /// Lookups under way must not outlive the process: they end before the test does.
  ~resolve_test() override {
    service_->open();
    EXPECT_TRUE(test::eventually([&] { return service_->answered() == service_->asked(); }));
  }

  connection_error failure_of(const std::string& host, std::chrono::milliseconds limit) {
    return caught<connection_error>(
        [&] { static_cast<void>(resolver_->resolve(host, deadline::in(limit))); });
  }
  /// Abandons as many lookups as there may be.
  void fill() {
    for (std::size_t i = 0; i < name_resolver::most_lookups; ++i) failure_of("slow", 1ms);
    ASSERT_TRUE(test::eventually([&] { return service_->asked() == name_resolver::most_lookups; }));
  }

  std::shared_ptr<name_service> service_ = std::make_shared<name_service>();
  std::unique_ptr<name_resolver> resolver_ = std::make_unique<name_resolver>(
      [service = service_](const std::string& host, std::vector<std::string>& out) {
        return service->answer(host, out);
      });
};

TEST_F(resolve_test, returns_the_addresses_in_their_order) {
  service_->open();
  EXPECT_THAT(resolver_->resolve("known", {}), ElementsAre("192.0.2.1", "192.0.2.2"));
}

TEST_F(resolve_test, asks_nobody_for_numeric_addresses) {
  for (const std::string address : {"127.0.0.1", "::1", "fe80::1%eth0"}) {
    EXPECT_THAT(resolver_->resolve(address, deadline::in(1ms)), ElementsAre(address));
  }
  EXPECT_EQ(service_->asked(), 0U);
}

TEST_F(resolve_test, an_unknown_name_is_an_error_that_names_it) {
  service_->open();
  const auto e = failure_of("unknown", 10s);
  EXPECT_EQ(e.code(), errc::name_resolution);
  EXPECT_TRUE(e.retryable());
  EXPECT_THAT(e.what(), HasSubstr("\"unknown\""));
}

TEST_F(resolve_test, a_lookup_that_hangs_is_abandoned_at_the_deadline) {
  const auto began = deadline::clock::now();
  const auto e = failure_of("slow", 50ms);
  const auto took = deadline::clock::now() - began;
  EXPECT_GE(took, 50ms);
  EXPECT_LE(took, 2s);
  EXPECT_EQ(e.code(), errc::name_resolution);
  EXPECT_THAT(e.what(), HasSubstr("no answer in time"));
}

TEST_F(resolve_test, abandoned_lookups_are_bounded) {
  fill();
  for (int i = 0; i < 5; ++i) {
    const auto e = failure_of("slow", 1ms);
    EXPECT_EQ(e.code(), errc::name_resolution);
    EXPECT_THAT(e.what(), HasSubstr("none of 8 earlier lookups"));
  }
  EXPECT_EQ(service_->asked(), name_resolver::most_lookups);
  service_->open();
  EXPECT_EQ(resolver_->resolve("known", {}).size(), 2U) << "the places are free again";
}

TEST_F(resolve_test, a_lookup_waits_for_a_place) {
  fill();
  auto waiting = std::async(std::launch::async, [&] { return resolver_->resolve("known", {}); });
  EXPECT_EQ(waiting.wait_for(20ms), std::future_status::timeout);
  service_->open();
  EXPECT_EQ(waiting.get().size(), 2U);
}

TEST_F(resolve_test, an_abandoned_lookup_may_outlive_the_resolver) {
  failure_of("slow", 1ms);
  ASSERT_TRUE(test::eventually([&] { return service_->asked() == 1; }));
  resolver_.reset();
  service_->open();
  EXPECT_TRUE(test::eventually([&] { return service_->answered() == 1; }));
}

}  // namespace
}  // namespace soundhash::db
