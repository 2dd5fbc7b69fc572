#include <algorithm>
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <iterator>
#include <list>
#include <map>
#include <mutex>
#include <random>
#include <thread>
#include <utility>

#include <spdlog/logger.h>

#include <soundhash/db/core/error.hpp>
#include <soundhash/db/job_worker.hpp>
#include <soundhash/db/observe/logger.hpp>

#include "core/backoff.hpp"
#include "core/bounds.hpp"
#include "job_listener.hpp"
#include "repository/job_columns.hpp"
#include "repository/job_leases.hpp"

namespace soundhash::db {
namespace {

using std::chrono::milliseconds;
using clock = deadline::clock;
using ids = std::vector<std::int32_t>;

constexpr milliseconds day = std::chrono::hours{24};
constexpr bounds<std::size_t> concurrency_bounds{1, 1000};
constexpr bounds<milliseconds> lease_bounds{milliseconds{100}, day};
constexpr bounds<milliseconds> poll_bounds{milliseconds{1}, day};
constexpr bounds<milliseconds> grace_bounds{milliseconds{0}, day};
constexpr bounds<milliseconds> backoff_bounds{milliseconds{0}, 365 * day};

constexpr std::size_t most_error_text = 4000;

void validate(const job_worker_options& options) {
  if (options.job_types.empty()) {
    throw config_error{"job_worker_options::job_types", "names no type", "at least one"};
  }
  for (std::size_t i = 0; i < options.job_types.size(); ++i) {
    limits::check(job_type_column, options.job_types[i], i);
  }
  require_within("job_worker_options::concurrency", options.concurrency, concurrency_bounds);
  require_within("job_worker_options::lease", options.lease, lease_bounds);
  require_within("job_worker_options::poll_interval", options.poll_interval, poll_bounds);
  require_within("job_worker_options::grace", options.grace, grace_bounds);
  if (!options.retry) return;
  require_within("job_worker_options::retry", options.retry->most, backoff_bounds);
  require_within("job_worker_options::retry", options.retry->first,
                 {milliseconds{0}, options.retry->most});
}

/// A text that the column takes, whatever a handler threw.
std::string error_text(std::string_view what) {
  auto text = sanitize(what, most_error_text);
  if (!limits::utf8_length(text)) {
    std::replace_if(
        text.begin(), text.end(), [](char c) { return static_cast<unsigned char>(c) >= 0x80; },
        '?');
  }
  return text.empty() ? "the handler failed" : text;
}

/// What another try would not mend: a schema or a role (class 42) that is not as it must be too.
bool is_final(const error& failure) {
  switch (failure.code()) {
    case errc::server_error:
      return failure.sqlstate().starts_with("42");
    case errc::deadline_exceeded:
    case errc::statement_timeout:
    case errc::statement_deadline:
    case errc::query_cancelled:
    case errc::constraint:
    case errc::rolled_back:
    case errc::commit_in_doubt:
      return false;
    default:
      return !failure.retryable();
  }
}

/// What may be the fault of one of the jobs that a statement changes, and not the database's.
bool is_about_jobs(const error& failure) {
  switch (failure.code()) {
    case errc::server_error:
    case errc::constraint:
    case errc::statement_timeout:
    case errc::statement_deadline:
    case errc::query_cancelled:
    case errc::serialization:
    case errc::deadlock:
    case errc::rolled_back:
      return true;
    case errc::deadline_exceeded:
      return failure.sent() != sent::no;
    default:
      return false;
  }
}

/// Has the server refused a value of the statement? Data exceptions are class 22: an encoding that
/// has no such character, for example.
bool refuses_value(const error& failure) {
  return failure.code() == errc::constraint || failure.sqlstate().starts_with("22");
}

/// What is written about a job whose handler has ended.
enum class outcome : std::uint8_t { completed, given_back, failed, failed_for_good };
/// With the text of the failure.
using settlement = std::pair<outcome, std::string>;

/// A job, and the thread that works on it.
struct task {
  task(leased_job claimed, executor& on, clock::time_point until)
      : run{std::move(claimed), on, stop}, held_until{until} {}

  [[nodiscard]] std::int32_t id() const noexcept { return run.job().id; }
  [[nodiscard]] bool was_put_off() const noexcept { return tries > 0; }

  std::stop_source stop;
  job_run run;
  clock::time_point held_until;   ///< nobody else has the job before
  std::optional<settlement> end;  ///< guarded by the loop's mutex until it is set
  clock::time_point settle_at{};  ///< not before
  bool alone = false;             ///< refused together with others, so tried by itself
  int tries = 0;                  ///< to settle it, none of which succeeded
  std::jthread thread;
};

using tasks = std::list<task>;
using task_list = std::vector<tasks::iterator>;

/// One job_worker::run().
class job_loop {
 public:
  job_loop(database on, const job_worker_options& options, const job_worker::handler& work)
      : on_{std::move(on)}, options_{options}, work_{work} {}

  void run(const std::stop_token& stop);

 private:
  void wake();
  void work_on(task& one);

  // Each of these is called by run()'s thread.
  void turn();
  void stop_handlers();
  void beat();
  void settle();
  void settle(const settlement& how, const task_list& ended, const call_options& options);
  void settle_alone(task_list::value_type one, const call_options& options);
  void put_off(task& one, std::string_view cause);
  void rescue();
  void claim();
  void start(leased_job claimed, clock::time_point held_until);
  void wait(clock::duration pause);
  void note_trouble(const error* failure);

  [[nodiscard]] bool finished();
  [[nodiscard]] std::size_t free_places() const;
  [[nodiscard]] clock::time_point next_turn() const;
  /// No call keeps the leases of the other jobs waiting for their heartbeat for too long.
  [[nodiscard]] call_options briefly() const { return {.until = deadline::in(options_.lease / 3)}; }
  [[nodiscard]] clock::duration until_next_poll() {
    return clock::duration{std::uniform_int_distribution<clock::rep>{
        clock::duration{options_.poll_interval}.count() / 2,
        clock::duration{options_.poll_interval}.count()}(random_)};
  }

  database on_;
  const job_worker_options& options_;
  const job_worker::handler& work_;
  std::minstd_rand random_{std::random_device{}()};

  std::mutex mutex_;
  std::condition_variable changed_;
  bool due_ = true;              // there may be jobs; guarded
  bool ended_ = false;           // a handler ended; guarded
  bool stop_requested_ = false;  // guarded

  tasks tasks_;
  bool stopping_ = false;
  clock::time_point handlers_stop_at_ = clock::time_point::max();
  clock::time_point next_beat_{};
  clock::time_point next_poll_{};
  clock::time_point next_rescue_{};
  bool in_trouble_ = false;
  bool rescue_failed_ = false;
};

void job_loop::run(const std::stop_token& stop) {
  const std::stop_callback on_stop{stop, [this] {
                                     const std::lock_guard lock{mutex_};
                                     stop_requested_ = true;
                                     changed_.notify_one();
                                   }};
  std::optional<job_listener> listener;
  if (options_.listen && on_.options().pooler == pooler_mode::none) {
    listener.emplace(on_.options(), options_.job_types, [this] { wake(); });
  }
  backoff pauses{std::random_device{}(), backoff::first,
                 std::min<clock::duration>(backoff::most, options_.lease / 3)};
  try {
    auto pause = clock::duration::zero();
    do {
      wait(std::exchange(pause, clock::duration::zero()));
      try {
        turn();
        pauses.reset();
        note_trouble(nullptr);
      } catch (const error& failure) {
        if (is_final(failure)) throw;
        note_trouble(&failure);
        pause = pauses.next();
      }
    } while (!finished());
    for (const auto& one : tasks_) {
      logger()->warn(
          "jobs: job {} could not be settled before its lease expired: it goes back to whoever "
          "rescues it",
          one.id());
    }
  } catch (...) {
    for (auto& one : tasks_) one.stop.request_stop();
    tasks_.clear();  // waits for the handlers
    throw;
  }
}

void job_loop::wake() {
  const std::lock_guard lock{mutex_};
  due_ = true;
  changed_.notify_one();
}

void job_loop::turn() {
  stop_handlers();
  if (clock::now() >= next_beat_) beat();
  settle();
  if (clock::now() >= next_rescue_) rescue();
  claim();
}

void job_loop::stop_handlers() {
  const auto now = clock::now();
  for (auto& one : tasks_) {
    if (now >= one.held_until) one.stop.request_stop();
  }
  if (!stopping_) {
    const std::lock_guard lock{mutex_};
    if (!stop_requested_) return;
    stopping_ = true;
    handlers_stop_at_ = now + options_.grace;
  }
  if (now < handlers_stop_at_) return;
  handlers_stop_at_ = clock::time_point::max();
  for (auto& one : tasks_) one.stop.request_stop();
}

/// Prolongs the leases. Not of jobs that ended and still wait when the worker shall stop: it need
/// not wait for them longer than their leases last.
void job_loop::beat() {
  const auto began = clock::now();
  task_list working;
  std::vector<job_lease> leases;
  {
    const std::lock_guard lock{mutex_};
    for (auto one = tasks_.begin(); one != tasks_.end(); ++one) {
      if (stopping_ && one->end) continue;
      working.push_back(one);
      leases.push_back(one->run.lease());
    }
  }
  const auto held = on_.jobs().heartbeat(leases, options_.lease, briefly());
  for (const auto one : working) {
    if (std::binary_search(held.begin(), held.end(), one->id())) {
      one->held_until = began + options_.lease;
    } else {
      one->stop.request_stop();
    }
  }
  next_beat_ = began + options_.lease / 3;
}

/// Settles the jobs whose handlers have ended: all together, and where that is refused one by one.
/// Takes no longer than one call.
void job_loop::settle() {
  const auto options = briefly();
  const auto now = clock::now();
  task_list settled;
  std::map<settlement, task_list> together;
  task_list alone;
  {
    const std::lock_guard lock{mutex_};
    for (auto one = tasks_.begin(); one != tasks_.end(); ++one) {
      if (!one->end || now < one->settle_at) continue;
      if (one->end->first == outcome::completed && one->run.completed()) {
        settled.push_back(one);
      } else {
        (one->alone ? alone : together[*one->end]).push_back(one);
      }
    }
  }
  for (const auto one : settled) tasks_.erase(one);
  for (const auto& [how, ended] : together) {
    if (options.until.passed()) return;
    try {
      settle(how, ended, options);
    } catch (const error& failure) {
      if (!is_about_jobs(failure)) throw;
      for (const auto one : ended) {
        one->alone = true;
        alone.push_back(one);
      }
    }
  }
  for (const auto one : alone) {
    if (options.until.passed()) return;
    settle_alone(one, options);
  }
}

void job_loop::settle_alone(task_list::value_type one, const call_options& options) {
  try {
    settle(*one->end, {one}, options);
  } catch (const error& failure) {
    if (!is_about_jobs(failure)) throw;
    put_off(*one, failure.what());
    if (auto& text = one->end->second; !text.empty() && refuses_value(failure)) {
      text = "the error text was refused by the server: SQLSTATE ";
      text += failure.sqlstate();
    }
  }
}

/// Forgets the jobs that the statement has settled, and those that are not held any more. Waits for
/// no job that somebody has locked: it is tried again later.
void job_loop::settle(const settlement& how, const task_list& ended, const call_options& options) {
  std::vector<job_lease> leases;
  for (const auto one : ended) leases.push_back(one->run.lease());
  ids locked;
  const auto among = [](const ids& some, std::int32_t id) {
    return std::binary_search(some.begin(), some.end(), id);
  };
  const auto settled = on_.atomically(
      [&](executor& inside) {
        locked = lock_or_pass_over(inside, leases, options);
        auto free = leases;
        std::erase_if(free, [&](const job_lease& one) { return among(locked, one.job_id); });
        job_repository jobs{inside};
        switch (how.first) {
          case outcome::completed:
            return jobs.complete(free, options);
          case outcome::given_back:
            return jobs.release(free, options);
          case outcome::failed:
            return jobs.fail(free, how.second, options_.retry, options);
          default:
            return jobs.fail(free, how.second, std::nullopt, options);
        }
      },
      options);
  for (const auto one : ended) {
    if (among(locked, one->id())) {
      put_off(*one, "another transaction has locked it");
      continue;
    }
    if (!among(settled, one->id())) {
      logger()->warn("jobs: job {} was not held any more when its handler ended", one->id());
    }
    tasks_.erase(one);
  }
}

/// Once may be nothing: a lock that is held for a moment.
void job_loop::put_off(task& one, std::string_view cause) {
  if (++one.tries == 2) {
    logger()->warn("jobs: job {} cannot be settled yet: {}", one.id(), cause);
  }
  const auto pause = std::min<clock::duration>(backoff::first * (1 << std::min(one.tries, 10)),
                                               options_.lease / 3);
  one.settle_at = clock::now() + pause;
}

/// What cannot be rescued now is no reason to keep our own jobs waiting.
void job_loop::rescue() {
  next_rescue_ = clock::now() + options_.lease / 3;
  try {
    const auto rescued = on_.jobs().rescue_expired(1000, briefly());
    rescue_failed_ = false;
    if (rescued.empty()) return;
    logger()->warn("jobs: {} had leases that expired and are pending again, the first is job {}",
                   rescued.size(), rescued.front());
    wake();
  } catch (const error& failure) {
    if (is_final(failure)) throw;
    if (std::exchange(rescue_failed_, true)) return;
    logger()->warn("jobs: expired leases cannot be rescued: {}", failure.what());
  }
}

/// How many jobs may be claimed. Of those that were put off as many as there are places take none:
/// more would be to work on and on what cannot be settled.
std::size_t job_loop::free_places() const {
  if (stopping_) return 0;
  const auto put_off = static_cast<std::size_t>(std::count_if(
      tasks_.begin(), tasks_.end(), [](const task& one) { return one.was_put_off(); }));
  const auto working = tasks_.size() - put_off;
  return std::min(options_.concurrency - working, 2 * options_.concurrency - tasks_.size());
}

void job_loop::claim() {
  const auto most = free_places();
  if (most == 0) return;
  const auto began = clock::now();
  {
    // Before the question: what wakes us from now on may be younger than its answer.
    const std::lock_guard lock{mutex_};
    if (!std::exchange(due_, false) && began < next_poll_) return;
  }
  std::vector<leased_job> claimed;
  try {
    claimed =
        on_.jobs().claim(options_.job_types, static_cast<int>(most), options_.lease, briefly());
  } catch (...) {
    wake();
    throw;
  }
  next_poll_ = clock::now() + until_next_poll();
  if (claimed.size() == most) wake();  // there may be more
  for (auto& one : claimed) start(std::move(one), began + options_.lease);
}

void job_loop::start(leased_job claimed, clock::time_point held_until) {
  auto& one = tasks_.emplace_back(std::move(claimed), on_, held_until);
  one.thread = std::jthread{[this, &one] { work_on(one); }};
}

void job_loop::work_on(task& one) {
  settlement end{outcome::completed, {}};
  try {
    work_(one.run);
  } catch (const job_unrecoverable& failure) {
    end = {outcome::failed_for_good, error_text(failure.what())};
  } catch (const std::exception& failure) {
    end = {outcome::failed, error_text(failure.what())};
  } catch (...) {
    end = {outcome::failed, error_text({})};
  }
  if (end.first != outcome::completed && one.stop.stop_requested()) {
    end = {outcome::given_back, {}};
  }
  const std::lock_guard lock{mutex_};
  one.end = std::move(end);
  ended_ = true;
  changed_.notify_one();
}

/// What could not be settled before its lease ended, which is prolonged no more once the worker
/// shall stop, is left to whoever rescues it.
bool job_loop::finished() {
  const auto now = clock::now();
  const std::lock_guard lock{mutex_};
  return stopping_ && std::all_of(tasks_.begin(), tasks_.end(), [&](const task& one) {
           return one.end && now >= one.held_until;
         });
}

/// Called with the mutex held.
clock::time_point job_loop::next_turn() const {
  auto next = std::min({next_beat_, next_rescue_, handlers_stop_at_,
                        free_places() > 0 ? next_poll_ : clock::time_point::max()});
  for (const auto& one : tasks_) {
    if (one.end) next = std::min(next, one.settle_at);
  }
  return next;
}

void job_loop::wait(clock::duration pause) {
  std::unique_lock lock{mutex_};
  if (pause > clock::duration::zero()) {
    changed_.wait_for(lock, pause, [] { return false; });
  } else {
    changed_.wait_until(lock, next_turn(), [&] {
      return ended_ || (due_ && free_places() > 0) || (stop_requested_ && !stopping_);
    });
  }
  ended_ = false;
}

void job_loop::note_trouble(const error* failure) {
  const bool before = std::exchange(in_trouble_, failure != nullptr);
  if (failure != nullptr && !before) {
    logger()->warn("jobs: the worker waits for the database: {}", failure->what());
  } else if (failure == nullptr && before) {
    logger()->info("jobs: the worker goes on");
  }
}

}  // namespace

job_worker::job_worker(database on, job_worker_options options, handler work)
    : on_{std::move(on)}, options_{std::move(options)}, work_{std::move(work)} {
  validate(options_);
  if (!work_) throw invalid_argument{"job_worker::handler", "is empty: there is nothing to call"};
}

void job_worker::run(const std::stop_token& stop) const {
  job_loop{on_, options_, work_}.run(stop);
}

}  // namespace soundhash::db
