#include "exec/reruns.hpp"

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <random>
#include <utility>

#include "exec/retry_layer.hpp"

namespace soundhash::db {
namespace {

using clock = deadline::clock;

constexpr std::chrono::milliseconds shortest_pause{5};
constexpr std::chrono::seconds longest_pause{1};

}  // namespace

bool reruns::exhausted(retry_limit limit) noexcept {
  if (attempts_++ >= options_.attempts) return true;
  return limit == retry_limit::once && std::exchange(once_used_, true);
}

/// Nothing, or what forbids to wait.
std::optional<retry_refusal> reruns::pause() {
  if (!delays_) delays_.emplace(std::random_device{}(), shortest_pause, longest_pause);
  const auto delay = delays_->next();
  if (!options_.until.is_never() && clock::now() + delay >= options_.until.at()) {
    return retry_refusal::deadline;
  }
  if (!budget_.take(clock::now())) return retry_refusal::budget;
  std::mutex mutex;
  std::condition_variable_any never;
  std::unique_lock lock{mutex};
  never.wait_for(lock, options_.stop, delay, [] { return false; });
  if (options_.stop.stop_requested()) return retry_refusal::stop;
  return std::nullopt;
}

bool reruns::allow(const error& failure, retry_rule rule) {
  if (rule.limit == retry_limit::never || retry_layer::takes(failure)) return false;
  const auto refused = exhausted(rule.limit) ? retry_refusal::attempts : pause();
  if (refused) {
    counters_.refusals.count(*refused);
    return false;
  }
  counters_.retries.count(rule.reason);
  return true;
}

}  // namespace soundhash::db
