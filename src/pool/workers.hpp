#pragma once

#include <algorithm>
#include <condition_variable>
#include <cstddef>
#include <functional>
#include <memory>
#include <mutex>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include <soundhash/db/core/deadline.hpp>

#include "pool/intrusive_list.hpp"

namespace soundhash::db {

/// A bounded set of threads, started on demand, that run jobs of their owner in order.
/// The owner's mutex guards everything here; jobs run without it.
/// Thread safety: every function is called with the owner's mutex held.
template <class Job>
class workers {
 public:
  workers(std::mutex& guard, std::size_t most, std::function<void(Job&)> run)
      : guard_{guard}, most_{most}, run_{std::move(run)} {}

  /// Queues a job and starts a thread when none is free. The threads keep `owner` alive. When no
  /// thread can be started, the job waits for the next submit.
  void submit(const std::shared_ptr<void>& owner, Job& job) noexcept {
    jobs_.push_back(job);
    if (!stopping_ && free_ < jobs_.size() && threads_.size() < most_) start(owner);
    wake_.notify_one();
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
  void stop(std::unique_lock<std::mutex>& lock, deadline until) {
    stopping_ = true;
    wake_.notify_all();
    const bool ended = ended_.wait_until(lock, until.at(), [this] { return running_ == 0; });
    auto threads = std::exchange(threads_, {});
    lock.unlock();
    for (auto& thread : threads) ended ? thread.join() : thread.detach();
    lock.lock();
  }

 private:
  void start(const std::shared_ptr<void>& owner) noexcept {
    try {
      threads_.reserve(most_);
      threads_.emplace_back([this, owner] { work(); });
      ++running_;
    } catch (const std::exception&) {
      return;  // out of threads or memory: those that run already go on
    }
  }

  void work() {
    std::unique_lock lock{guard_};
    while (Job* const job = await_job(lock)) {
      lock.unlock();
      run_(*job);
      lock.lock();
    }
    --running_;
    ended_.notify_all();
  }

  Job* await_job(std::unique_lock<std::mutex>& lock) {
    ++free_;
    wake_.wait(lock, [this] { return stopping_ || !jobs_.empty(); });
    --free_;
    return jobs_.pop_front();
  }

  std::mutex& guard_;
  std::size_t most_;
  std::function<void(Job&)> run_;
  std::condition_variable wake_;
  std::condition_variable ended_;
  intrusive_list<Job> jobs_;
  std::vector<std::thread> threads_;
  std::size_t free_ = 0;
  std::size_t running_ = 0;
  bool stopping_ = false;
};

}  // namespace soundhash::db
