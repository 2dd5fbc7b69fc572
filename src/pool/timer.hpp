#pragma once

#include <chrono>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <utility>

namespace soundhash::db {

/// One thread, started when first armed, that calls its owner when the time has come.
/// The owner's mutex guards everything here; the call gets the lock, and may unlock it meanwhile.
/// Thread safety: every function is called with the owner's mutex held.
template <class Clock, class Threads>
class timer {
 public:
  using time_point = typename Clock::time_point;
  using lock_type = std::unique_lock<typename Threads::mutex>;

  timer(typename Threads::mutex& guard, std::function<void(lock_type&, time_point now)> fire)
      : guard_{guard}, fire_{std::move(fire)} {}

  /// The thread keeps `owner` alive. Ahead of all else.
  void belong_to(std::weak_ptr<void> owner) noexcept { owner_ = std::move(owner); }

  /// Fires at `at`, or earlier if armed so before.
  void arm(time_point at) noexcept {
    if (stopping_ || at >= due_) return;
    due_ = at;
    if (!thread_.joinable()) start();
    wake_.notify_one();
  }

  /// Ends the thread. Unlocks and locks again.
  void stop(lock_type& lock) {
    stopping_ = true;
    wake_.notify_one();
    auto thread = std::exchange(thread_, {});
    lock.unlock();
    if (thread.joinable()) thread.join();
    lock.lock();
  }

 private:
  void start() noexcept {
    try {
      thread_ = typename Threads::thread{[this, owner = owner_.lock()] { watch(); }};
    } catch (const std::exception&) {
      due_ = time_point::max();  // the next arm() tries again
    }
  }

  void watch() {
    lock_type lock{guard_};
    while (!stopping_) {
      if (due_ == time_point::max()) {
        wake_.wait(lock);
      } else if (const auto now = Clock::now(); now < due_) {
        wake_.wait_for(lock, due_ - now);
      } else {
        due_ = time_point::max();
        fire_(lock, now);
      }
    }
  }

  typename Threads::mutex& guard_;
  std::function<void(lock_type&, time_point)> fire_;
  std::weak_ptr<void> owner_;
  typename Threads::condition wake_;
  typename Threads::thread thread_;
  time_point due_ = time_point::max();
  bool stopping_ = false;
};

}  // namespace soundhash::db
