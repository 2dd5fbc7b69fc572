#pragma once

#include <algorithm>
#include <cstddef>
#include <functional>
#include <memory>
#include <mutex>
#include <system_error>
#include <utility>
#include <vector>

#include <soundhash/db/core/deadline.hpp>

#include "pool/intrusive_list.hpp"

namespace soundhash::db {

/// A bounded set of threads, started on demand, that run jobs of their owner in order.
/// The owner's mutex guards everything here; jobs run without it.
/// Thread safety: every function is called with the owner's mutex held.
template <class Job, class Threads>
class workers {
  using lock_type = std::unique_lock<typename Threads::mutex>;

 public:
  workers(typename Threads::mutex& guard, std::size_t most, std::function<void(Job&)> run)
      : guard_{guard}, most_{most}, run_{std::move(run)} {}

  /// The threads keep `owner` alive. Ahead of all else.
  void belong_to(std::weak_ptr<void> owner) noexcept { owner_ = std::move(owner); }

  /// Queues a job and starts a thread when none is free. When no thread can be started, the job
  /// waits for the next submit.
  void submit(Job& job) noexcept {
    jobs_.push_back(job);
    resume();
    wake_.notify_one();
  }

  /// Starts the thread that could not be started before.
  void resume() noexcept {
    if (!stopping_ && free_ < jobs_.size() && threads_.size() < most_) start();
  }

  /// Takes back a job if no thread has begun it.
  template <class Predicate>
  Job* withdraw(Predicate wanted) noexcept {
    Job* job = jobs_.front();
    while (job && !wanted(*job)) job = job->next;
    if (job) jobs_.erase(*job);
    return job;
  }

  /// Lets the threads finish the queue and end; those that have not by `until` are left behind, and
  /// end by themselves. Unlocks and locks again.
  void stop(lock_type& lock, deadline until) {
    stopping_ = true;
    wake_.notify_all();
    const bool ended = ended_.wait_until(lock, until.at(), [this] { return running_ == 0; });
    auto threads = std::exchange(threads_, {});
    lock.unlock();
    for (auto& thread : threads) ended ? thread.join() : thread.detach();
    lock.lock();
  }

 private:
  void start() noexcept {
    try {
      threads_.reserve(most_);
      threads_.emplace_back([this, owner = owner_.lock()] { work(); });
      ++running_;
    } catch (const std::exception&) {
      return;  // out of threads or memory: those that run already go on
    }
  }

  void work() {
    lock_type lock{guard_};
    while (Job* const job = await_job(lock)) {
      lock.unlock();
      run_(*job);
      lock.lock();
    }
    --running_;
    ended_.notify_all();
  }

  Job* await_job(lock_type& lock) {
    ++free_;
    wake_.wait(lock, [this] { return stopping_ || !jobs_.empty(); });
    --free_;
    return jobs_.pop_front();
  }

  typename Threads::mutex& guard_;
  std::size_t most_;
  std::weak_ptr<void> owner_;
  std::function<void(Job&)> run_;
  typename Threads::condition wake_;
  typename Threads::condition ended_;
  intrusive_list<Job> jobs_;
  std::vector<typename Threads::thread> threads_;
  std::size_t free_ = 0;
  std::size_t running_ = 0;
  bool stopping_ = false;
};

}  // namespace soundhash::db
