#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <new>
#include <optional>
#include <source_location>
#include <stop_token>
#include <string>
#include <utility>
#include <vector>

#include <soundhash/db/core/deadline.hpp>
#include <soundhash/db/pool/pool_options.hpp>
#include <soundhash/db/pool/pool_stats.hpp>

#include "core/fork_epoch.hpp"
#include "driver/connection.hpp"
#include "pool/acquire_error.hpp"
#include "pool/pool_state.hpp"

namespace soundhash::db {

/// What happens to callers and connections: acquire, return, the workers' jobs, the end. It may
/// outlive the basic_pool, while leases are out.
///
/// The mutex is never held across I/O: connects, rollbacks and closes run on the workers, health
/// checks on the caller's thread. An acquire that finds an idle connection, and its return, take no
/// mutex at all.
/// Thread safety: safe for concurrent use.
template <class Connection, class Clock, class Threads>
class pool_core : public std::enable_shared_from_this<pool_core<Connection, Clock, Threads>> {
  using state_type = pool_state<Connection, Clock, Threads>;
  using lock_type = typename state_type::lock_type;
  using waiter_type = typename state_type::waiter_type;
  using cause = typename state_type::cause;

 public:
  using connector = std::function<std::unique_ptr<Connection>(deadline)>;
  using slot_type = typename state_type::slot_type;
  using time_point = typename Clock::time_point;

  static constexpr std::chrono::seconds ping_budget{2};
  static constexpr std::chrono::milliseconds least_ping{100};
  static constexpr std::chrono::seconds reset_budget{2};
  static constexpr std::chrono::seconds stop_grace{2};

  struct request {
    deadline until;
    std::stop_token stop;
    std::source_location where;
    std::chrono::nanoseconds budget{};  ///< the whole wait, for messages
  };
  struct grant {
    slot_type* place = nullptr;
    std::chrono::nanoseconds waited{};
  };

  pool_core(const pool_options& options, std::string endpoint, connector connect,
            pool_hooks<Connection> hooks, std::uint64_t seed)
      : endpoint_{std::move(endpoint)},
        connect_{std::move(connect)},
        hooks_{std::move(hooks)},
        state_{options, seed, [this](slot_type& job) { run(job); },
               [this](lock_type& lock, time_point now) { run_due(lock, now); }} {}

  /// Once, ahead of all else: opens what is kept warm.
  void start() {
    const lock_type lock{state_.mutex};
    state_.belong_to(this->weak_from_this());
    state_.start_connects(Clock::now());
  }

  grant acquire(request asked) {
    require_own();
    const auto now = Clock::coarse_now();
    if (slot_type* const place = state_.idle.try_take(now)) {
      if (state_.fit(*place, now)) {
        state_.lend(*place, now, asked.where, Threads::self());
        if (place->check == health_check::none) return at_once(*place);
        return acquire_slowly(place, asked);
      }
      const auto keep = this->shared_from_this();  // the slot holds the core no longer
      give_back_slowly(*place, slot_state::ready);
      return acquire_slowly(nullptr, asked);
    }
    return acquire_slowly(nullptr, asked);
  }

  /// The holder's last act. Never throws and does no I/O.
  void give_back(slot_type& place, bool discarded) noexcept {
    if (fork_.crossed()) return;  // the parent's
    if (hooks_.on_release && !discarded) discarded = !released(*place.connection);
    const auto now = Clock::coarse_now();
    const auto next = discarded ? slot_state::closing : after_use(*place.connection);
    end_lease(place, now);
    if (next == slot_state::ready && !place.guarded && state_.fit(place, now) &&
        state_.idle.try_put(place)) {
      return;
    }
    give_back_slowly(place, next);
  }

  /// Runs on_acquire; when it throws, the lease is to be discarded.
  void greet(Connection& connection) const {
    if (hooks_.on_acquire) hooks_.on_acquire(connection);
  }

  /// Cuts the session of this lease at that time, whatever its holder does meanwhile.
  void guard(slot_type& place, deadline until) {
    require_own();
    const lock_type lock{state_.mutex};
    place.guarded = true;
    place.guard = until.is_never() ? time_point::max() : time_point{until.at().time_since_epoch()};
    state_.next_guard = std::min(state_.next_guard, place.guard);
    state_.arm(Clock::now());
  }

  void resize(std::optional<std::size_t> size, std::optional<std::size_t> overflow) {
    require_own();
    const lock_type lock{state_.mutex};
    const auto now = Clock::now();
    state_.set_size(size, overflow);
    state_.shrink_to_limit(now);
    state_.start_connects(now);
  }

  [[nodiscard]] pool_stats stats() const {
    if (fork_.crossed()) return {};
    const lock_type lock{state_.mutex};
    return state_.snapshot();
  }

  /// Throws: pool_error{used_after_fork} in the child of a fork.
  void require_own() const {
    if (fork_.crossed()) throw forked(endpoint_);
  }
  /// Sockets and threads belong to another process.
  [[nodiscard]] bool is_parents() const noexcept { return fork_.crossed(); }
  /// Keeps all of it for ever, unused: nothing of it may be closed or joined here.
  void abandon() noexcept { self_ = this->shared_from_this(); }

  /// `cut`: leases that are left at the deadline lose their sessions and are returned.
  std::vector<held_lease> close(deadline until, bool cut) {
    if (fork_.crossed()) return {};
    lock_type lock{state_.mutex};
    if (!state_.closed) begin_close();
    state_.changed.wait_until(lock, until.at(), [this] { return state_.slots.total() == 0; });
    std::vector<held_lease> held;
    if (cut) {
      held = state_.still_lent(Clock::now());
      state_.cut_all_lent();
    }
    state_.stop(lock, std::max(until, deadline::in(stop_grace)));
    return held;
  }

  /// Does what is due by the clock. The timer calls it by itself.
  void run_due() {
    require_own();
    lock_type lock{state_.mutex};
    run_due(lock, Clock::now());
  }

 private:
  // Acquire

  grant at_once(slot_type& place) noexcept {
    count(place.lent_at_once);
    return {&place, {}};
  }

  /// Only the holder writes: no read-modify-write is needed.
  static void count(std::atomic<std::uint64_t>& of_slot) noexcept {
    of_slot.store(of_slot.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
  }

  grant acquire_slowly(slot_type* found, request& asked) {
    const auto keep = this->shared_from_this();  // the pool may end while its caller waits
    const auto entered = Clock::now();
    asked.budget =
        std::min<std::chrono::nanoseconds>(state_.options.acquire_timeout, asked.until.remaining());
    asked.until = std::min(asked.until, deadline::in(state_.options.acquire_timeout));
    bool queued = false;
    bool served_before = false;
    if (!found) found = take_or_wait(asked, served_before, queued);
    while (!alive(*found, asked.until)) {
      bury(*found, asked.until.remaining() >= least_ping);
      served_before = true;
      found = take_or_wait(asked, served_before, queued);
    }
    count(queued ? found->lent_after_wait : found->lent_at_once);
    return {found, Clock::now() - entered};
  }

  /// On the caller's thread, without the mutex.
  bool alive(slot_type& place, deadline until) noexcept {
    Connection& connection = *place.connection;
    if (place.check == health_check::none) return true;
    if (place.check == health_check::look && connection.quiet()) return true;
    // A ping without time to answer would condemn a healthy connection.
    if (until.remaining() < least_ping) return connection.quiet();
    count_ping();
    return connection.ping(std::min(until, deadline::in(ping_budget))) && connection.usable();
  }

  void count_ping() noexcept {
    const lock_type lock{state_.mutex};
    ++state_.stats.pings;
  }

  /// A connection that did not pass. `proven`: it had its time to answer.
  void bury(slot_type& place, bool proven) {
    end_lease(place, Clock::coarse_now());
    const auto now = Clock::now();
    lock_type lock{state_.mutex};
    if (proven) state_.note_death(place, now);
    retire_or_close(lock, place, state_.stats.closed_broken, now);
    lease_ended();
  }

  slot_type* take_or_wait(const request& asked, bool served_before, bool& queued) {
    const auto now = Clock::now();
    lock_type lock{state_.mutex};
    if (!state_.closed) {
      if (slot_type* const found = state_.take(now, asked.where)) return found;
    }
    refuse_hopeless(lock, asked, now, served_before);
    queued = true;
    waiter_type self;
    self.where = asked.where;
    state_.enqueue(self, served_before);
    state_.serve_from_idle(now);
    state_.start_connects(now);
    await(lock, self, asked);
    return settle(lock, self, asked, now);
  }

  /// Throws what waiting could not change.
  void refuse_hopeless(lock_type& lock, const request& asked, time_point now, bool served_before) {
    auto& outages = state_.outages;
    if (state_.closed) fail(lock, [this](const pool_stats&) { throw db::closed(endpoint_); });
    if (asked.stop.stop_requested()) fail_cancelled(lock);
    if (asked.until.passed()) fail_timed_out(lock, asked);
    if (state_.holds_all()) {
      fail(lock, [this](const pool_stats& s) { throw db::nested(endpoint_, s); });
    }
    if (outages.declare_if_due(now)) state_.fail_waiters(outages.last());
    if (state_.hopeless(now)) {
      fail_with(lock, outages.last());
    }
    if (state_.queue.size() >= state_.options.max_waiters && !served_before) {
      ++state_.stats.overloads;
      fail(lock, [this](const pool_stats& s) { throw db::overloaded(endpoint_, s); });
    }
  }

  /// Removes the waiter when stop is requested, unless its outcome was decided before.
  struct canceller {
    pool_core* pool;
    waiter_type* who;
    void operator()() const noexcept {
      const lock_type lock{pool->state_.mutex};
      pool->state_.decide(*who, outcome::cancelled);
    }
  };

  void await(lock_type& lock, waiter_type& self, const request& asked) {
    std::optional<std::stop_callback<canceller>> watch;
    if (asked.stop.stop_possible()) {
      lock.unlock();  // the callback may run right here
      watch.emplace(asked.stop, canceller{this, &self});
      lock.lock();
    }
    self.decided.wait_until(lock, asked.until.at(),
                            [&self] { return self.result != outcome::waiting; });
    state_.decide(self, outcome::timed_out);
    if (!watch) return;
    lock.unlock();  // a callback under way waits for the mutex, and reset() for it
    watch.reset();
    lock.lock();
  }

  slot_type* settle(lock_type& lock, const waiter_type& self, const request& asked,
                    time_point queued) {
    state_.stats.wait_time += Clock::now() - queued;
    switch (self.result) {
      case outcome::granted:
        return self.place;
      case outcome::failed:
        fail_with(lock, self.why);
      case outcome::closed:
        fail(lock, [this](const pool_stats&) { throw db::closed(endpoint_); });
      case outcome::cancelled:
        fail_cancelled(lock);
      default:
        fail_timed_out(lock, asked);
    }
  }

  // Errors: the state is read under the mutex, the message is made without it

  template <class Thrower>
  [[noreturn]] void fail(lock_type& lock, Thrower thrower) {
    const auto seen = state_.snapshot();
    lock.unlock();
    thrower(seen);
    std::abort();  // not reached: a thrower throws
  }

  [[noreturn]] void fail_with(lock_type& lock, const cause& why) {
    // NOLINTNEXTLINE(performance-unnecessary-copy-initialization): others replace it once unlocked
    const auto kept = why;
    fail(lock, [&](const pool_stats& seen) { throw_cause(*kept, endpoint_, seen); });
  }

  [[noreturn]] void fail_cancelled(lock_type& lock) {
    ++state_.stats.cancellations;
    fail(lock, [this](const pool_stats&) { throw db::stopped(endpoint_); });
  }

  [[noreturn]] void fail_timed_out(lock_type& lock, const request& asked) {
    ++state_.stats.timeouts;
    const auto waited = std::chrono::ceil<std::chrono::milliseconds>(asked.budget);
    const auto last = state_.outages.last();
    fail(lock,
         [&](const pool_stats& seen) { throw db::timed_out(endpoint_, waited, seen, last.get()); });
  }

  // Return

  bool released(Connection& connection) const noexcept {
    try {
      hooks_.on_release(connection);
      return true;
    } catch (...) {
      return false;  // there is nobody to tell: the connection is closed
    }
  }

  static slot_state after_use(const Connection& connection) noexcept {
    switch (connection.status()) {
      case driver::transaction_status::idle:
        return slot_state::ready;
      case driver::transaction_status::in_transaction:
      case driver::transaction_status::failed:
        return slot_state::resetting;
      default:
        return slot_state::closing;
    }
  }

  static void end_lease(slot_type& place, time_point now) noexcept {
    const auto span = now - place.acquired.load(std::memory_order_relaxed);
    const auto before = place.held.load(std::memory_order_relaxed);
    place.held.store(before + std::chrono::nanoseconds{span}.count(), std::memory_order_relaxed);
    place.last_used.store(now, std::memory_order_relaxed);
    place.acquired.store(time_point::max(), std::memory_order_relaxed);
    place.holder.store({}, std::memory_order_relaxed);
  }

  void give_back_slowly(slot_type& place, slot_state next) noexcept {
    std::shared_ptr<pool_core> keep;  // ends after the lock
    const auto now = Clock::now();
    lock_type lock{state_.mutex};
    keep = self_;
    place.guarded = false;
    place.guard = time_point::max();
    if (next == slot_state::closing || place.cut) {
      if (!place.connection->usable()) state_.condition.note_broken(now);
      retire_or_close(lock, place, state_.stats.closed_broken, now);
    } else if (state_.closed) {
      retire_or_close(lock, place, state_.uncounted, now);
    } else if (next == slot_state::resetting) {
      state_.clean_up(place, slot_state::resetting);
    } else {
      state_.admit(place, now);
    }
    lease_ended();
  }

  /// Under the mutex; the caller keeps the core alive.
  void lease_ended() noexcept {
    if (!state_.closed) return;
    state_.changed.notify_all();
    if (state_.lent() == 0) self_.reset();
  }

  /// When the workers are gone, the caller closes, without a farewell that could block.
  void retire_or_close(lock_type& lock, slot_type& place, std::uint64_t& reason,
                       time_point now) noexcept {
    if (!state_.stopped) return state_.retire(place, reason, now);
    ++reason;
    state_.slots.move(place, slot_state::closing);
    lock.unlock();
    place.connection->abort();
    place.connection.reset();
    lock.lock();
    state_.vacate(place);
  }

  // End

  void begin_close() {
    state_.begin_close(Clock::now());
    if (state_.lent() > 0) self_ = this->shared_from_this();
  }

  // Workers

  void run(slot_type& job) {
    switch (job.state) {  // does not change while the job is ours
      case slot_state::connecting:
        return run_connect(job);
      case slot_state::resetting:
        return run_reset(job);
      case slot_state::checking:
        return run_check(job);
      default:
        return run_close(job);
    }
  }

  void run_connect(slot_type& job) {
    const auto began = job.acquired.load(std::memory_order_relaxed);
    cause why;
    try {
      auto opened = connect_(deadline::in(state_.options.connect_timeout));
      if (hooks_.on_connect) hooks_.on_connect(*opened);
      job.connection = std::move(opened);
    } catch (...) {
      why = cause_of(std::current_exception());
    }
    const auto now = Clock::now();
    lock_type lock{state_.mutex};
    why ? state_.connect_failed(job, began, now, why) : state_.connected(job, began, now);
    state_.start_connects(now);
    state_.changed.notify_all();
    tell_outage(lock);
  }

  cause cause_of(const std::exception_ptr& thrown) const noexcept {
    try {
      return std::make_shared<const connect_failure>(describe(thrown));
    } catch (const std::bad_alloc&) {
      return out_of_memory_;
    }
  }

  /// Unlocks and locks again when there is something to tell.
  void tell_outage(lock_type& lock) {
    if (!hooks_.on_outage || std::exchange(telling_, true)) return;  // who tells, tells all
    while (state_.outage_changed()) {
      const auto last = state_.is_down() ? state_.outages.last() : nullptr;
      lock.unlock();
      hooks_.on_outage(last.get());
      lock.lock();
    }
    telling_ = false;
  }

  void run_reset(slot_type& job) {
    bool clean = false;
    try {
      job.connection->command("ROLLBACK", deadline::in(reset_budget));
      clean = after_use(*job.connection) == slot_state::ready;
    } catch (const std::exception&) {
      clean = false;
    }
    const lock_type lock{state_.mutex};
    const auto now = Clock::now();
    ++state_.stats.rollbacks_on_return;
    clean ? state_.admit(job, now) : state_.retire(job, state_.stats.closed_broken, now);
  }

  void run_check(slot_type& job) {
    const bool alive = job.connection->ping(deadline::in(ping_budget)) && job.connection->usable();
    const lock_type lock{state_.mutex};
    const auto now = Clock::now();
    ++state_.stats.pings;
    if (alive) {
      job.last_check = now;
      state_.admit(job, now);
    } else {
      state_.note_death(job, now);
      state_.retire(job, state_.stats.closed_broken, now);
    }
  }

  void run_close(slot_type& job) {
    if (after_use(*job.connection) != slot_state::ready) job.connection->abort();
    job.connection.reset();
    const lock_type lock{state_.mutex};
    state_.vacate(job);
    state_.start_connects(Clock::now());
    state_.changed.notify_all();
  }

  // Time

  void run_due(lock_type& lock, time_point now) {
    state_.cut_overdue(now);
    if (state_.closed) return state_.arm(now);
    auto& outages = state_.outages;
    if (outages.declare_if_due(now)) state_.fail_waiters(outages.last());
    const auto leaks = state_.upkeep(now);
    state_.start_connects(now);
    if (state_.hopeless(now)) state_.fail_waiters(outages.last());
    tell_outage(lock);
    if (leaks.empty() || !hooks_.on_leak) return;
    lock.unlock();
    for (const held_lease& leak : leaks) hooks_.on_leak(leak);
    lock.lock();
  }

  const fork_epoch fork_;
  const std::string endpoint_;
  const connector connect_;
  const pool_hooks<Connection> hooks_;
  state_type state_;
  const cause out_of_memory_ = std::make_shared<const connect_failure>(connect_failure{
      errc::configuration, true, "out of memory", {}, std::make_exception_ptr(std::bad_alloc{})});
  bool telling_ = false;             // somebody tells of an outage
  std::shared_ptr<pool_core> self_;  // from the end of the pool to that of its last lease
};

}  // namespace soundhash::db
