#include "cache/redis_client.hpp"

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <mutex>
#include <random>
#include <system_error>
#include <thread>
#include <utility>

#include <spdlog/logger.h>

#include <soundhash/db/core/error.hpp>
#include <soundhash/db/observe/logger.hpp>

#include "cache/breaker.hpp"
#include "cache/interruption.hpp"
#include "cache/redis_connect.hpp"
#include "cache/shared_connection.hpp"
#include "core/fork_epoch.hpp"

namespace soundhash::db::redis {
namespace {

using clock = deadline::clock;

/// Bounds the questions to name services and sentinels, and so the end of a client.
constexpr std::chrono::seconds locate_limit{1};

/// The place of one of the shared connections. Callers keep a connection alive that was replaced.
struct slot {
  std::shared_ptr<shared_connection> take() {
    const std::lock_guard lock{mutex};
    return current;
  }
  void put(std::shared_ptr<shared_connection> next) {
    const std::lock_guard lock{mutex};
    current.swap(next);
  }

  std::mutex mutex;
  std::shared_ptr<shared_connection> current;
};

/// Callers on one connection, beyond which a large answer would hold up too many.
constexpr unsigned crowd = 8;

/// Spreads threads over slots, when all are crowded.
std::size_t home_of_this_thread() noexcept {
  static std::atomic<std::size_t> threads = 0;
  thread_local const std::size_t home = threads.fetch_add(1, std::memory_order_relaxed);
  return home;
}

const reply* unfit_of(const std::vector<reply>& answers) noexcept {
  const auto found = std::ranges::find_if(answers, is_unfit);
  return found == answers.end() ? nullptr : &*found;
}

}  // namespace

struct client::impl {
  impl(cache_options wanted, client_hooks given)
      : options{std::move(wanted)},
        hooks{std::move(given)},
        slots(std::max<std::size_t>(options.connections, 1)) {}

  ~impl() {
    {
      const std::lock_guard lock{mutex};
      stopping = true;
    }
    stop.ring();
    changed.notify_all();
    if (thread.joinable()) thread.join();
  }
  impl(const impl&) = delete;
  impl& operator=(const impl&) = delete;

  void start() noexcept {
    if (started.load(std::memory_order_acquire)) return;
    const std::lock_guard lock{mutex};
    if (started.load(std::memory_order_relaxed)) return;
    try {
      thread = std::thread{[this] { run(); }};
      started.store(true, std::memory_order_release);
    } catch (const std::system_error&) {  // no thread now: the next use tries again
    }
  }

  /// The first connection that is not crowded: calls that share one cost less than calls on two.
  std::shared_ptr<shared_connection> pick() {
    for (auto& each : slots) {
      auto found = each.take();
      if (!found || found->callers() < crowd) return found;
    }
    return slots[home_of_this_thread() % slots.size()].take();
  }

  void trip(std::uint64_t generation, std::string why) {
    if (!gate.open(generation, std::move(why), clock::now())) return;
    const std::lock_guard lock{mutex};  // else the thread could miss it just before it sleeps
    changed.notify_all();
  }

  // --- the client's thread
  // ------------------------------------------------------------------------

  void run() {
    std::unique_lock lock{mutex};
    while (!stopping) {
      if (gate.closed()) {
        changed.wait(lock, [this] { return stopping || !gate.closed(); });
        continue;
      }
      lock.unlock();
      report();
      lock.lock();
      if (!probe_is_due(lock)) continue;
      lock.unlock();
      probe();
      report();
      lock.lock();
    }
  }

  bool ending() {
    const std::lock_guard lock{mutex};
    return stopping;
  }

  /// Sleeps until then, or until something changed.
  bool probe_is_due(std::unique_lock<std::mutex>& lock) {
    const auto due = gate.next_probe();
    return !stopping &&
           (clock::now() >= due || changed.wait_until(lock, due) == std::cv_status::timeout);
  }

  void probe() {
    try {
      const auto where = locate(options, deadline::in(locate_limit), &stop);
      std::vector<std::shared_ptr<shared_connection>> made;
      while (made.size() < slots.size()) made.push_back(open(where));
      for (auto& each : slots) {
        each.put(std::move(made.back()));
        made.pop_back();
      }
      gate.close(clock::now());
      const std::lock_guard lock{mutex};
      changed.notify_all();
    } catch (const std::exception& failure) {
      if (ending()) return;  // interrupted: no news
      gate.probe_failed(failure.what(), clock::now());
    }
  }

  std::shared_ptr<shared_connection> open(const location& where) {
    auto established = establish(options, where, deadline::in(options.connect_timeout), &stop);
    if (hooks.before_use) {
      session first{std::move(established)};
      const bool fit = hooks.before_use(first);
      if (!first.available()) throw link_error{first.failure()};
      if (!fit) throw link_error{"what the cache must say first was not answered"};
      established = first.release();
    }
    return std::make_shared<shared_connection>(std::move(established), options.command_timeout);
  }

  /// Tells of the state, if it is another than the one told last.
  void report() {
    const auto why = gate.why();
    const bool up = gate.closed();
    if (!up && why.empty()) return;  // the first probe is still to come
    if (told == up) return;
    told = up;
    if (up) {
      logger()->info("cache: using Redis at {}", describe(options));
    } else {
      logger()->warn("cache: Redis at {} is not used until it answers again: {}", describe(options),
                     why);
    }
    if (hooks.on_change) hooks.on_change(up, why);
  }

  const cache_options options;
  const client_hooks hooks;
  const fork_epoch epoch;
  breaker<clock> gate{std::random_device{}()};
  std::vector<slot> slots;
  interruption stop;

  std::mutex mutex;  // guards stopping, thread; held for every wake-up of the thread
  std::condition_variable changed;
  bool stopping = false;
  std::atomic<bool> started = false;
  std::thread thread;
  std::optional<bool> told;  // the thread's

  std::atomic<std::uint64_t> calls = 0;
  std::atomic<std::uint64_t> failed = 0;
  std::atomic<std::int64_t> nanoseconds = 0;
};

client::client(cache_options options, client_hooks hooks) {
  // Mistakes in the files of TLS are told now; each reconnect reads them again.
  if (options.tls.enabled) static_cast<void>(tls_context{options.tls});
  impl_ = std::make_unique<impl>(std::move(options), std::move(hooks));
}

client::~client() {
  // In the child of a fork the thread does not exist, the sockets are the parent's and the mutexes
  // may be locked for ever.
  if (impl_->epoch.crossed()) static_cast<void>(impl_.release());
}

bool client::available() const noexcept {
  if (impl_->epoch.crossed()) return false;
  if (impl_->gate.closed()) return true;
  impl_->start();
  return false;
}

std::optional<std::vector<reply>> client::call(std::span<const command> commands, deadline until) {
  if (!available()) return std::nullopt;
  std::vector<reply> answers;
  if (commands.empty()) return answers;
  const auto generation = impl_->gate.generation();
  const auto connection = impl_->pick();
  if (!connection) return std::nullopt;
  const auto began = clock::now();
  const auto ended = connection->call(commands, began, until, answers);
  impl_->calls.fetch_add(1, std::memory_order_relaxed);
  impl_->nanoseconds.fetch_add((clock::now() - began) / std::chrono::nanoseconds{1},
                               std::memory_order_relaxed);
  if (ended == shared_connection::outcome::answered) {
    if (const auto* unfit = unfit_of(answers)) impl_->trip(generation, sanitize(unfit->text, 200));
    return answers;
  }
  impl_->failed.fetch_add(1, std::memory_order_relaxed);
  if (ended == shared_connection::outcome::failed) impl_->trip(generation, connection->failure());
  return std::nullopt;
}

void client::retry_soon() noexcept {
  if (impl_->epoch.crossed()) return;
  impl_->start();
  impl_->gate.hurry();
  const std::lock_guard lock{impl_->mutex};
  impl_->changed.notify_all();
}

bool client::wait_until_available(deadline until) const {
  if (available()) return true;
  if (impl_->epoch.crossed()) return false;
  std::unique_lock lock{impl_->mutex};
  const auto closed = [this] { return impl_->gate.closed(); };
  if (!until.is_never()) return impl_->changed.wait_until(lock, until.at(), closed);
  impl_->changed.wait(lock, closed);
  return true;
}

client_stats client::stats() const {
  if (impl_->epoch.crossed()) return {};
  return {.available = impl_->gate.closed(),
          .why = impl_->gate.why(),
          .opens = impl_->gate.opens(),
          .calls = impl_->calls.load(std::memory_order_relaxed),
          .failed = impl_->failed.load(std::memory_order_relaxed),
          .time = std::chrono::nanoseconds{impl_->nanoseconds.load(std::memory_order_relaxed)}};
}

}  // namespace soundhash::db::redis
