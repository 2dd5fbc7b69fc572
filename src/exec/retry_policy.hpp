#pragma once

#include <cstdint>
#include <string_view>

#include <soundhash/db/core/error.hpp>
#include <soundhash/db/core/query.hpp>
#include <soundhash/db/exec/transaction.hpp>

namespace soundhash::db {

/// Why something may run again.
enum class retry_reason : std::uint8_t {
  serialization,    ///< 40001, also as the answer to COMMIT
  deadlock,         ///< 40P01
  lost,             ///< the link, with nothing sent or nothing changed
  in_doubt,         ///< COMMIT unanswered; the author said that it may happen twice
  demoted_primary,  ///< 25006 of a server that is a standby now; its session is closed
  stale_plan,       ///< 26000, or 0A000 of a cached plan; prepared anew by now
  lock_timeout,     ///< 55P03
};

enum class retry_limit : std::uint8_t {
  never,
  once,      ///< one time in a call, whatever else went wrong before
  attempts,  ///< as often as the options allow
};

struct retry_rule {
  retry_limit limit = retry_limit::never;
  retry_reason reason{};
};

/// May the whole body of a transaction run again after this failure? Only what is rolled back for
/// certain, or may happen twice because its author said so.
[[nodiscard]] retry_rule rule_for(const error& failure, const transaction_options& options);

/// May a statement outside a transaction run again? A read is a whole transaction; a write runs
/// again only when it did not happen for certain.
[[nodiscard]] retry_rule rule_for(const error& failure, access kind);

}  // namespace soundhash::db
