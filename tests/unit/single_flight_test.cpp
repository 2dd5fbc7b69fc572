#include "cache/single_flight.hpp"

#include <atomic>
#include <chrono>
#include <latch>
#include <memory>
#include <stop_token>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include <soundhash/db/core/error.hpp>

#include "support/eventually.hpp"

namespace soundhash::db {
namespace {

using std::chrono::milliseconds;
using test::eventually;
using flights = single_flight<int>;

flown<int> value(int of) {
  return {std::make_shared<const int>(of), sizeof(int), true};
}

[[noreturn]] void throw_timeout() {
  throw timeout_error{"late", {.code = errc::deadline_exceeded}};
}

class single_flight_test : public ::testing::Test {
 protected:
  int run(const std::string& key, flights::load_function load, const call_options& options = {}) {
    return *in_flight.run(key, in_flight.now(), options, load);
  }
  /// Somebody who waits for the load of "k" under way.
  template <class F>
  std::thread waiter(F body) {
    const auto before = in_flight.joins();
    std::thread made{body};
    EXPECT_TRUE(eventually([&] { return in_flight.joins() > before; }));
    return made;
  }

  flights in_flight;
};

TEST_F(single_flight_test, those_who_ask_meanwhile_get_the_value_of_the_first) {
  std::vector<std::thread> others;
  std::atomic<int> loads{0};
  EXPECT_EQ(run("k",
                [&] {
                  ++loads;
                  for (int i = 0; i < 8; ++i) {
                    others.push_back(waiter([&] {
                      EXPECT_EQ(run("k",
                                    [&] {
                                      ++loads;
                                      return value(2);
                                    }),
                                1);
                    }));
                  }
                  return value(1);
                }),
            1);
  for (auto& each : others) each.join();
  EXPECT_EQ(loads, 1);
  EXPECT_EQ(in_flight.joins(), 8U);
}

TEST_F(single_flight_test, another_key_is_another_flight) {
  EXPECT_EQ(run("k",
                [&] {
                  std::thread{[&] { EXPECT_EQ(run("l", [] { return value(2); }), 2); }}.join();
                  return value(1);
                }),
            1);
}

TEST_F(single_flight_test, the_next_call_loads_again) {
  EXPECT_EQ(run("k", [] { return value(1); }), 1);
  EXPECT_EQ(run("k", [] { return value(2); }), 2);
}

TEST_F(single_flight_test, who_began_before_a_landing_gets_what_landed) {
  const auto before = in_flight.now();
  EXPECT_EQ(run("k", [] { return value(1); }), 1);
  EXPECT_EQ(*in_flight.run("k", before, {}, [] { return value(2); }), 1);
  EXPECT_EQ(run("k", [] { return value(3); }), 3);
}

TEST_F(single_flight_test, an_error_goes_to_those_who_wait_and_no_further) {
  std::vector<std::thread> others;
  std::atomic<int> errors{0};
  const auto before = in_flight.now();
  EXPECT_THROW(
      run("k",
          [&]() -> flown<int> {
            for (int i = 0; i < 4; ++i) {
              others.push_back(waiter([&] {
                try {
                  run("k", [] { return value(2); });
                } catch (const query_error& failure) {
                  errors += failure.sqlstate() == "42P01" ? 1 : 0;
                }
              }));
            }
            throw query_error{"no such table", {.code = errc::server_error, .sqlstate = "42P01"}};
          }),
      query_error);
  for (auto& each : others) each.join();
  EXPECT_EQ(errors, 4);
  EXPECT_EQ(*in_flight.run("k", before, {}, [] { return value(3); }), 3);
}

TEST_F(single_flight_test, an_exception_of_another_kind_goes_to_those_who_wait_too) {
  std::thread other;
  EXPECT_THROW(run("k",
                   [&]() -> flown<int> {
                     other = waiter([&] { EXPECT_THROW(run("k", [] { return value(2); }), int); });
                     throw 7;
                   }),
               int);
  other.join();
}

TEST_F(single_flight_test, a_leader_out_of_time_or_cancelled_hands_over_to_one_who_waits) {
  for (const auto code :
       {errc::deadline_exceeded, errc::statement_deadline, errc::cancelled, errc::nested_acquire}) {
    std::vector<std::thread> others;
    std::atomic<int> loads{0};
    EXPECT_THROW(run("k",
                     [&]() -> flown<int> {
                       for (int i = 0; i < 4; ++i) {
                         others.push_back(waiter([&] {
                           EXPECT_EQ(run("k",
                                         [&] {
                                           ++loads;
                                           // All others join this load.
                                           EXPECT_TRUE(eventually([&] { return loads == 1; }));
                                           return value(2);
                                         }),
                                     2);
                         }));
                       }
                       throw timeout_error{"mine", {.code = code}};
                     }),
                 timeout_error);
    for (auto& each : others) each.join();
    EXPECT_EQ(loads, 1) << to_string(code);
  }
}

TEST_F(single_flight_test, a_statement_that_ran_out_of_the_common_time_is_everybodys_error) {
  std::thread other;
  EXPECT_THROW(
      run("k",
          [&]() -> flown<int> {
            other = waiter([&] { EXPECT_THROW(run("k", [] { return value(2); }), timeout_error); });
            throw timeout_error{"slow", {.code = errc::statement_timeout}};
          }),
      timeout_error);
  other.join();
}

TEST_F(single_flight_test, who_waits_keeps_its_own_deadline_and_then_loads_itself) {
  std::latch ended{1};
  std::thread other;
  EXPECT_EQ(run("k",
                [&] {
                  other = waiter([&] {
                    const call_options soon{.until = deadline::in(milliseconds{20})};
                    EXPECT_THROW(run(
                                     "k", []() -> flown<int> { throw_timeout(); }, soon),
                                 timeout_error);
                    ended.count_down();
                  });
                  ended.wait();  // the leader is still loading
                  return value(1);
                }),
            1);
  other.join();
}

TEST_F(single_flight_test, who_waits_is_stopped_by_its_own_token) {
  std::latch ended{1};
  std::stop_source stop;
  std::thread other;
  EXPECT_EQ(run("k",
                [&] {
                  other = waiter([&] {
                    const call_options options{.stop = stop.get_token()};
                    EXPECT_THROW(run(
                                     "k",
                                     []() -> flown<int> {
                                       throw cancelled{"stopped", {.code = errc::cancelled}};
                                     },
                                     options),
                                 cancelled);
                    ended.count_down();
                  });
                  stop.request_stop();
                  ended.wait();
                  return value(1);
                }),
            1);
  other.join();
}

TEST_F(single_flight_test, what_is_not_shared_is_loaded_by_each) {
  std::vector<std::thread> others;
  EXPECT_EQ(run("k",
                [&] {
                  for (int i = 2; i < 5; ++i) {
                    others.push_back(
                        waiter([&, i] { EXPECT_EQ(run("k", [&] { return value(i); }), i); }));
                  }
                  auto own = value(1);
                  own.shared = false;
                  return own;
                }),
            1);
  for (auto& each : others) each.join();
}

TEST_F(single_flight_test, a_load_that_asks_for_itself_loads) {
  int depth = 0;
  const std::function<flown<int>()> load = [&]() -> flown<int> {
    return ++depth == 3 ? value(3) : flown<int>{in_flight.run("k", in_flight.now(), {}, load)};
  };
  EXPECT_EQ(run("k", load), 3);
}

TEST_F(single_flight_test, loads_that_ask_for_one_another_do_not_wait_for_one_another) {
  std::latch both{2};
  const auto crossed = [&](const std::string& own, const std::string& other) {
    return run(own, [&] {
      both.arrive_and_wait();
      return value(run(other, [] { return value(1); }) + 1);
    });
  };
  std::thread second{[&] { EXPECT_EQ(crossed("b", "a"), 2); }};
  EXPECT_EQ(crossed("a", "b"), 2);
  second.join();
}

TEST_F(single_flight_test, alone_runs_only_when_nobody_loads) {
  EXPECT_EQ(*in_flight.run_alone("k",
                                 [&] {
                                   std::thread{[&] {
                                     EXPECT_EQ(in_flight.run_alone("k", [] { return value(2); }),
                                               nullptr);
                                   }}.join();
                                   return value(1);
                                 }),
            1);
  EXPECT_EQ(*in_flight.run_alone("k", [] { return value(3); }), 3);
}

TEST_F(single_flight_test, keeps_little_of_what_landed) {
  const auto before = in_flight.now();
  std::weak_ptr<const int> first;
  std::weak_ptr<const int> large;
  run("first", [&] {
    auto made = value(1);
    first = made.value;
    return made;
  });
  for (int i = 0; i < 100; ++i) run("k" + std::to_string(i), [&] { return value(i); });
  EXPECT_TRUE(first.expired());
  run("large", [&] {
    auto made = value(1);
    large = made.value;
    made.bytes = std::size_t{5} << 20U;
    return made;
  });
  EXPECT_TRUE(large.expired());
  EXPECT_EQ(*in_flight.run("large", before, {}, [] { return value(2); }), 2);
}

}  // namespace
}  // namespace soundhash::db
