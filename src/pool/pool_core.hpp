#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <functional>
#include <memory>
#include <mutex>
#include <new>
#include <optional>
#include <random>
#include <source_location>
#include <stop_token>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <soundhash/db/core/deadline.hpp>
#include <soundhash/db/pool/pool_options.hpp>
#include <soundhash/db/pool/pool_stats.hpp>

#include "driver/connection.hpp"
#include "pool/acquire_error.hpp"
#include "pool/fork_epoch.hpp"
#include "pool/intrusive_list.hpp"
#include "pool/outage.hpp"
#include "pool/slot_table.hpp"
#include "pool/timer.hpp"
#include "pool/workers.hpp"

namespace soundhash::db {

/// A lease that was not returned when the pool closed.
struct held_lease {
  std::source_location where;  ///< of the acquire
  std::chrono::nanoseconds held{};
};

/// The state behind basic_pool and its leases, which may outlive it.
///
/// One mutex, never held across I/O: connects, rollbacks and closes run on the workers, health
/// checks on the caller's thread. Two invariants make the queue fair: while anybody waits, nothing
/// is idle; and whatever frees capacity calls start_connects(), so that the head is never
/// forgotten. Thread safety: safe for concurrent use.
template <class Connection, class Clock>
class pool_core : public std::enable_shared_from_this<pool_core<Connection, Clock>> {
 public:
  using connector = std::function<std::unique_ptr<Connection>(deadline)>;
  using slot_type = slot<Connection, Clock>;
  using time_point = typename Clock::time_point;

  static constexpr std::size_t most_connecting = 4;
  static constexpr std::size_t most_workers = 2 * most_connecting;  // half is left for closing
  static constexpr std::chrono::seconds ping_budget{2};
  static constexpr std::chrono::seconds reset_budget{2};
  static constexpr std::chrono::seconds overflow_idle{5};
  static constexpr std::chrono::seconds second_death{1};
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
            std::uint64_t seed)
      : options_{options},
        limit_{options.size && options.max_overflow ? *options.size + *options.max_overflow : 0},
        endpoint_{std::move(endpoint)},
        connect_{std::move(connect)},
        random_{seed},
        outage_{options.fail_fast_after, seed},
        workers_{mutex_, most_workers, [this](slot_type& job) { run(job); }},
        timer_{mutex_, [this](time_point now) { run_due(now); }} {}

  grant acquire(request asked) {
    if (fork_.crossed()) throw forked(endpoint_);
    const auto now = Clock::now();
    slot_type* const found = take_unchecked(now, asked.where);
    if (found && found->check == health_check::none) return {found, {}};
    return acquire_slowly(found, now, asked);
  }

  void give_back(slot_type& place, bool discarded) noexcept {
    if (fork_.crossed()) return;  // the parent's
    const auto now = Clock::now();
    const auto next = discarded ? slot_state::closing : after_use(*place.connection);
    std::unique_lock lock{mutex_};
    if (next == slot_state::closing) {
      if (!place.connection->usable()) last_broken_ = now;
      close_slot(lock, place, stats_.closed_broken, now);
    } else if (closed_) {
      close_slot(lock, place, uncounted_, now);
    } else if (next == slot_state::resetting) {
      slots_.move(place, slot_state::resetting);
      submit(place);
    } else {
      admit(place, now);
    }
    if (closed_) changed_.notify_all();
  }

  [[nodiscard]] pool_stats stats() const {
    std::lock_guard lock{mutex_};
    return snapshot();
  }

  /// Sockets and threads belong to another process.
  [[nodiscard]] bool is_parents() const noexcept { return fork_.crossed(); }
  /// Keeps all of it for ever, unused: nothing of it may be closed or joined here.
  void abandon(std::shared_ptr<pool_core> self) noexcept { abandoned_ = std::move(self); }

  std::vector<held_lease> close(deadline until) {
    if (fork_.crossed()) return {};
    std::unique_lock lock{mutex_};
    if (!closed_) begin_close();
    changed_.wait_until(lock, until.at(), [this] { return slots_.total() == 0; });
    stopped_ = true;
    timer_.stop(lock);
    workers_.stop(lock, std::max(until, deadline::in(stop_grace)));
    return still_held();
  }

  /// Does what is due by the clock. The timer calls it by itself.
  void run_due() {
    std::lock_guard lock{mutex_};
    run_due(Clock::now());
  }

 private:
  enum class outcome : std::uint8_t { waiting, granted, failed, closed, cancelled, timed_out };

  /// Lives on the stack of the caller who waits. The outcome is decided once, under the mutex.
  struct waiter {
    waiter* previous = nullptr;
    waiter* next = nullptr;
    std::condition_variable decided;
    outcome result = outcome::waiting;
    slot_type* place = nullptr;
    typename outage<Clock>::cause why;
    std::source_location where;
    std::thread::id thread = std::this_thread::get_id();
  };

  // Acquire

  /// The fast path: one lock, no allocation. Together with admit() it is all that a lock-free
  /// version replaces.
  slot_type* take_unchecked(time_point now, const std::source_location& where) noexcept {
    std::lock_guard lock{mutex_};
    slot_type* const found = take_idle(now, where);
    return found ? count_at_once(found) : nullptr;
  }

  /// One that must be checked first counts when it has passed.
  slot_type* count_at_once(slot_type* found) noexcept {
    if (found->check == health_check::none) ++stats_.acquired_at_once;
    return found;
  }

  /// The most recently used one, so that the others grow old enough to be closed.
  slot_type* take_idle(time_point now, const std::source_location& where) noexcept {
    while (slot_type* const newest = idle_.back()) {
      idle_.erase(*newest);
      if (!too_old(*newest, now)) {
        newest->check = check_due(*newest, now);
        mark_used(*newest, now, where, std::this_thread::get_id());
        return newest;
      }
      retire(*newest, stats_.closed_recycled, now);
    }
    return nullptr;
  }

  health_check check_due(const slot_type& place, time_point now) const noexcept {
    const auto unused = now - place.last_used;
    if (unused > options_.ping_after) return health_check::ping;
    if (unused > options_.recent_use) return health_check::look;
    const bool suspect = last_broken_ && place.last_used <= *last_broken_;
    return suspect ? health_check::look : health_check::none;
  }

  void mark_used(slot_type& place, time_point now, const std::source_location& where,
                 std::thread::id holder) noexcept {
    slots_.move(place, slot_state::used);
    place.acquired = now;
    place.where = where;
    place.holder.store(holder, std::memory_order_relaxed);
  }

  grant acquire_slowly(slot_type* found, time_point entered, request& asked) {
    asked.budget =
        std::min<std::chrono::nanoseconds>(options_.acquire_timeout, asked.until.remaining());
    asked.until = std::min(asked.until, deadline::in(options_.acquire_timeout));
    bool served_before = false;
    while (!found || !alive(*found, asked.until)) {
      if (found) {
        bury(*found, !asked.until.passed());
        served_before = true;
      }
      found = take_or_wait(asked, served_before);
    }
    if (found->check != health_check::none) count_checked();
    return {found, Clock::now() - entered};
  }

  void count_checked() noexcept {
    std::lock_guard lock{mutex_};
    ++stats_.acquired_at_once;
  }

  /// On the caller's thread, without the lock.
  bool alive(slot_type& place, deadline until) noexcept {
    Connection& connection = *place.connection;
    if (place.check == health_check::none) return true;
    if (place.check == health_check::look && connection.quiet()) return true;
    // A ping without time to answer would condemn a healthy connection.
    if (until.passed()) return connection.quiet();
    pings_.fetch_add(1, std::memory_order_relaxed);
    return connection.ping(std::min(until, deadline::in(ping_budget))) && connection.usable();
  }

  /// A connection that did not pass. `proven`: it had its time to answer.
  void bury(slot_type& place, bool proven) {
    const auto now = Clock::now();
    std::unique_lock lock{mutex_};
    if (proven && place.generation == generation_) note_death(now);
    close_slot(lock, place, stats_.closed_broken, now);
  }

  void note_death(time_point now) noexcept {
    const bool second = last_death_ && now - *last_death_ <= second_death;
    last_death_ = now;
    if (!second) return;
    ++generation_;
    while (slot_type* const dropped = idle_.pop_front()) {
      retire(*dropped, stats_.closed_broken, now);
    }
  }

  slot_type* take_or_wait(const request& asked, bool served_before) {
    const auto now = Clock::now();
    std::unique_lock lock{mutex_};
    if (!closed_) {
      if (slot_type* const found = take_idle(now, asked.where)) return count_at_once(found);
    }
    refuse_hopeless(lock, asked, now, served_before);
    waiter self;
    self.where = asked.where;
    served_before ? waiters_.push_front(self) : waiters_.push_back(self);
    start_connects(now);
    await(lock, self, asked);
    return settle(lock, self, asked, now);
  }

  /// Throws what waiting could not change.
  void refuse_hopeless(std::unique_lock<std::mutex>& lock, const request& asked, time_point now,
                       bool served_before) {
    if (closed_) fail(lock, [this](const pool_stats&) { throw db::closed(endpoint_); });
    if (asked.stop.stop_requested()) fail_cancelled(lock);
    if (asked.until.passed()) fail_timed_out(lock, asked);
    if (holds_all()) fail(lock, [this](const pool_stats& s) { throw db::nested(endpoint_, s); });
    if (outage_.declare_if_due(now)) fail_waiters(outage_.last());
    if (outage_.declared() && slots_.live() == 0 && !probing() && !outage_.may_connect(now)) {
      fail_with(lock, outage_.last());
    }
    if (waiters_.size() >= options_.max_waiters && !served_before) {
      ++stats_.overloads;
      fail(lock, [this](const pool_stats& s) { throw db::overloaded(endpoint_, s); });
    }
  }

  /// The limit is reached, and by this thread alone: only itself could serve it.
  bool holds_all() const noexcept {
    if (limit_ == 0 || slots_.count(slot_state::used) < limit_) return false;
    const auto self = std::this_thread::get_id();
    return std::all_of(slots_.begin(), slots_.end(), [self](const slot_type& place) {
      return place.state != slot_state::used ||
             place.holder.load(std::memory_order_relaxed) == self;
    });
  }

  /// Removes the waiter when stop is requested, unless its outcome was decided before.
  struct canceller {
    pool_core* pool;
    waiter* who;
    void operator()() const noexcept {
      std::lock_guard lock{pool->mutex_};
      pool->decide(*who, outcome::cancelled);
    }
  };

  void await(std::unique_lock<std::mutex>& lock, waiter& self, const request& asked) {
    std::optional<std::stop_callback<canceller>> watch;
    if (asked.stop.stop_possible()) {
      lock.unlock();  // the callback may run right here
      watch.emplace(asked.stop, canceller{this, &self});
      lock.lock();
    }
    self.decided.wait_until(lock, asked.until.at(),
                            [&self] { return self.result != outcome::waiting; });
    decide(self, outcome::timed_out);
    if (!watch) return;
    lock.unlock();  // a callback under way waits for the lock, and reset() for it
    watch.reset();
    lock.lock();
  }

  /// Takes a waiter out of the queue with an outcome; the first decision stands.
  void decide(waiter& who, outcome result) noexcept {
    if (who.result != outcome::waiting) return;
    waiters_.erase(who);
    who.result = result;
    who.decided.notify_one();  // under the lock: afterwards the waiter may be gone
  }

  slot_type* settle(std::unique_lock<std::mutex>& lock, const waiter& self, const request& asked,
                    time_point queued) {
    stats_.wait_time += Clock::now() - queued;
    switch (self.result) {
      case outcome::granted:
        ++stats_.acquired_after_wait;
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

  // Errors: the state is read under the lock, the message is made without it

  template <class Thrower>
  [[noreturn]] void fail(std::unique_lock<std::mutex>& lock, Thrower thrower) {
    const auto seen = snapshot();
    lock.unlock();
    thrower(seen);
    std::abort();  // not reached: a thrower throws
  }

  [[noreturn]] void fail_with(std::unique_lock<std::mutex>& lock,
                              const typename outage<Clock>::cause& why) {
    fail(lock, [this, &why](const pool_stats& seen) { throw_cause(*why, endpoint_, seen); });
  }

  [[noreturn]] void fail_cancelled(std::unique_lock<std::mutex>& lock) {
    fail(lock, [this](const pool_stats&) { throw db::stopped(endpoint_); });
  }

  [[noreturn]] void fail_timed_out(std::unique_lock<std::mutex>& lock, const request& asked) {
    ++stats_.timeouts;
    const auto waited = std::chrono::ceil<std::chrono::milliseconds>(asked.budget);
    const auto last = outage_.last();
    fail(lock,
         [&](const pool_stats& seen) { throw db::timed_out(endpoint_, waited, seen, last.get()); });
  }

  // Return

  static slot_state after_use(const Connection& connection) noexcept {
    if (!connection.usable()) return slot_state::closing;
    switch (connection.status()) {
      case driver::transaction_status::idle:
        return slot_state::idle;
      case driver::transaction_status::in_transaction:
      case driver::transaction_status::failed:
        return slot_state::resetting;
      default:
        return slot_state::closing;
    }
  }

  /// A healthy connection, returned or new: to the head of the queue, or idle.
  void admit(slot_type& place, time_point now) noexcept {
    place.last_used = now;
    if (closed_) return retire(place, uncounted_, now);
    if (too_old(place, now)) return retire(place, stats_.closed_recycled, now);
    if (place.generation != generation_) return retire(place, stats_.closed_broken, now);
    if (waiter* const head = waiters_.front()) return hand_over(place, *head, now);
    slots_.move(place, slot_state::idle);
    idle_.push_back(place);
    if (above_size()) timer_.arm(owner(), idle_.front()->last_used + overflow_idle);
  }

  void hand_over(slot_type& place, waiter& head, time_point now) noexcept {
    place.check = health_check::none;
    mark_used(place, now, head.where, head.thread);
    head.place = &place;
    decide(head, outcome::granted);
  }

  // Closing

  /// Leaves the closing to a worker. `reason` is the counter of the statistics.
  void retire(slot_type& place, std::uint64_t& reason, time_point now) noexcept {
    ++reason;
    slots_.move(place, slot_state::closing);
    if (slots_.live() == 0) {
      outage_.nothing_live(now);
      arm();
    }
    submit(place);
  }

  /// As retire(), also when the workers are gone: then the caller closes, without a farewell that
  /// could block.
  void close_slot(std::unique_lock<std::mutex>& lock, slot_type& place, std::uint64_t& reason,
                  time_point now) noexcept {
    if (!stopped_) return retire(place, reason, now);
    ++reason;
    slots_.move(place, slot_state::closing);
    lock.unlock();
    place.connection->abort();
    place.connection.reset();
    lock.lock();
    slots_.move(place, slot_state::free);
    changed_.notify_all();
  }

  void begin_close() noexcept {
    closed_ = true;
    while (waiter* const head = waiters_.front()) decide(*head, outcome::closed);
    const auto queued = [](const slot_type& job) { return job.state == slot_state::connecting; };
    while (slot_type* const job = workers_.withdraw(queued)) slots_.move(*job, slot_state::free);
    const auto now = Clock::now();
    while (slot_type* const place = idle_.pop_front()) retire(*place, uncounted_, now);
  }

  std::vector<held_lease> still_held() const {
    std::vector<held_lease> held;
    const auto now = Clock::now();
    for (const slot_type& place : slots_) {
      if (place.state == slot_state::used) held.push_back({place.where, now - place.acquired});
    }
    return held;
  }

  // Workers

  void run(slot_type& job) {
    switch (job.state) {  // does not change while the job is ours
      case slot_state::connecting:
        return run_connect(job);
      case slot_state::resetting:
        return run_reset(job);
      default:
        return run_close(job);
    }
  }

  void run_connect(slot_type& job) {
    const auto began = Clock::now();
    typename outage<Clock>::cause why;
    try {
      job.connection = connect_(deadline::in(options_.connect_timeout));
    } catch (...) {
      why = std::make_shared<const connect_failure>(describe(std::current_exception()));
    }
    std::lock_guard lock{mutex_};
    why ? connect_failed(job, began, std::move(why)) : connected(job, began);
    changed_.notify_all();
  }

  void connected(slot_type& job, time_point began) {
    const auto now = Clock::now();
    ++stats_.connects;
    stats_.connect_time += now - began;
    outage_.succeeded();
    job.generation = generation_;
    job.expires = expiry(now);
    admit(job, now);
    start_connects(now);
  }

  void connect_failed(slot_type& job, time_point began, const typename outage<Clock>::cause& why) {
    const auto now = Clock::now();
    ++stats_.connect_failures;
    slots_.move(job, slot_state::free);
    outage_.failed(now, began, slots_.live() > 0, why);
    if (!why->transient || (outage_.declared() && slots_.live() == 0)) fail_waiters(why);
    start_connects(now);
  }

  void run_reset(slot_type& job) {
    bool clean = false;
    try {
      job.connection->command("ROLLBACK", deadline::in(reset_budget));
      clean = after_use(*job.connection) == slot_state::idle;
    } catch (const std::exception&) {
      clean = false;
    }
    std::lock_guard lock{mutex_};
    const auto now = Clock::now();
    ++stats_.rollbacks_on_return;
    clean ? admit(job, now) : retire(job, stats_.closed_broken, now);
  }

  void run_close(slot_type& job) {
    if (after_use(*job.connection) != slot_state::idle) job.connection->abort();
    job.connection.reset();
    std::lock_guard lock{mutex_};
    slots_.move(job, slot_state::free);
    start_connects(Clock::now());
    changed_.notify_all();
  }

  // Demand

  /// Opens what the queue needs and the limits allow.
  void start_connects(time_point now) noexcept {
    const auto most = outage_.failing() ? 1 : most_connecting;  // in trouble one probe suffices
    try {
      while (!closed_ && slots_.count(slot_state::connecting) < std::min(waiters_.size(), most) &&
             has_room() && outage_.may_connect(now)) {
        submit(slots_.obtain());
      }
    } catch (const std::bad_alloc&) {
      return;  // whatever frees capacity next tries again
    }
    arm();
  }

  void fail_waiters(const typename outage<Clock>::cause& why) noexcept {
    while (waiter* const head = waiters_.front()) {
      head->why = why;
      decide(*head, outcome::failed);
    }
  }

  // Time

  void run_due(time_point now) noexcept {
    if (closed_) return;
    while (above_size() && !idle_.empty() && now - idle_.front()->last_used >= overflow_idle) {
      retire(*idle_.pop_front(), stats_.closed_overflow, now);
    }
    if (outage_.declare_if_due(now)) fail_waiters(outage_.last());
    start_connects(now);
  }

  void arm() noexcept {
    if (!waiters_.empty()) timer_.arm(owner(), outage_.next_due(probing()));
    if (!idle_.empty() && above_size()) {
      timer_.arm(owner(), idle_.front()->last_used + overflow_idle);
    }
  }

  /// Lifetimes differ, so that connections opened together do not end together.
  time_point expiry(time_point now) {
    if (options_.recycle == options_.recycle.zero()) return time_point::max();
    const std::chrono::nanoseconds whole = options_.recycle;
    std::uniform_int_distribution<std::int64_t> shorter{0, whole.count() / 10};
    return now + std::chrono::nanoseconds{whole.count() - shorter(random_)};
  }

  // State

  /// While connects fail, an old connection is better than none.
  bool too_old(const slot_type& place, time_point now) const noexcept {
    return now >= place.expires && !outage_.failing();
  }
  bool has_room() const noexcept { return limit_ == 0 || slots_.total() < limit_; }
  bool probing() const noexcept { return slots_.count(slot_state::connecting) > 0; }
  bool above_size() const noexcept {
    return options_.size && slots_.live() + slots_.count(slot_state::connecting) > *options_.size;
  }

  void submit(slot_type& job) noexcept { workers_.submit(owner(), job); }
  std::shared_ptr<void> owner() noexcept { return this->shared_from_this(); }

  pool_stats snapshot() const {
    pool_stats seen = stats_;
    seen.idle = slots_.count(slot_state::idle);
    seen.used = slots_.count(slot_state::used);
    seen.connecting = slots_.count(slot_state::connecting);
    seen.closing = slots_.count(slot_state::closing) + slots_.count(slot_state::resetting);
    seen.waiting = waiters_.size();
    seen.limit = limit_;
    seen.pings = pings_.load(std::memory_order_relaxed);
    return seen;
  }

  const fork_epoch fork_;
  std::shared_ptr<pool_core> abandoned_;
  const pool_options options_;
  const std::size_t limit_;  // 0: none
  const std::string endpoint_;
  const connector connect_;

  mutable std::mutex mutex_;
  std::condition_variable changed_;  // a slot or a lease ended; for close()
  slot_table<Connection, Clock> slots_;
  intrusive_list<slot_type> idle_;  // by last use, oldest first
  intrusive_list<waiter> waiters_;
  std::mt19937_64 random_;
  outage<Clock> outage_;
  pool_stats stats_;  // counters only
  std::uint64_t uncounted_ = 0;
  std::atomic<std::uint64_t> pings_{0};
  std::uint64_t generation_ = 0;
  std::optional<time_point> last_death_;   // found by a ping
  std::optional<time_point> last_broken_;  // came back unusable
  bool closed_ = false;                    // no acquire any more
  bool stopped_ = false;                   // no workers any more
  workers<slot_type> workers_;
  timer<Clock> timer_;
};

}  // namespace soundhash::db
