#include "support/fibers.hpp"

#include <array>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <iostream>
#include <utility>

#include <cxxabi.h>
#include <sys/mman.h>
#include <ucontext.h>

#ifdef __has_feature
#define SOUNDHASH_DB_HAS(sanitizer) __has_feature(sanitizer)
#else
#define SOUNDHASH_DB_HAS(sanitizer) 0
#endif
#if defined(__SANITIZE_THREAD__) || SOUNDHASH_DB_HAS(thread_sanitizer)
#include <sanitizer/tsan_interface.h>
#define SOUNDHASH_DB_TSAN(...) __VA_ARGS__
#else
#define SOUNDHASH_DB_TSAN(...)
#endif
#if defined(__SANITIZE_ADDRESS__) || SOUNDHASH_DB_HAS(address_sanitizer)
#include <sanitizer/asan_interface.h>
#define SOUNDHASH_DB_ASAN(...) __VA_ARGS__
#else
#define SOUNDHASH_DB_ASAN(...)
#endif

namespace soundhash::db::test {
namespace {

constexpr std::size_t stack_size = std::size_t{128} * 1024;

/// A stack of its own, with its pages given back at the end.
class stack {
 public:
  stack()
      : begin_{::mmap(nullptr, stack_size, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0)} {
    if (begin_ == MAP_FAILED) throw std::bad_alloc{};
    // A stack that ended here never returned from its functions.
    SOUNDHASH_DB_ASAN(__asan_unpoison_memory_region(begin_, stack_size);)
  }
  stack(const stack&) = delete;
  stack& operator=(const stack&) = delete;
  ~stack() { ::munmap(begin_, stack_size); }
  [[nodiscard]] void* begin() const noexcept { return begin_; }

 private:
  void* begin_;
};

/// The exceptions in flight are kept per thread of the system; each fiber has its own.
using exceptions = std::array<std::byte, sizeof(void*) + sizeof(unsigned int)>;

void swap_exceptions(exceptions& with) {
  exceptions mine;
  void* const globals = abi::__cxa_get_globals();
  std::memcpy(mine.data(), globals, mine.size());
  std::memcpy(globals, with.data(), with.size());
  with = mine;
}

simulation* the_one = nullptr;

}  // namespace

struct simulation::fiber {
  std::uint32_t number = 0;
  std::function<void()> body;
  std::unique_ptr<stack> memory = std::make_unique<stack>();
  ucontext_t here{};
  ucontext_t back{};
  exceptions in_flight{};
  bool runnable = true;
  bool done = false;
  bool impatient = false;
  bool timed_out = false;
  why waits = why::yield;
  const void* on = nullptr;
  wait_record last;

  // The sanitizers must be told of each switch of stacks, before and after it.

  void will_enter() {
    SOUNDHASH_DB_TSAN(tsan_back = __tsan_get_current_fiber(); __tsan_switch_to_fiber(tsan, 0);)
    SOUNDHASH_DB_ASAN(__sanitizer_start_switch_fiber(&asan_back, memory->begin(), stack_size);)
  }
  void has_entered() {
    SOUNDHASH_DB_ASAN(__sanitizer_finish_switch_fiber(asan_here, &outer_stack, &outer_size);)
  }
  void will_leave() {
    SOUNDHASH_DB_TSAN(__tsan_switch_to_fiber(tsan_back, 0);)
    SOUNDHASH_DB_ASAN(
        __sanitizer_start_switch_fiber(done ? nullptr : &asan_here, outer_stack, outer_size);)
  }
  void has_left() {
    SOUNDHASH_DB_ASAN(__sanitizer_finish_switch_fiber(asan_back, nullptr, nullptr);)
  }

  SOUNDHASH_DB_TSAN(void* tsan = __tsan_create_fiber(0); void* tsan_back = nullptr;
                    ~fiber() { __tsan_destroy_fiber(tsan); })
  SOUNDHASH_DB_ASAN(void* asan_here = nullptr; void* asan_back = nullptr;
                    const void* outer_stack = nullptr; std::size_t outer_size = 0;)
};

simulation::simulation(std::uint64_t seed, races where)
    : random_{seed}, preemptive_{where == races::everywhere} {
  the_one = this;
}
simulation::~simulation() {
  the_one = nullptr;
}
simulation& simulation::current() {
  return *the_one;
}

simulation::fiber& simulation::spawn(std::function<void()> body) {
  auto& made = *fibers_.emplace_back(std::make_unique<fiber>());
  made.number = static_cast<std::uint32_t>(fibers_.size());
  made.body = std::move(body);
  ::getcontext(&made.here);
  made.here.uc_stack.ss_sp = made.memory->begin();
  made.here.uc_stack.ss_size = stack_size;
  made.here.uc_link = nullptr;
  ::makecontext(&made.here, &simulation::enter, 0);
  return made;
}

void simulation::enter() {
  fiber& self = *the_one->running_;
  self.has_entered();
  try {
    self.body();
  } catch (const std::exception& e) {
    std::cerr << "a fiber ended with an exception: " << e.what() << '\n';
    std::abort();
  }
  self.body = nullptr;
  self.done = true;
  self.runnable = false;
  the_one->wake_all(&self);
  self.will_leave();
  ::setcontext(&self.back);
}

void simulation::resume(fiber& next) {
  ++steps_;
  running_ = &next;
  swap_exceptions(next.in_flight);
  next.will_enter();
  ::swapcontext(&next.back, &next.here);
  next.has_left();
  swap_exceptions(next.in_flight);
  running_ = nullptr;
  if (next.done) next.memory.reset();
}

std::size_t simulation::pick(std::size_t count) {
  return std::uniform_int_distribution<std::size_t>{0, count - 1}(random_);
}

bool simulation::step() {
  candidates_.clear();
  for (const auto& each : fibers_) {
    if (each->runnable) candidates_.push_back(each.get());
  }
  if (candidates_.empty()) return false;
  resume(*candidates_[pick(candidates_.size())]);
  return true;
}

bool simulation::pass_time() {
  candidates_.clear();
  for (const auto& each : fibers_) {
    const bool until = each->waits == why::condition_until && each->impatient;
    if (each->done || each->runnable) continue;
    if (until || each->waits == why::condition_for) candidates_.push_back(each.get());
  }
  if (candidates_.empty()) return false;
  fiber& late = *candidates_[pick(candidates_.size())];
  late.timed_out = true;
  late.runnable = true;
  return true;
}

bool simulation::ended(const fiber& which) const noexcept {
  return which.done;
}

void simulation::suspend(why reason, const void* on) {
  fiber& self = *running_;
  self.runnable = reason == why::yield;
  self.waits = reason;
  self.on = on;
  self.will_leave();
  ::swapcontext(&self.here, &self.back);
  self.has_entered();
  self.on = nullptr;
}

void simulation::wake(fiber& which) noexcept {
  which.runnable = true;
  if (which.waits == why::condition_until) which.last.notified = ++sequence_;
}

void simulation::wake_one(const void* on) noexcept {
  candidates_.clear();
  for (const auto& each : fibers_) {
    if (each->on == on && !each->runnable) candidates_.push_back(each.get());
  }
  if (!candidates_.empty()) wake(*candidates_[pick(candidates_.size())]);
}

void simulation::wake_all(const void* on) noexcept {
  for (const auto& each : fibers_) {
    if (each->on == on && !each->runnable) wake(*each);
  }
}

void simulation::yield() {
  if (running_ != nullptr) suspend(why::yield, nullptr);
}

void simulation::point() {
  if (preemptive_) yield();
}

void simulation::await(const std::function<bool()>& ready) {
  while (!ready()) suspend(why::yield, nullptr);
}

void simulation::undisturbed(const std::function<void()>& body) {
  await([this] { return unlocked(); });
  const bool before = std::exchange(preemptive_, false);
  body();
  preemptive_ = before;
}

void simulation::be_impatient(bool impatient) noexcept {
  running_->impatient = impatient;
}

wait_record simulation::last_wait() const noexcept {
  return running_->last;
}

void fibers::mutex::lock() {
  auto& all = simulation::current();
  all.point();
  while (locked_) all.suspend(simulation::why::mutex, this);
  locked_ = true;
  ++all.locked_;
}

void fibers::mutex::unlock() noexcept {
  auto& all = simulation::current();
  locked_ = false;
  --all.locked_;
  all.wake_all(this);
}

void fibers::condition::wait(std::unique_lock<mutex>& lock) {
  lock.unlock();
  simulation::current().suspend(simulation::why::condition, this);
  lock.lock();
}

void fibers::condition::wait_for(std::unique_lock<mutex>& lock, std::chrono::nanoseconds) {
  lock.unlock();
  simulation::current().suspend(simulation::why::condition_for, this);
  lock.lock();
}

bool fibers::condition::wait_once(std::unique_lock<mutex>& lock) {
  auto& all = simulation::current();
  auto& self = *all.running_;
  self.timed_out = false;
  self.last.began = ++all.sequence_;
  lock.unlock();
  all.suspend(simulation::why::condition_until, this);
  lock.lock();
  return !self.timed_out;
}

void fibers::condition::notify_one() noexcept {
  simulation::current().wake_one(this);
}
void fibers::condition::notify_all() noexcept {
  simulation::current().wake_all(this);
}

fibers::thread::thread(std::function<void()> body)
    : body_{&simulation::current().spawn(std::move(body))} {}

void fibers::thread::join() {
  auto& all = simulation::current();
  while (!body_->done) all.suspend(simulation::why::join, body_);
  body_ = nullptr;
}

fibers::id fibers::self() noexcept {
  auto* const running = simulation::current().running_;
  return {running == nullptr ? 0 : running->number};
}

}  // namespace soundhash::db::test
