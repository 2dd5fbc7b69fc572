#pragma once

#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <exception>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>
#include <utility>

#include <soundhash/db/core/deadline.hpp>
#include <soundhash/db/core/error.hpp>
#include <soundhash/db/core/function_ref.hpp>

namespace soundhash::db {

/// What a load brought, for all who wait for it.
template <class Value>
struct flown {
  std::shared_ptr<const Value> value;
  std::size_t bytes = 0;  ///< about as many as it holds
  bool shared = true;     ///< false: those who wait must load for themselves
};

/// One load for all who ask for the same at a time. The first leads, the others wait for its value
/// or its error, each no longer than its own deadline and stop allow; then, as when the leader ran
/// into its own, they load themselves.
/// Thread safety: safe for concurrent use. A load may ask for something else, or the same: a thread
/// that leads never waits.
template <class Value>
class single_flight {
 public:
  using load_function = function_ref<flown<Value>()>;
  /// A moment, for flights that land after it.
  using moment = std::uint64_t;

  [[nodiscard]] moment now() const noexcept { return landings_.load(std::memory_order_acquire); }

  /// What a load of `key` brought that ended after `since`: of another caller, or of this one.
  /// Throws: what that load throws.
  std::shared_ptr<const Value> run(const std::string& key, moment since,
                                   const call_options& options, load_function load) {
    if (leading > 0) return load().value;
    std::unique_lock lock{mutex_};
    const auto at = flight_of(key, since);
    if (at->state == phase::loading) wait(*at, lock, options);
    switch (at->state) {
      case phase::vacant:
        return lead(at, lock, load);
      case phase::landed:
        return at->value;
      case phase::failed:
        std::rethrow_exception(at->failure);
      case phase::loading:  // longer than this caller may wait: the load knows the error for that
      case phase::scattered:
        break;
    }
    lock.unlock();
    return load().value;
  }

  /// The same, unless somebody loads already: nullptr then.
  std::shared_ptr<const Value> run_alone(const std::string& key, load_function load) {
    if (leading > 0) return nullptr;
    std::unique_lock lock{mutex_};
    const auto at = flight_of(key, now());
    return at->state == phase::vacant && at->waiting == 0 ? lead(at, lock, load) : nullptr;
  }

  /// How often somebody began to wait for another's load.
  [[nodiscard]] std::uint64_t joins() const noexcept {
    return joins_.load(std::memory_order_relaxed);
  }

 private:
  static constexpr std::size_t most_landed = 64;
  static constexpr std::size_t most_landed_bytes = std::size_t{4} << 20U;

  enum class phase : std::uint8_t {
    vacant,     ///< whoever comes, leads
    loading,    ///< somebody leads
    landed,     ///< there is a value
    failed,     ///< there is an error
    scattered,  ///< everybody loads for himself
  };

  struct flight {
    std::string key;
    phase state = phase::vacant;
    std::size_t waiting = 0;
    std::shared_ptr<const Value> value{};
    std::size_t bytes = 0;
    moment landing = 0;
    std::exception_ptr failure{};
    std::condition_variable_any changed{};
  };
  using flight_ptr = std::shared_ptr<flight>;

  /// One to join, or a new one. What has landed answers those who began before: they may have
  /// looked into the cache before its value was there.
  flight_ptr flight_of(const std::string& key, moment since) {
    auto& slot = flights_[key];
    if (slot == nullptr || (slot->state == phase::landed && slot->landing <= since)) {
      slot = std::make_shared<flight>();
      slot->key = key;
    }
    return slot;
  }

  void wait(flight& at, std::unique_lock<std::mutex>& lock, const call_options& options) {
    joins_.fetch_add(1, std::memory_order_relaxed);
    ++at.waiting;
    const auto ended = [&] { return at.state != phase::loading; };
    if (options.until.is_never()) {
      at.changed.wait(lock, options.stop, ended);
    } else {
      at.changed.wait_until(lock, options.stop, options.until.at(), ended);
    }
    --at.waiting;
  }

  std::shared_ptr<const Value> lead(const flight_ptr& at, std::unique_lock<std::mutex>& lock,
                                    load_function load) {
    at->state = phase::loading;
    lock.unlock();
    try {
      const auto found = load_leading(load);
      lock.lock();
      land(at, found);
      return found.value;
    } catch (...) {
      if (!lock.owns_lock()) lock.lock();
      fail(at, std::current_exception());
      throw;
    }
  }

  static flown<Value> load_leading(load_function load) {
    struct counted {
      counted() noexcept { ++leading; }
      ~counted() { --leading; }
      counted(const counted&) = delete;
      counted& operator=(const counted&) = delete;
    } const here;
    return load();
  }

  void land(const flight_ptr& at, const flown<Value>& found) {
    if (found.shared) {
      landed_.push_back(at);
      landed_bytes_ += found.bytes;
      at->value = found.value;
      at->bytes = found.bytes;
      at->landing = landings_.fetch_add(1, std::memory_order_release) + 1;
      at->state = phase::landed;
      forget_oldest();
    } else {
      at->state = phase::scattered;
      forget(at);
    }
    at->changed.notify_all();
  }

  void fail(const flight_ptr& at, std::exception_ptr why) {
    at->state = phase::failed;
    if (is_of_the_caller(why)) at->state = phase::vacant;
    if (at->state == phase::failed || at->waiting == 0) forget(at);
    at->failure = std::move(why);
    at->changed.notify_all();
  }

  /// Would another caller's load have met this error too?
  static bool is_of_the_caller(const std::exception_ptr& why) {
    try {
      std::rethrow_exception(why);
    } catch (const error& failure) {
      const auto code = failure.code();
      return code == errc::deadline_exceeded || code == errc::statement_deadline ||
             code == errc::cancelled || code == errc::nested_acquire;
    } catch (...) {
      return false;
    }
  }

  /// By identity: the key may have another flight by now.
  void forget(const flight_ptr& at) {
    const auto found = flights_.find(at->key);
    if (found != flights_.end() && found->second == at) flights_.erase(found);
  }

  void forget_oldest() {
    while (landed_.size() > most_landed || landed_bytes_ > most_landed_bytes) {
      landed_bytes_ -= landed_.front()->bytes;
      forget(landed_.front());
      landed_.pop_front();
    }
  }

  static inline thread_local int leading = 0;

  std::mutex mutex_;
  std::unordered_map<std::string, flight_ptr> flights_;
  std::deque<flight_ptr> landed_;
  std::size_t landed_bytes_ = 0;
  std::atomic<std::uint64_t> landings_{0};
  std::atomic<std::uint64_t> joins_{0};
};

}  // namespace soundhash::db
