#pragma once

#include <chrono>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <random>
#include <source_location>
#include <stop_token>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <soundhash/db/core/deadline.hpp>
#include <soundhash/db/core/query.hpp>
#include <soundhash/db/pool/pool_options.hpp>
#include <soundhash/db/pool/pool_stats.hpp>

#include "driver/connection.hpp"
#include "pool/pool_clock.hpp"
#include "pool/pool_core.hpp"
#include "pool/pool_hooks.hpp"
#include "pool/threads.hpp"

namespace soundhash::db {

/// What the pool needs of a connection; see driver::connection. Its status is unknown when it is
/// not usable. The destructor closes.
template <class T>
concept poolable = requires(T& connection, const T& seen, std::string_view sql, deadline until) {
  { seen.usable() }
  noexcept->std::same_as<bool>;
  { seen.status() }
  noexcept->std::same_as<driver::transaction_status>;
  { seen.quiet() }
  noexcept->std::same_as<bool>;
  { connection.ping(until) }
  noexcept->std::same_as<bool>;
  { connection.command(sql, until) } -> std::same_as<std::string>;
  { connection.abort() }
  noexcept;
  { connection.cut() }
  noexcept;
};

/// A bounded pool of connections. Callers are served strictly first come, first served; connections
/// are opened, rolled back and closed by the pool's own threads.
/// Thread safety: safe for concurrent use; a lease is for one thread at a time.
template <poolable Connection, class Clock = pool_clock, class Threads = os_threads>
class basic_pool {
  using core = pool_core<Connection, Clock, Threads>;

 public:
  /// Opens one connection by the deadline; never returns nullptr. Called from several threads at
  /// once, and at most `connect_timeout` after the end of the pool.
  /// Throws: connection_error or timeout_error; anything else fails the waiting callers with it.
  using connector = typename core::connector;

  /// A connection on loan; gives it back when destroyed, without blocking on the network. May
  /// outlive the pool.
  class lease {
   public:
    lease() noexcept = default;
    lease(lease&& other) noexcept { swap(other); }
    lease& operator=(lease&& other) noexcept {
      lease{std::move(other)}.swap(*this);
      return *this;
    }
    ~lease() {
      if (place_) pool_->give_back(*place_, discarded_);
    }

    /// Throws: as require_own().
    Connection& operator*() const { return *used(); }
    Connection* operator->() const { return used(); }
    /// False when empty or moved from.
    explicit operator bool() const noexcept { return place_ != nullptr; }

    /// Time the acquire took beyond the fast path; zero when a connection was at hand.
    [[nodiscard]] std::chrono::nanoseconds waited() const noexcept { return waited_; }
    /// Throws: pool_error{used_after_fork} in the child of a fork.
    void require_own() const { pool_->require_own(); }
    /// Reports name this query instead of the place of the acquire, which is our own.
    void used_for(const query& statement) noexcept {
      place_->query.store(statement.name().data(), std::memory_order_relaxed);
    }
    /// The connection is closed when the lease ends.
    void discard() noexcept { discarded_ = true; }
    /// At that time the session is cut, also in the middle of a call on it.
    void guard(deadline until) { pool_->guard(*place_, until); }

   private:
    friend class basic_pool;
    lease(core& pool, typename core::grant granted) noexcept
        : pool_{&pool}, place_{granted.place}, waited_{granted.waited} {}

    void swap(lease& other) noexcept {
      std::swap(pool_, other.pool_);
      std::swap(place_, other.place_);
      std::swap(waited_, other.waited_);
      std::swap(discarded_, other.discarded_);
    }

    /// Whoever uses it holds it, also when another thread acquired it.
    Connection* used() const {
      require_own();
      place_->holder.store(Threads::self(), std::memory_order_relaxed);
      return place_->connection.get();
    }

    core* pool_ = nullptr;  // lives as long as its leases
    typename core::slot_type* place_ = nullptr;
    std::chrono::nanoseconds waited_{};
    bool discarded_ = false;
  };

  /// Connects to nothing unless `min_idle` is set. `endpoint` names the server in messages; `seed`
  /// drives the jitter.
  basic_pool(const pool_options& options, std::string endpoint, connector connect,
             pool_hooks<Connection> hooks = {}, std::uint64_t seed = std::random_device{}())
      : core_{std::make_shared<core>(options, std::move(endpoint), std::move(connect),
                                     std::move(hooks), seed)} {
    core_->start();
  }

  basic_pool(const basic_pool&) = delete;
  basic_pool& operator=(const basic_pool&) = delete;

  /// As close() without waiting for leases. In the child of a fork everything is left as it is: the
  /// sockets are the parent's, and the threads to join do not exist.
  ~basic_pool() {
    if (core_->is_parents()) core_->abandon();
    core_->close(deadline{deadline::clock::time_point{}}, false);
  }

  /// A connection, checked when it was idle for long. Waits at most until `until` and at most
  /// `acquire_timeout`; with the deadline passed, only what is idle is given.
  /// Throws: pool_error (pool_timeout, pool_overloaded, pool_closed; nested_acquire when this
  /// thread took all the connections there may be), connection_error with the cause when the
  /// server cannot be reached, cancelled when `stop` is requested.
  [[nodiscard]] lease acquire(deadline until = {}, std::stop_token stop = {},
                              std::source_location where = std::source_location::current()) {
    lease granted{*core_, core_->acquire({until, std::move(stop), where})};
    try {
      granted.pool_->greet(*granted.place_->connection);
    } catch (...) {
      granted.discard();
      throw;
    }
    return granted;
  }

  /// Changes how many connections there may be. Those too many close: idle ones now, others when
  /// they are returned.
  void resize(std::optional<std::size_t> size, std::optional<std::size_t> max_overflow) {
    core_->resize(size, max_overflow);
  }

  [[nodiscard]] pool_stats stats() const { return core_->stats(); }

  /// Throws: pool_error{used_after_fork} in the child of a fork.
  void require_own() const { core_->require_own(); }
  /// In the child of a fork: its sockets belong to another process.
  [[nodiscard]] bool is_parents() const noexcept { return core_->is_parents(); }

  /// Fails the waiting callers, closes what is idle and waits for the leases until the deadline;
  /// those that are left are returned, and their sessions cut. Threads of the pool get two seconds
  /// more; one that still connects then ends by itself.
  std::vector<held_lease> close(deadline until) { return core_->close(until, true); }

  /// Does what is due by `Clock` now. The pool does so by itself as real time passes; call it after
  /// moving a clock that does not.
  void run_due() { core_->run_due(); }

 private:
  std::shared_ptr<core> core_;
};

}  // namespace soundhash::db
