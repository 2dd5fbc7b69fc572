#pragma once

#include <chrono>
#include <condition_variable>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <utility>

namespace soundhash::db {

/// One thread, started when first armed, that calls its owner when the time has come.
/// The owner's mutex guards everything here and is held during the call, which must not block.
/// Thread safety: every function is called with the owner's mutex held.
template <class Clock>
class timer {
 public:
  using time_point = typename Clock::time_point;

  timer(std::mutex& guard, std::function<void(time_point now)> fire)
      : guard_{guard}, fire_{std::move(fire)} {}

  /// Fires at `at`, or earlier if armed so before. The thread keeps `owner` alive.
  void arm(const std::shared_ptr<void>& owner, time_point at) noexcept {
    if (stopping_ || at >= due_) return;
    due_ = at;
    if (!thread_.joinable()) start(owner);
    wake_.notify_one();
  }

  /// Ends the thread. Unlocks and locks again.
  void stop(std::unique_lock<std::mutex>& lock) {
    stopping_ = true;
    wake_.notify_one();
    auto thread = std::exchange(thread_, {});
    lock.unlock();
    if (thread.joinable()) thread.join();
    lock.lock();
  }

 private:
  void start(const std::shared_ptr<void>& owner) noexcept {
    try {
      thread_ = std::thread{[this, owner] { watch(); }};
    } catch (const std::exception&) {
      due_ = time_point::max();  // the next arm() tries again
    }
  }

  void watch() {
    std::unique_lock lock{guard_};
    while (!stopping_) {
      if (due_ == time_point::max()) {
        wake_.wait(lock);
      } else if (const auto now = Clock::now(); now < due_) {
        wake_.wait_for(lock, due_ - now);
      } else {
        due_ = time_point::max();
        fire_(now);
      }
    }
  }

  std::mutex& guard_;
  std::function<void(time_point)> fire_;
  std::condition_variable wake_;
  std::thread thread_;
  time_point due_ = time_point::max();
  bool stopping_ = false;
};

}  // namespace soundhash::db
