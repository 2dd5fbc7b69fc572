#include <algorithm>
#include <condition_variable>
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

/// What another try would not mend.
bool is_final(const error& failure) {
  switch (failure.code()) {
    case errc::deadline_exceeded:
    case errc::statement_timeout:
    case errc::statement_deadline:
    case errc::query_cancelled:
    case errc::server_error:
    case errc::rolled_back:
    case errc::commit_in_doubt:
      return false;
    default:
      return !failure.retryable();
  }
}

/// How a handler ended.
struct ending {
  std::string error{};  ///< empty: it returned
  bool for_good = false;
};

/// A job, and the thread that works on it.
struct task {
  task(leased_job claimed, executor& on, clock::time_point until)
      : run{std::move(claimed), on, stop}, held_until{until} {}

  std::stop_source stop;
  job_run run;
  clock::time_point held_until;  ///< nobody else has the job before
  std::optional<ending> end;     ///< guarded by the loop's mutex
  std::jthread thread;
};

using tasks = std::list<task>;

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
  void claim();
  void start(leased_job claimed, clock::time_point held_until);
  void wait(clock::duration pause);
  void note_trouble(const error* failure);

  template <class F>
  void end_jobs(std::vector<tasks::iterator> ended, F&& statement);
  [[nodiscard]] bool finished();
  [[nodiscard]] bool takes_jobs() const {
    return !stopping_ && tasks_.size() < options_.concurrency;
  }
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
  bool in_trouble_ = false;
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

void job_loop::beat() {
  const auto began = clock::now();
  std::vector<job_lease> leases;
  for (const auto& one : tasks_) leases.push_back(one.run.lease());
  const auto held = on_.jobs().heartbeat(leases, options_.lease, briefly());
  for (auto& one : tasks_) {
    if (std::binary_search(held.begin(), held.end(), one.run.lease().job_id)) {
      one.held_until = began + options_.lease;
    } else {
      one.stop.request_stop();
    }
  }
  const auto rescued = on_.jobs().rescue_expired(1000, briefly());
  if (!rescued.empty()) {
    logger()->warn("jobs: {} had leases that expired and are pending again, the first is job {}",
                   rescued.size(), rescued.front());
    wake();
  }
  next_beat_ = began + options_.lease / 3;
}

void job_loop::settle() {
  using at = tasks::iterator;
  std::vector<at> completed;
  std::vector<at> done;
  std::vector<at> given_up;
  std::map<std::pair<bool, std::string>, std::vector<at>> failed;
  {
    const std::lock_guard lock{mutex_};
    for (auto one = tasks_.begin(); one != tasks_.end(); ++one) {
      if (!one->end) continue;
      if (one->end->error.empty()) {
        (one->run.completed() ? completed : done).push_back(one);
      } else if (one->stop.stop_requested()) {
        given_up.push_back(one);
      } else {
        failed[{one->end->for_good, one->end->error}].push_back(one);
      }
    }
  }
  for (const auto one : completed) tasks_.erase(one);
  auto jobs = on_.jobs();
  end_jobs(std::move(done), [&](const auto& leases) { return jobs.complete(leases, briefly()); });
  end_jobs(std::move(given_up),
           [&](const auto& leases) { return jobs.release(leases, briefly()); });
  for (auto& [how, ended] : failed) {
    const auto& [for_good, error] = how;
    end_jobs(std::move(ended), [&](const auto& leases) {
      return jobs.fail(leases, error, for_good ? std::nullopt : options_.retry, briefly());
    });
  }
}

/// Forgets the jobs when the statement has ended them. One that threw is tried again: what it did
/// already is not held any more.
template <class F>
void job_loop::end_jobs(std::vector<tasks::iterator> ended, F&& statement) {
  std::vector<job_lease> leases;
  for (const auto& one : ended) leases.push_back(one->run.lease());
  const ids held = statement(leases);
  for (const auto one : ended) {
    const auto id = one->run.lease().job_id;
    if (!std::binary_search(held.begin(), held.end(), id)) {
      logger()->warn("jobs: job {} was not held any more when its handler ended", id);
    }
    tasks_.erase(one);
  }
}

void job_loop::claim() {
  if (!takes_jobs()) return;
  const auto began = clock::now();
  {
    // Before the question: what wakes us from now on may be younger than its answer.
    const std::lock_guard lock{mutex_};
    if (!std::exchange(due_, false) && began < next_poll_) return;
  }
  const auto most = options_.concurrency - tasks_.size();
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
  ending end;
  try {
    work_(one.run);
  } catch (const job_unrecoverable& failure) {
    end = {error_text(failure.what()), true};
  } catch (const std::exception& failure) {
    end = {error_text(failure.what())};
  } catch (...) {
    end = {error_text({})};
  }
  const std::lock_guard lock{mutex_};
  one.end = std::move(end);
  ended_ = true;
  changed_.notify_one();
}

/// What could not be settled before its lease ended is left to whoever rescues it.
bool job_loop::finished() {
  const auto now = clock::now();
  const std::lock_guard lock{mutex_};
  return stopping_ && std::all_of(tasks_.begin(), tasks_.end(), [&](const task& one) {
           return one.end && now >= one.held_until;
         });
}

clock::time_point job_loop::next_turn() const {
  return std::min(
      {next_beat_, handlers_stop_at_, takes_jobs() ? next_poll_ : clock::time_point::max()});
}

void job_loop::wait(clock::duration pause) {
  std::unique_lock lock{mutex_};
  if (pause > clock::duration::zero()) {
    changed_.wait_for(lock, pause, [] { return false; });
  } else {
    changed_.wait_until(lock, next_turn(), [&] {
      return ended_ || (due_ && takes_jobs()) || (stop_requested_ && !stopping_);
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
}

void job_worker::run(const std::stop_token& stop) const {
  job_loop{on_, options_, work_}.run(stop);
}

}  // namespace soundhash::db
