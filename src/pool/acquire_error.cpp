#include "pool/acquire_error.hpp"

#include <fmt/format.h>

namespace soundhash::db {
namespace {

bool is_transient(errc code) noexcept {
  switch (code) {
    case errc::refused:
    case errc::name_resolution:
    case errc::connect_timeout:
    case errc::not_ready:
    case errc::too_many_connections:
    case errc::lost:
    case errc::demoted_primary:
      return true;
    default:
      return false;
  }
}

std::string state_of(const pool_stats& seen) {
  const auto limit =
      seen.limit == 0 ? std::string{"no limit"} : fmt::format("limit {}", seen.limit);
  const auto closing =
      seen.closing == 0 ? std::string{} : fmt::format(", {} closing", seen.closing);
  return fmt::format("{}: {} used, {} idle, {} connecting{}; {} waiting", limit, seen.used,
                     seen.idle, seen.connecting, closing, seen.waiting);
}

error_details not_sent(errc code, bool retryable) {
  error_details details;
  details.code = code;
  details.retryable = retryable;
  return details;
}

}  // namespace

connect_failure describe(const std::exception_ptr& thrown) {
  try {
    std::rethrow_exception(thrown);
  } catch (const connection_error& e) {
    return {e.code(), is_transient(e.code()), e.what(), std::string{e.sqlstate()}, nullptr};
  } catch (const timeout_error& e) {
    return {errc::connect_timeout, true, e.what(), std::string{e.sqlstate()}, nullptr};
  } catch (const error& e) {
    return {e.code(), false, e.what(), std::string{e.sqlstate()}, thrown};
  } catch (const std::exception& e) {
    return {errc::configuration, false, sanitize(e.what()), {}, thrown};
  } catch (...) {
    return {errc::configuration, false, "unknown exception", {}, thrown};
  }
}

void throw_cause(const connect_failure& cause, std::string_view endpoint, const pool_stats& seen) {
  if (cause.foreign) std::rethrow_exception(cause.foreign);
  auto details = not_sent(cause.code, cause.transient);
  details.sqlstate = cause.sqlstate;
  throw connection_error{
      fmt::format("{} (pool to {}; {})", cause.message, endpoint, state_of(seen)), details};
}

pool_error timed_out(std::string_view endpoint, std::chrono::milliseconds waited,
                     const pool_stats& seen, const connect_failure* last) {
  auto message = fmt::format("no connection to {} within {} ms ({})", endpoint, waited.count(),
                             state_of(seen));
  if (last) message += "; last connect error: " + last->message;
  return {message, not_sent(errc::pool_timeout, true)};
}

pool_error overloaded(std::string_view endpoint, const pool_stats& seen) {
  return {fmt::format("too many callers wait for a connection to {} ({}); raise max_waiters or the "
                      "pool's size, or send less",
                      endpoint, state_of(seen)),
          not_sent(errc::pool_overloaded, true)};
}

pool_error nested(std::string_view endpoint, const pool_stats& seen) {
  return {fmt::format("this thread holds all connections to {} and asks for one more ({}); release "
                      "one first or raise the pool's size",
                      endpoint, state_of(seen)),
          not_sent(errc::nested_acquire, false)};
}

pool_error forked(std::string_view endpoint) {
  return {fmt::format("the connections to {} belong to the process that forked this one; open a "
                      "database of its own after fork()",
                      endpoint),
          not_sent(errc::used_after_fork, false)};
}

pool_error closed(std::string_view endpoint) {
  return {fmt::format("the pool to {} is closed", endpoint), not_sent(errc::pool_closed, false)};
}

cancelled stopped(std::string_view endpoint) {
  return {fmt::format("stop was requested while waiting for a connection to {}", endpoint),
          not_sent(errc::cancelled, false)};
}

}  // namespace soundhash::db
