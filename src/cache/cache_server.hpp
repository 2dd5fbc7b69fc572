#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <string_view>
#include <utility>

#include "cache/key_space.hpp"
#include "cache/redis_call.hpp"

namespace soundhash::db {

/// Whom the cache asks, and under which names it keeps its values. Neither is known at first.
/// Thread safety: safe for concurrent use.
class cache_server {
 public:
  /// The first name given holds.
  void name(std::string_view name_space) {
    const std::lock_guard lock{mutex_};
    if (keys_ != nullptr) return;
    keys_ = std::make_unique<const key_space>(name_space);
    known_keys_.store(keys_.get(), std::memory_order_release);
  }
  /// The first one given holds.
  void attach(std::shared_ptr<redis::caller> to) {
    const std::lock_guard lock{mutex_};
    if (caller_ != nullptr) return;
    caller_ = std::move(to);
    known_caller_.store(caller_.get(), std::memory_order_release);
  }

  /// Ends the caller's threads, if this is its last owner. Nobody may ask any more.
  void close() {
    known_caller_.store(nullptr, std::memory_order_release);
    caller_.reset();
  }

  /// nullptr: not known.
  [[nodiscard]] const key_space* keys() const noexcept {
    return known_keys_.load(std::memory_order_acquire);
  }
  /// nullptr: nobody can be asked now.
  [[nodiscard]] redis::caller* available() const noexcept {
    auto* const to = known_caller_.load(std::memory_order_acquire);
    return to != nullptr && keys() != nullptr && to->available() ? to : nullptr;
  }

 private:
  std::mutex mutex_;
  std::unique_ptr<const key_space> keys_;
  std::shared_ptr<redis::caller> caller_;
  std::atomic<const key_space*> known_keys_{nullptr};
  std::atomic<redis::caller*> known_caller_{nullptr};
};

}  // namespace soundhash::db
