#include "observe/series.hpp"

#include <algorithm>

namespace soundhash::db {
namespace {

// 0 until the thread's first record: a constant initialiser spares each access the guard.
constinit thread_local unsigned thread_number = 0;
constinit std::atomic<unsigned> threads_seen{0};

unsigned current_thread_number() noexcept {
  if (thread_number == 0) {
    thread_number = threads_seen.fetch_add(1, std::memory_order_relaxed) + 1;
  }
  return thread_number;
}

std::uint64_t not_negative(std::chrono::nanoseconds span) noexcept {
  return static_cast<std::uint64_t>(std::max<std::chrono::nanoseconds::rep>(span.count(), 0));
}

void add(std::atomic<std::uint64_t>& counter, std::uint64_t value) noexcept {
  if (value != 0) counter.fetch_add(value, std::memory_order_relaxed);
}

void raise(std::atomic<std::uint64_t>& max, std::uint64_t value) noexcept {
  auto current = max.load(std::memory_order_relaxed);
  while (value > current && !max.compare_exchange_weak(current, value, std::memory_order_relaxed)) {
  }
}

std::uint64_t value_of(const std::atomic<std::uint64_t>& counter) noexcept {
  return counter.load(std::memory_order_relaxed);
}

}  // namespace

series_totals& series_totals::operator-=(const series_totals& earlier) {
  durations -= earlier.durations;
  slow -= earlier.slow;
  rows -= earlier.rows;
  sum -= earlier.sum;
  wait -= earlier.wait;
  max = std::min(max, durations.greatest());
  for (const auto& [state, count] : earlier.errors_by_sqlstate) {
    const auto now = errors_by_sqlstate.find(state);
    now->second -= count;
    if (now->second == 0) errors_by_sqlstate.erase(now);
  }
  return *this;
}

void error_counts::record(std::string_view sqlstate) noexcept {
  const std::lock_guard hold{mutex_};
  std::array<char, 6> state{};
  sqlstate.copy(state.data(), state.size() - 1);
  const auto end = entries_.begin() + static_cast<std::ptrdiff_t>(used_);
  const auto known =
      std::find_if(entries_.begin(), end, [&](const entry& e) { return e.state == state; });
  if (known != end) {
    ++known->count;
  } else if (used_ < max_states) {
    entries_[used_++] = {state, 1};
  } else {
    ++other_;
  }
}

std::map<std::string, std::uint64_t> error_counts::by_sqlstate() const {
  const std::lock_guard hold{mutex_};
  std::map<std::string, std::uint64_t> counts;
  for (std::size_t i = 0; i < used_; ++i) counts[entries_[i].state.data()] = entries_[i].count;
  if (other_ > 0) counts["other"] = other_;
  return counts;
}

void series::record(const statement_event& event,
                    std::chrono::nanoseconds slow_threshold) noexcept {
  auto& mine = shards_[current_thread_number() % shards_.size()];
  const auto duration = not_negative(event.execute);
  mine.durations.record(duration);
  add(mine.sum, duration);
  add(mine.rows, event.rows);
  add(mine.wait, not_negative(event.acquire));
  raise(mine.max, duration);
  // Release, and acquire in totals(): whoever sees the slow statement sees it counted above.
  if (event.execute > slow_threshold) mine.slow.fetch_add(1, std::memory_order_release);
  if (event.failure != nullptr) errors_.record(event.sqlstate);
}

series_totals series::totals() const {
  series_totals all;
  all.errors_by_sqlstate = errors_.by_sqlstate();
  for (const auto& part : shards_) {
    all.slow += part.slow.load(std::memory_order_acquire);
    all.sum += value_of(part.sum);
    all.rows += value_of(part.rows);
    all.wait += value_of(part.wait);
    all.max = std::max(all.max, value_of(part.max));
    all.durations += part.durations.counts();
  }
  return all;
}

}  // namespace soundhash::db
