#pragma once

#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <functional>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>

#include <soundhash/db/core/deadline.hpp>
#include <soundhash/db/pool/pool_options.hpp>

#include "driver/connection.hpp"

namespace soundhash::db::test {

using driver::transaction_status;

/// Threads wait in pass() until the test opens it. Lifetime: longer than the pool whose threads
/// pass.
class gate {
 public:
  void pass() {
    std::unique_lock lock{mutex_};
    ++arrived_;
    changed_.notify_all();
    changed_.wait(lock, [this] { return open_; });
  }
  void await_arrivals(int count) {
    std::unique_lock lock{mutex_};
    changed_.wait(lock, [&] { return arrived_ >= count; });
  }
  void open() {
    std::lock_guard lock{mutex_};
    open_ = true;
    changed_.notify_all();
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  int arrived_ = 0;
  bool open_ = false;
};

/// What the fake connections share; the test changes how they behave.
struct fake_server {
  std::atomic<int> open{0};
  std::atomic<int> most_open{0};
  std::atomic<int> attempts{0};
  std::atomic<int> pings{0};
  std::atomic<int> aborted{0};
  std::atomic<bool> answers{true};  // to pings
  std::atomic<bool> quiet{true};

  std::function<void(std::string_view)> on_command = [](std::string_view) {};

  void on_connect(std::function<void()> action) {
    std::lock_guard lock{mutex};
    connect = std::move(action);
  }
  void connect_now() {
    std::function<void()> action;
    {
      std::lock_guard lock{mutex};
      action = connect;
    }
    if (action) action();
  }

 private:
  std::mutex mutex;
  std::function<void()> connect;
};

class fake_connection {
 public:
  explicit fake_connection(fake_server& server) : server_{server}, id_{++next_id} {
    const int open = ++server_.open;
    int most = server_.most_open;
    while (most < open && !server_.most_open.compare_exchange_weak(most, open)) continue;
  }
  ~fake_connection() { --server_.open; }
  fake_connection(const fake_connection&) = delete;
  fake_connection& operator=(const fake_connection&) = delete;

  bool usable() const noexcept { return usable_; }
  transaction_status status() const noexcept {
    return usable_ ? status_ : transaction_status::unknown;
  }
  bool quiet() const noexcept { return server_.quiet; }
  bool ping(deadline) noexcept {
    ++server_.pings;
    return server_.answers;
  }
  std::string command(std::string_view sql, deadline) {
    server_.on_command(sql);
    status_ = transaction_status::idle;
    return std::string{sql};
  }
  void abort() noexcept { ++server_.aborted; }
  void cut() noexcept { usable_ = false; }

  void break_link() { usable_ = false; }
  void set(transaction_status status) { status_ = status; }
  int id() const { return id_; }

 private:
  static inline std::atomic<int> next_id{0};
  fake_server& server_;
  int id_;
  std::atomic<bool> usable_ = true;
  transaction_status status_ = transaction_status::idle;
};

/// A pool of this size and otherwise the defaults.
inline pool_options small(std::size_t size, std::size_t overflow = 0) {
  pool_options options;
  options.size = size;
  options.max_overflow = overflow;
  return options;
}

}  // namespace soundhash::db::test
