#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <new>
#include <random>
#include <source_location>
#include <utility>
#include <vector>

#include <soundhash/db/pool/pool_options.hpp>
#include <soundhash/db/pool/pool_stats.hpp>

#include "pool/connect_attempts.hpp"
#include "pool/health.hpp"
#include "pool/idle_set.hpp"
#include "pool/intrusive_list.hpp"
#include "pool/outage.hpp"
#include "pool/pool_hooks.hpp"
#include "pool/slot_table.hpp"
#include "pool/timer.hpp"
#include "pool/waiter.hpp"
#include "pool/workers.hpp"

namespace soundhash::db {

/// The slots, the queue and the rules by which a connection goes from one state to the next.
///
/// Two invariants make the queue fair: while anybody waits, nothing is idle; and whatever frees
/// capacity calls start_connects(), so that the head is never forgotten.
/// Thread safety: every function needs the mutex, except fit(), lend() and the idle set's own.
template <class Connection, class Clock, class Threads>
class pool_state {
 public:
  using slot_type = slot<Connection, Clock, Threads>;
  using waiter_type = waiter<slot_type, Threads>;
  using time_point = typename Clock::time_point;
  using lock_type = std::unique_lock<typename Threads::mutex>;
  using cause = typename outage<Clock>::cause;

  static constexpr std::chrono::seconds upkeep_interval{1};
  static constexpr std::chrono::seconds overflow_idle{5};
  static constexpr std::size_t most_workers = 4;

  /// Connects have threads of their own, so that nothing that hangs holds them back; `run` does the
  /// jobs of both.
  pool_state(const pool_options& wanted, std::uint64_t seed,
             const std::function<void(slot_type&)>& run,
             std::function<void(lock_type&, time_point)> due)
      : options{wanted},
        condition{wanted},
        outages{wanted.fail_fast_after, seed},
        random_{seed},
        connectors_{mutex, connect_attempts<Clock>::most, run},
        workers_{mutex, most_workers, run},
        timer_{mutex, std::move(due)} {
    set_size(wanted.size, wanted.max_overflow);
  }

  void belong_to(const std::weak_ptr<void>& owner) noexcept {
    connectors_.belong_to(owner);
    workers_.belong_to(owner);
    timer_.belong_to(owner);
  }

  // Lending

  /// May be handed out or put back without a second thought.
  [[nodiscard]] bool fit(const slot_type& place, time_point now) const noexcept {
    return condition.is_current(place.generation) && now < place.expires;
  }

  void lend(slot_type& place, time_point now, const std::source_location& where,
            typename Threads::id to) noexcept {
    place.check = condition.check_due(proven(place), now);
    place.acquired.store(now, std::memory_order_relaxed);
    place.where.store(where, std::memory_order_relaxed);
    place.query.store(nullptr, std::memory_order_relaxed);
    place.holder.store(to, std::memory_order_relaxed);
  }

  slot_type* take(time_point now, const std::source_location& where) noexcept {
    while (slot_type* const place = idle.take()) {
      if (std::uint64_t* const reason = reason_to_retire(*place, now)) {
        retire(*place, *reason, now);
      } else {
        lend(*place, Clock::coarse_now(), where, Threads::self());
        return place;
      }
    }
    return nullptr;
  }

  /// A healthy connection, returned or new: to the head of the queue, or idle.
  void admit(slot_type& place, time_point now) noexcept {
    if (std::uint64_t* const reason = reason_to_retire(place, now)) {
      return retire(place, *reason, now);
    }
    if (place.state != slot_state::ready) slots.move(place, slot_state::ready);
    waiter_type* const head = queue.front();
    if (!head) return idle.put(place);
    // Only what waited for its end meanwhile, expired, can be unproven here.
    const bool used_now = now - proven(place) <= options.recent_use;
    lend(place, Clock::coarse_now(), head->where, head->thread);
    if (used_now) place.check = health_check::none;
    head->place = &place;
    decide(*head, outcome::granted);
  }

  // The queue

  /// `served_before`: by a connection that turned out dead; then ahead of those who never were.
  void enqueue(waiter_type& who, bool served_before) noexcept {
    who.served_before = served_before;
    waiter_type* behind = served_before ? queue.front() : nullptr;
    while (behind && behind->served_before) behind = behind->next;
    behind ? queue.insert_before(*behind, who) : queue.push_back(who);
    set_gate();
  }

  /// What was returned without the mutex before the gate was shut goes to the head.
  void serve_from_idle(time_point now) noexcept {
    while (!queue.empty()) {
      slot_type* const place = idle.take();
      if (!place) return;
      admit(*place, now);
    }
  }

  /// Takes a waiter out of the queue with an outcome; the first decision stands.
  void decide(waiter_type& who, outcome result) noexcept {
    if (who.result != outcome::waiting) return;
    queue.erase(who);
    who.result = result;
    who.decided.notify_one();  // under the mutex: afterwards the waiter may be gone
    set_gate();
  }

  void fail_waiters(const cause& why) noexcept {
    while (waiter_type* const head = queue.front()) {
      head->why = why;
      decide(*head, outcome::failed);
    }
  }

  // Closing

  /// Leaves the closing to a worker. `reason` is the counter of the statistics.
  void retire(slot_type& place, std::uint64_t& reason, time_point now) noexcept {
    ++reason;
    slots.move(place, slot_state::closing);
    if (slots.live() == 0) outages.nothing_live(now);
    set_gate();
    workers_.submit(place);
    arm(now);
  }

  void retire_idle(std::uint64_t& reason, time_point now) noexcept {
    while (slot_type* const place = idle.take()) retire(*place, reason, now);
  }

  void note_death(const slot_type& place, time_point now) noexcept {
    if (condition.note_death(place.generation, now)) retire_idle(stats.closed_invalidated, now);
  }

  void begin_close(time_point now) noexcept {
    closed = true;
    set_gate();
    while (waiter_type* const head = queue.front()) decide(*head, outcome::closed);
    const auto queued = [](const slot_type& job) { return job.state == slot_state::connecting; };
    while (slot_type* const job = connectors_.withdraw(queued)) {
      attempts.ended(job->acquired.load(std::memory_order_relaxed));
      slots.move(*job, slot_state::free);
    }
    retire_idle(uncounted, now);
  }

  /// Nothing runs any more when this returns, except what has not ended by `until`.
  void stop(lock_type& lock, deadline until) {
    stopped = true;
    timer_.stop(lock);
    connectors_.stop(lock, until);
    workers_.stop(lock, until);
  }

  void clean_up(slot_type& place, slot_state how) noexcept {
    slots.move(place, how);
    workers_.submit(place);
  }

  /// The end of a slot's life: its room is free again.
  void vacate(slot_type& place) noexcept {
    place.cut = false;
    slots.move(place, slot_state::free);
    set_gate();
  }

  // Demand

  /// Opens what the queue needs, or what shall be kept warm, within the limits.
  void start_connects(time_point now) noexcept {
    try {
      while (is_short(now) && outages.may_connect(now)) {
        slot_type& place = slots.obtain();
        idle.add(place);
        place.acquired.store(now, std::memory_order_relaxed);
        attempts.began(now);
        connectors_.submit(place);
      }
    } catch (const std::bad_alloc&) {
      // Whatever frees capacity next tries again, and so does the upkeep.
    }
    arm(now);
  }

  void connected(slot_type& place, time_point began, time_point now) noexcept {
    attempts.ended(began);
    ++stats.connects;
    stats.connect_time += now - began;
    outages.succeeded();
    probe_ = false;
    place.acquired.store(time_point::max(), std::memory_order_relaxed);
    place.generation = condition.generation();
    place.expires = expiry(now);
    place.last_used.store(now, std::memory_order_relaxed);
    place.last_check = now;
    admit(place, now);
  }

  void connect_failed(slot_type& place, time_point began, time_point now, const cause& why) {
    attempts.ended(began);
    ++stats.connect_failures;
    vacate(place);
    outages.failed(now, began, slots.live() > 0, why);
    if (!why->transient || is_down()) fail_waiters(why);
  }

  void set_size(std::optional<std::size_t> size, std::optional<std::size_t> overflow) noexcept {
    options.size = size;
    options.max_overflow = overflow;
    limit = size && overflow ? *size + *overflow : 0;
  }

  /// Declared down, and no connect under way or about to begin that may still be waited for.
  [[nodiscard]] bool hopeless(time_point now) const noexcept {
    const bool may_begin = outages.may_connect(now) && attempts.room() && has_room();
    return is_down() && attempts.fresh(now) == 0 && !may_begin;
  }

  /// Closes what a lowered limit has no room for; what is lent follows when it is returned.
  void shrink_to_limit(time_point now) noexcept {
    set_gate();
    for (auto place = slots.rbegin(); over_limit() && place != slots.rend(); ++place) {
      if (idle.contains(*place) && idle.remove(*place)) retire(*place, stats.closed_resized, now);
    }
  }

  /// Nobody is served for want of a server.
  [[nodiscard]] bool is_down() const noexcept { return outages.declared() && slots.live() == 0; }
  /// Whether that has changed since the last call.
  [[nodiscard]] bool outage_changed() noexcept {
    return std::exchange(outage_told_, is_down()) != is_down();
  }

  // Time

  /// Every time is ahead of `now`, or the timer would spin.
  void arm(time_point now) noexcept {
    auto due = next_guard;
    if (!queue.empty()) {
      due = std::min({due, outages.declaration_due(), attempts.next_stall(now)});
    }
    if (is_short(now) && !outages.may_connect(now)) due = std::min(due, outages.next_attempt());
    if (!closed && (slots.total() > 0 || options.min_idle > 0)) due = std::min(due, next_upkeep_);
    timer_.arm(due);
  }

  /// Ends the sessions of leases that have passed their guard.
  void cut_overdue(time_point now) noexcept {
    next_guard = time_point::max();
    for (slot_type& place : slots) {
      if (place.guard <= now) {
        cut(place);
      } else {
        next_guard = std::min(next_guard, place.guard);
      }
    }
  }

  void cut_all_lent() noexcept {
    for (slot_type& place : slots) {
      if (is_lent(place)) cut(place);
    }
  }

  /// Once in `upkeep_interval`. Returns the leases that look like leaks.
  std::vector<held_lease> upkeep(time_point now) noexcept {
    if (now < next_upkeep_) return {};
    connectors_.resume();
    workers_.resume();
    next_upkeep_ = now + upkeep_interval;
    for (auto place = slots.rbegin(); place != slots.rend(); ++place) keep_up(*place, now);
    return find_leaks(now);
  }

  // What there is

  [[nodiscard]] bool is_lent(const slot_type& place) const noexcept {
    return place.state == slot_state::ready && !idle.contains(place);
  }
  [[nodiscard]] std::size_t lent() const noexcept {
    return slots.count(slot_state::ready) - idle.size();
  }
  [[nodiscard]] bool has_room() const noexcept { return limit == 0 || slots.total() < limit; }

  /// The limit is reached, and by this thread alone: only itself could serve it.
  [[nodiscard]] bool holds_all() const noexcept {
    if (limit == 0 || slots.count(slot_state::ready) < limit) return false;
    const auto self = Threads::self();
    // Counted and not "all lent ones are mine": one that comes back meanwhile is not lent any more.
    const auto own = std::count_if(slots.begin(), slots.end(), [&](const slot_type& place) {
      return is_lent(place) && place.holder.load(std::memory_order_relaxed) == self;
    });
    return static_cast<std::size_t>(own) >= limit;
  }

  [[nodiscard]] std::vector<held_lease> still_lent(time_point now) const {
    std::vector<held_lease> found;
    for (const slot_type& place : slots) {
      if (is_lent(place)) found.push_back(lease_of(place, now));
    }
    return found;
  }

  [[nodiscard]] pool_stats snapshot() const {
    pool_stats seen = stats;
    seen.idle = idle.size();
    seen.used = slots.count(slot_state::ready) - seen.idle;
    seen.connecting = slots.count(slot_state::connecting);
    seen.closing = slots.count(slot_state::closing) + slots.count(slot_state::resetting) +
                   slots.count(slot_state::checking);
    seen.waiting = queue.size();
    seen.limit = limit;
    for (const slot_type& place : slots) {
      seen.acquired_at_once += place.lent_at_once.load(std::memory_order_relaxed);
      seen.acquired_after_wait += place.lent_after_wait.load(std::memory_order_relaxed);
      seen.hold_time += std::chrono::nanoseconds{place.held.load(std::memory_order_relaxed)};
    }
    return seen;
  }

  mutable typename Threads::mutex mutex;
  typename Threads::condition changed;  ///< a slot or a lease ended; for close()
  pool_options options;                 ///< times never change; sizes do, by set_size()
  std::size_t limit = 0;                ///< size + overflow; 0: none
  idle_set<slot_type, Threads> idle;
  health<Clock> condition;
  slot_table<slot_type> slots;
  intrusive_list<waiter_type> queue;
  outage<Clock> outages;
  connect_attempts<Clock> attempts;
  pool_stats stats;             ///< counters only
  std::uint64_t uncounted = 0;  ///< what closes with the pool
  time_point next_guard = time_point::max();
  bool closed = false;   ///< no acquire any more
  bool stopped = false;  ///< no workers any more

 private:
  [[nodiscard]] static time_point proven(const slot_type& place) noexcept {
    return std::max(place.last_used.load(std::memory_order_relaxed), place.last_check);
  }

  /// The gate is open while everything can be decided without the mutex.
  void set_gate() noexcept { idle.set_gate(queue.empty() && !closed && !over_limit()); }

  /// More than the limit, which was lowered.
  [[nodiscard]] bool over_limit(std::size_t more = 0) const noexcept {
    return limit != 0 && slots.live() + more > limit;
  }
  [[nodiscard]] bool above_size() const noexcept {
    return options.size && slots.live() + slots.count(slot_state::connecting) > *options.size;
  }

  /// The counter of why this connection must not serve any more; nullptr when it may.
  std::uint64_t* reason_to_retire(const slot_type& place, time_point now) noexcept {
    if (closed) return &uncounted;
    if (place.cut) return &stats.closed_broken;
    if (!condition.is_current(place.generation)) return &stats.closed_invalidated;
    if (over_limit(place.state == slot_state::connecting ? 1 : 0)) return &stats.closed_resized;
    return now >= place.expires && may_recycle(now) ? &stats.closed_recycled : nullptr;
  }

  /// One after the other, a tenth of the pool a second, so that there is no herd of reconnects; and
  /// while connects fail, an old connection is better than none.
  bool may_recycle(time_point now) noexcept {
    probe_ = outages.failing();
    if (probe_ || now < next_recycle_) return false;
    const auto a_second = std::max<std::size_t>(1, (std::max(limit, slots.live()) + 9) / 10);
    next_recycle_ = now + std::chrono::nanoseconds{std::chrono::seconds{1}} / a_second;
    return true;
  }

  /// The counter of why an idle connection is not needed; nullptr when it is.
  std::uint64_t* reason_to_shrink(const slot_type& place, time_point now) noexcept {
    const auto unused = now - place.last_used.load(std::memory_order_relaxed);
    if (above_size() && unused >= overflow_idle) return &stats.closed_overflow;
    const bool spare = idle.size() > options.min_idle;
    const bool limited = options.idle_timeout != options.idle_timeout.zero();
    return spare && limited && unused >= options.idle_timeout ? &stats.closed_idle : nullptr;
  }

  /// The other things that wait for an idle connection: its end, or a sign of life.
  void keep_up(slot_type& place, time_point now) noexcept {
    if (place.state != slot_state::ready || !idle.contains(place)) return;
    std::uint64_t* reason = reason_to_retire(place, now);
    if (!reason) reason = reason_to_shrink(place, now);
    if (reason) {
      if (idle.remove(place)) retire(place, *reason, now);
    } else if (wants_keepalive(place, now) && idle.remove(place)) {
      clean_up(place, slot_state::checking);
    }
  }

  /// A quarter of the idle ones at a time, so that callers find the others.
  [[nodiscard]] bool wants_keepalive(const slot_type& place, time_point now) const noexcept {
    if (options.keepalive == options.keepalive.zero()) return false;
    return now - proven(place) >= options.keepalive &&
           slots.count(slot_state::checking) * 4 < idle.size();
  }

  [[nodiscard]] static held_lease lease_of(const slot_type& place, time_point now) {
    return {
        place.where.load(std::memory_order_relaxed), place.query.load(std::memory_order_relaxed),
        std::max(now - place.acquired.load(std::memory_order_relaxed), typename Clock::duration{})};
  }

  std::vector<held_lease> find_leaks(time_point now) noexcept {
    std::vector<held_lease> found;
    if (options.leak_after == options.leak_after.zero()) return found;
    for (slot_type& place : slots) {
      const auto since = place.acquired.load(std::memory_order_relaxed);
      if (!is_lent(place) || now - since < options.leak_after || place.leak_reported == since) {
        continue;
      }
      try {
        found.push_back(lease_of(place, now));
      } catch (const std::bad_alloc&) {
        return found;  // the next upkeep finds it
      }
      place.leak_reported = since;
      ++stats.leaks;
    }
    return found;
  }

  void cut(slot_type& place) noexcept {
    place.guard = time_point::max();
    if (!std::exchange(place.cut, true)) place.connection->cut();
  }

  /// One more connection would help, and there is room for it.
  [[nodiscard]] bool is_short(time_point now) const noexcept {
    if (closed || !attempts.room() || !has_room()) return false;
    const auto most = outages.failing() ? 1 : attempts.most;  // in trouble one probe suffices
    return attempts.fresh(now) < std::min(demand(), most);
  }

  [[nodiscard]] std::size_t demand() const noexcept {
    const auto asked = queue.size() + (probe_ ? 1 : 0);
    if (options.min_idle == 0) return asked;
    // What is kept warm fits into `size`, beside what is used and asked for.
    const auto warm = idle.size();
    const auto others = slots.live() - warm + queue.size();
    const auto room =
        options.size ? *options.size - std::min(others, *options.size) : options.min_idle;
    const auto wanted = std::min(options.min_idle, room);
    return asked + (wanted > warm ? wanted - warm : 0);
  }

  /// Lifetimes differ, so that connections opened together do not end together.
  time_point expiry(time_point now) {
    if (options.recycle == options.recycle.zero()) return time_point::max();
    const std::chrono::nanoseconds whole = options.recycle;
    std::uniform_int_distribution<std::int64_t> shorter{0, whole.count() / 10};
    return now + std::chrono::nanoseconds{whole.count() - shorter(random_)};
  }

  std::mt19937_64 random_;
  bool probe_ = false;  ///< an expired connection stays until a connect has succeeded
  bool outage_told_ = false;
  time_point next_recycle_{};
  time_point next_upkeep_ = Clock::now() + upkeep_interval;
  workers<slot_type, Threads> connectors_;
  workers<slot_type, Threads> workers_;
  timer<Clock, Threads> timer_;
};

}  // namespace soundhash::db
