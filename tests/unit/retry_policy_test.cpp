#include "exec/retry_policy.hpp"

#include <ostream>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "exec/retry_layer.hpp"

namespace soundhash::db {
namespace {

using enum retry_limit;

/// A failure and how often it runs again, by what its author declared.
struct row {
  std::string what;
  error_details failure;
  retry_limit plain;
  retry_limit read_only;
  retry_limit idempotent;
  retry_limit retry_lock_timeouts;
  retry_limit statement_read;
  retry_limit statement_write;
};

std::ostream& operator<<(std::ostream& out, const row& tested) {
  return out << tested.what;
}

class retry_policy : public ::testing::TestWithParam<row> {
 protected:
  static retry_limit of(const transaction_options& options) {
    return rule_for(error{"m", GetParam().failure}, options).limit;
  }
  static retry_limit of(access kind) {
    return rule_for(error{"m", GetParam().failure}, kind).limit;
  }
};

TEST_P(retry_policy, follows_its_table) {
  const auto& expected = GetParam();
  EXPECT_EQ(of(transaction_options{}), expected.plain);
  EXPECT_EQ(of({.read_only = true}), expected.read_only);
  EXPECT_EQ(of({.idempotent = true}), expected.idempotent);
  EXPECT_EQ(of({.retry_lock_timeouts = true}), expected.retry_lock_timeouts);
  EXPECT_EQ(of(access::read_only), expected.statement_read);
  EXPECT_EQ(of(access::write), expected.statement_write);
}

error_details server(std::string state) {
  return {.code = errc::server_error, .sent = sent::yes, .sqlstate = std::move(state)};
}

// clang-format off
const std::vector<row> table{
    // what, failure, plain, read_only, idempotent, retry_lock_timeouts, statement: read, write
    {"40001", {.code = errc::serialization, .sent = sent::yes, .sqlstate = "40001"},
     attempts, attempts, attempts, attempts, once, never},
    {"40P01", {.code = errc::deadlock, .sent = sent::yes, .sqlstate = "40P01"},
     attempts, attempts, attempts, attempts, once, never},
    {"lost, nothing sent", {.code = errc::lost},
     attempts, attempts, attempts, attempts, once, once},
    {"lost under a statement", {.code = errc::lost, .sent = sent::maybe},
     never, once, attempts, never, once, never},
    {"57P01 under a statement", {.code = errc::lost, .sent = sent::maybe, .sqlstate = "57P01"},
     never, once, attempts, never, once, never},
    {"COMMIT unanswered", {.code = errc::commit_in_doubt, .sent = sent::maybe},
     never, once, attempts, never, never, never},
    {"25006 of a standby", {.code = errc::demoted_primary, .sent = sent::yes, .sqlstate = "25006"},
     once, once, once, once, once, once},
    {"25006 of a read-only transaction", server("25006"),
     never, never, never, never, never, never},
    {"55P03", server("55P03"),
     never, never, never, attempts, never, never},
    {"55P03 at COMMIT", {.code = errc::rolled_back, .sent = sent::yes, .sqlstate = "55P03"},
     never, never, never, attempts, never, never},
    {"stale plan", {.code = errc::server_error, .sent = sent::yes, .retryable = true, .sqlstate = "0A000"},
     attempts, attempts, attempts, attempts, never, never},
    {"0A000", server("0A000"), never, never, never, never, never, never},
    {"57014 by the option", {.code = errc::statement_timeout, .sent = sent::yes, .sqlstate = "57014"},
     never, never, never, never, never, never},
    {"57014 by the deadline", {.code = errc::statement_deadline, .sent = sent::yes, .sqlstate = "57014"},
     never, never, never, never, never, never},
    {"57014 by somebody", {.code = errc::query_cancelled, .sent = sent::yes, .sqlstate = "57014"},
     never, never, never, never, never, never},
    {"no answer by the deadline", {.code = errc::deadline_exceeded, .sent = sent::maybe},
     never, never, never, never, never, never},
    {"stopped", {.code = errc::cancelled, .sent = sent::maybe}, never, never, never, never, never, never},
    {"23505", {.code = errc::constraint, .sent = sent::yes, .sqlstate = "23505"},
     never, never, never, never, never, never},
    {"rolled back", {.code = errc::rolled_back, .sent = sent::yes}, never, never, never, never, never, never},
    {"53100", server("53100"), never, never, never, never, never, never},
    {"25P02", server("25P02"), never, never, never, never, never, never},
    {"XX001", server("XX001"), never, never, never, never, never, never},
    // The pool has waited for these as long as it may.
    {"refused", {.code = errc::refused, .retryable = true}, never, never, never, never, never, never},
    {"57P03", {.code = errc::not_ready, .retryable = true, .sqlstate = "57P03"},
     never, never, never, never, never, never},
    {"53300", {.code = errc::too_many_connections, .retryable = true, .sqlstate = "53300"},
     never, never, never, never, never, never},
    {"no connection", {.code = errc::pool_timeout, .retryable = true}, never, never, never, never, never, never},
};
// clang-format on

INSTANTIATE_TEST_SUITE_P(reference, retry_policy, ::testing::ValuesIn(table));

TEST(retry_layer, takes_only_what_a_body_on_this_thread_runs_again_for) {
  const error serialization{"m", {.code = errc::serialization}};
  const error lost{"m", {.code = errc::lost, .sent = sent::maybe}};
  const transaction_options plain;
  const transaction_options idempotent{.idempotent = true};
  EXPECT_FALSE(retry_layer::takes(serialization));
  {
    const retry_layer outer{idempotent};
    EXPECT_TRUE(retry_layer::takes(lost));
    const retry_layer inner{plain};
    EXPECT_TRUE(retry_layer::takes(serialization));
    EXPECT_TRUE(retry_layer::takes(lost)) << "the outer one does";
  }
  const retry_layer alone{plain};
  EXPECT_FALSE(retry_layer::takes(lost));
}

}  // namespace
}  // namespace soundhash::db
