#include "exec/retry_policy.hpp"

#include <soundhash/db/core/sqlstate.hpp>

namespace soundhash::db {
namespace {

constexpr retry_rule never{};

constexpr retry_rule if_allowed(bool allowed, retry_limit limit, retry_reason reason) {
  return allowed ? retry_rule{limit, reason} : never;
}

/// What left for the server and got no answer: as often as wanted when it may happen twice, once
/// when it changes nothing.
constexpr retry_rule unanswered(const transaction_options& options, retry_reason reason) {
  if (options.idempotent) return {retry_limit::attempts, reason};
  return if_allowed(options.read_only, retry_limit::once, reason);
}

}  // namespace

retry_rule rule_for(const error& failure, const transaction_options& options) {
  // Also as the cause of a rollback at COMMIT, where a deferred trigger may meet it.
  if (failure.sqlstate() == sqlstate::lock_not_available) {
    return if_allowed(options.retry_lock_timeouts, retry_limit::attempts,
                      retry_reason::lock_timeout);
  }
  switch (failure.code()) {
    case errc::serialization:
      return {retry_limit::attempts, retry_reason::serialization};
    case errc::deadlock:
      return {retry_limit::attempts, retry_reason::deadlock};
    case errc::lost:
      if (failure.sent() == sent::no) return {retry_limit::attempts, retry_reason::lost};
      return unanswered(options, retry_reason::lost);
    case errc::commit_in_doubt:
      return unanswered(options, retry_reason::in_doubt);
    case errc::demoted_primary:
      return {retry_limit::once, retry_reason::demoted_primary};
    case errc::server_error:
      return if_allowed(failure.retryable(), retry_limit::attempts, retry_reason::stale_plan);
    default:
      return never;
  }
}

retry_rule rule_for(const error& failure, access kind) {
  const bool reads = kind == access::read_only;
  switch (failure.code()) {
    case errc::serialization:  // a conflict with the recovery of a standby
      return if_allowed(reads, retry_limit::once, retry_reason::serialization);
    case errc::deadlock:
      return if_allowed(reads, retry_limit::once, retry_reason::deadlock);
    case errc::lost:
      return if_allowed(reads || failure.sent() == sent::no, retry_limit::once, retry_reason::lost);
    case errc::demoted_primary:
      return {retry_limit::once, retry_reason::demoted_primary};
    default:
      return never;
  }
}

}  // namespace soundhash::db
