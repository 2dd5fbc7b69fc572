#pragma once

#include <optional>

#include <soundhash/db/core/error.hpp>
#include <soundhash/db/exec/transaction.hpp>

#include "core/backoff.hpp"
#include "exec/call_counters.hpp"
#include "exec/retry_budget.hpp"
#include "exec/retry_policy.hpp"

namespace soundhash::db {

/// Decides, within one call, whether what failed runs again, and takes the pause before it. A call
/// that succeeds at once pays nothing.
/// Thread safety: one thread at a time; budget and counters are shared.
class reruns {
 public:
  /// Lifetime: all three must outlive this object.
  reruns(const transaction_options& options, retry_budget& budget, call_counters& counters) noexcept
      : options_{options}, budget_{budget}, counters_{counters} {}

  /// After a failure, with no connection held: true after the pause when it may run again. False:
  /// the failure is for the caller.
  [[nodiscard]] bool allow(const error& failure, retry_rule rule);

 private:
  [[nodiscard]] bool exhausted(retry_limit limit) noexcept;
  [[nodiscard]] std::optional<retry_refusal> pause();

  const transaction_options& options_;
  retry_budget& budget_;
  call_counters& counters_;
  int attempts_ = 1;
  bool once_used_ = false;
  std::optional<backoff> delays_;  // seeding it costs more than a statement
};

}  // namespace soundhash::db
