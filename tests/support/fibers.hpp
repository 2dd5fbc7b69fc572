#pragma once

#include <chrono>
#include <compare>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <random>
#include <utility>
#include <vector>

namespace soundhash::db::test {

/// When a wait began and when it was notified, counted by the waits and notifications of all.
struct wait_record {
  std::uint64_t began = 0;
  std::uint64_t notified = 0;
};

/// Threads that are no threads: fibers on one thread of the system, and a seeded scheduler that
/// decides at every lock, wait and point() who goes on. The same seed gives the same run, with all
/// its races.
///
/// One simulation at a time; everything here runs on the thread that made it.
class simulation {
 public:
  struct fiber;

  /// How often others may go on: at every lock and atomic step too, or only where a fiber waits or
  /// yields.
  enum class races : std::uint8_t { everywhere, at_waits };

  explicit simulation(std::uint64_t seed, races where = races::everywhere);
  ~simulation();
  simulation(const simulation&) = delete;
  simulation& operator=(const simulation&) = delete;

  /// The one that exists.
  static simulation& current();

  /// Starts a fiber. What it throws ends the test.
  fiber& spawn(std::function<void()> body);

  /// Lets some fiber go on. False when none can: all have ended, or wait for what only another
  /// fiber, or time, can bring.
  bool step();
  /// Ends the wait of some fiber that waits for a time; false when none does.
  bool pass_time();

  /// Decisions taken so far.
  [[nodiscard]] std::uint64_t steps() const noexcept { return steps_; }
  /// No fiber is inside a critical section.
  [[nodiscard]] bool unlocked() const noexcept { return locked_ == 0; }
  [[nodiscard]] bool ended(const fiber& which) const noexcept;

  // Called by fibers

  /// Somebody else may go on first.
  void yield();
  /// The same, when races are everywhere.
  void point();
  /// Lets others go on until `ready` holds.
  void await(const std::function<bool()>& ready);
  /// Runs `body` when no fiber is inside a critical section, and lets nobody else go on meanwhile.
  void undisturbed(const std::function<void()>& body);
  /// From now on the waits of this fiber may time out.
  void be_impatient(bool impatient) noexcept;

  /// Of this fiber, the latest that had a time limit.
  [[nodiscard]] wait_record last_wait() const noexcept;

 private:
  friend struct fibers;

  enum class why : std::uint8_t { mutex, condition, condition_for, condition_until, join, yield };
  void suspend(why reason, const void* on);
  void wake(fiber& which) noexcept;
  void wake_one(const void* on) noexcept;
  void wake_all(const void* on) noexcept;
  void resume(fiber& next);
  std::vector<fiber*> those(const std::function<bool(const fiber&)>& chosen);
  std::size_t pick(std::size_t count);
  static void enter();

  std::mt19937_64 random_;
  std::vector<std::unique_ptr<fiber>> fibers_;
  std::vector<fiber*> candidates_;
  fiber* running_ = nullptr;
  std::uint64_t steps_ = 0;
  std::uint64_t sequence_ = 0;
  int locked_ = 0;
  bool preemptive_;
};

/// The simulation as the pool's threads; see os_threads.
struct fibers {
  class mutex {
   public:
    void lock();
    void unlock() noexcept;

   private:
    bool locked_ = false;
  };

  class condition {
   public:
    template <class Predicate>
    void wait(std::unique_lock<mutex>& lock, Predicate ready) {
      while (!ready()) wait(lock);
    }
    void wait(std::unique_lock<mutex>& lock);
    void wait_for(std::unique_lock<mutex>& lock, std::chrono::nanoseconds span);
    /// Times out only for fibers that are impatient.
    template <class Time, class Predicate>
    bool wait_until(std::unique_lock<mutex>& lock, const Time&, Predicate ready) {
      while (!ready()) {
        if (!wait_once(lock)) return ready();
      }
      return true;
    }
    void notify_one() noexcept;
    void notify_all() noexcept;

   private:
    bool wait_once(std::unique_lock<mutex>& lock);
  };

  struct id {
    std::uint32_t number = 0;
    friend auto operator<=>(id, id) = default;
  };

  class thread {
   public:
    thread() = default;
    explicit thread(std::function<void()> body);
    thread(thread&& other) noexcept : body_{std::exchange(other.body_, nullptr)} {}
    thread& operator=(thread&& other) noexcept {
      std::swap(body_, other.body_);
      return *this;
    }
    [[nodiscard]] bool joinable() const noexcept { return body_ != nullptr; }
    void join();
    void detach() noexcept { body_ = nullptr; }

   private:
    simulation::fiber* body_ = nullptr;
  };

  static id self() noexcept;
  static void point() { simulation::current().point(); }
};

}  // namespace soundhash::db::test
