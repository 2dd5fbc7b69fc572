#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <fnmatch.h>

#include "cache/redis_call.hpp"

namespace soundhash::db::test {

/// What a Redis server keeps, and what its commands do to it, as far as the cache uses them. Time
/// stands still until a test moves it.
class fake_store {
 public:
  using milliseconds = std::chrono::milliseconds;
  using arguments = std::vector<std::string>;

  std::string run_id = "run-1";
  std::string role = "master";
  /// Refuses commands that take memory, as a server at maxmemory with noeviction.
  bool out_of_memory = false;

  void pass(milliseconds by) {
    const std::lock_guard lock{mutex_};
    now_ += by;
  }
  [[nodiscard]] milliseconds now() const {
    const std::lock_guard lock{mutex_};
    return now_;
  }
  void flush() {
    const std::lock_guard lock{mutex_};
    items_.clear();
  }
  /// As an eviction. False when it is not there.
  bool evict(const std::string& key) {
    const std::lock_guard lock{mutex_};
    return items_.erase(key) != 0;
  }
  [[nodiscard]] std::vector<std::string> keys() {
    const std::lock_guard lock{mutex_};
    expire();
    std::vector<std::string> found;
    for (const auto& [key, kept] : items_) found.push_back(key);
    return found;
  }
  [[nodiscard]] std::vector<std::string> keys_with(std::string_view part) {
    auto found = keys();
    std::erase_if(found, [&](const std::string& key) { return key.find(part) == key.npos; });
    return found;
  }
  [[nodiscard]] std::optional<std::string> text(const std::string& key) {
    const std::lock_guard lock{mutex_};
    const auto* const kept = find(key);
    if (kept == nullptr || kept->is_set) return std::nullopt;
    return kept->text;
  }
  void put(const std::string& key, std::string text) {
    const std::lock_guard lock{mutex_};
    items_[key] = {.text = std::move(text)};
  }
  /// Time left; nullopt when it is not there or has no end.
  [[nodiscard]] std::optional<milliseconds> life(const std::string& key) {
    const std::lock_guard lock{mutex_};
    const auto* const kept = find(key);
    if (kept == nullptr || !kept->ends) return std::nullopt;
    return *kept->ends - now_;
  }
  /// A dump, and its revival.
  [[nodiscard]] auto dump() {
    const std::lock_guard lock{mutex_};
    return items_;
  }
  template <class Dump>
  void restart(Dump items, std::string new_run_id) {
    const std::lock_guard lock{mutex_};
    items_ = std::move(items);
    run_id = std::move(new_run_id);
  }

  /// All of a call, with nobody between.
  std::vector<redis::reply> execute(const std::vector<arguments>& commands) {
    const std::lock_guard lock{mutex_};
    std::vector<redis::reply> answers;
    std::optional<std::vector<arguments>> queued;
    for (const auto& command : commands) {
      expire();
      if (command[0] == "MULTI") {
        queued.emplace();
        answers.push_back(status("OK"));
      } else if (command[0] == "EXEC") {
        redis::reply all{.what = redis::reply::kind::array};
        for (const auto& each : *queued) all.items.push_back(run(each));
        queued.reset();
        answers.push_back(std::move(all));
      } else if (queued) {
        queued->push_back(command);
        answers.push_back(status("QUEUED"));
      } else {
        answers.push_back(run(command));
      }
    }
    return answers;
  }

 private:
  struct item {
    bool is_set = false;
    std::string text{};
    std::set<std::string> members{};
    std::optional<milliseconds> ends{};
  };
  using reply = redis::reply;
  using kind = redis::reply::kind;

  static reply status(std::string text) { return {kind::status, std::move(text)}; }
  static reply number(std::int64_t value) { return {.what = kind::integer, .integer = value}; }
  static reply bulk(std::string text) { return {kind::text, std::move(text)}; }
  static reply wrong_type() {
    return {kind::error, "WRONGTYPE Operation against a key holding the wrong kind of value"};
  }

  item* find(const std::string& key) {
    expire();
    const auto at = items_.find(key);
    return at == items_.end() ? nullptr : &at->second;
  }
  void expire() {
    std::erase_if(items_,
                  [&](const auto& kept) { return kept.second.ends && *kept.second.ends <= now_; });
  }

  reply run(const arguments& of) {
    const auto& name = of[0];
    if (out_of_memory && (name == "SET" || name == "SADD")) {
      return {kind::error, "OOM command not allowed when used memory > 'maxmemory'."};
    }
    if (role != "master" && name != "MGET" && name != "GET" && name != "ROLE" && name != "INFO") {
      return {kind::error, "READONLY You can't write against a read only replica."};
    }
    if (name == "MGET") return mget(of);
    if (name == "SET") return set(of);
    if (name == "SADD") return sadd(of);
    if (name == "SREM") return srem(of);
    if (name == "SCAN") return scan(of);
    if (name == "PEXPIRE") {
      auto* const kept = find(of[1]);
      if (kept != nullptr) kept->ends = now_ + milliseconds{std::stoll(of[2])};
      return number(kept != nullptr ? 1 : 0);
    }
    if (name == "UNLINK") {
      std::int64_t gone = 0;
      for (std::size_t i = 1; i < of.size(); ++i) gone += items_.erase(of[i]) != 0 ? 1 : 0;
      return number(gone);
    }
    if (name == "GET" || name == "GETDEL") {
      const auto* const kept = find(of[1]);
      if (kept == nullptr) return {};
      if (kept->is_set) return wrong_type();
      auto text = kept->text;
      if (name == "GETDEL") items_.erase(of[1]);
      return bulk(std::move(text));
    }
    if (name == "INFO")
      return bulk("# Server\r\nredis_version:7.0.15\r\nrun_id:" + run_id + "\r\n");
    if (name == "ROLE") return {.what = kind::array, .items = {bulk(role), number(0)}};
    return {kind::error, "ERR unknown command '" + name + "'"};
  }

  reply mget(const arguments& of) {
    reply all{.what = kind::array};
    for (std::size_t i = 1; i < of.size(); ++i) {
      const auto* const kept = find(of[i]);
      all.items.push_back(kept == nullptr || kept->is_set ? reply{} : bulk(kept->text));
    }
    return all;
  }

  reply set(const arguments& of) {
    item made{.text = of[2]};
    for (std::size_t i = 3; i < of.size(); ++i) {
      if (of[i] == "NX" && find(of[1]) != nullptr) return {};
      if (of[i] == "PX") made.ends = now_ + milliseconds{std::stoll(of[++i])};
    }
    items_[of[1]] = std::move(made);
    return status("OK");
  }

  reply sadd(const arguments& of) {
    auto* const kept = find(of[1]);
    if (kept != nullptr && !kept->is_set) return wrong_type();
    auto& members = items_[of[1]];
    members.is_set = true;
    return number(members.members.insert(of[2]).second ? 1 : 0);
  }

  reply srem(const arguments& of) {
    auto* const kept = find(of[1]);
    if (kept == nullptr) return number(0);
    if (!kept->is_set) return wrong_type();
    const auto gone = kept->members.erase(of[2]);
    if (kept->members.empty()) items_.erase(of[1]);
    return number(static_cast<std::int64_t>(gone));
  }

  /// Pages of three keys; the cursor is the number of keys seen.
  reply scan(const arguments& of) {
    constexpr std::size_t page = 3;
    const auto from = static_cast<std::size_t>(std::stoul(of[1]));
    reply found{.what = kind::array};
    std::size_t i = 0;
    scanned_ = from == 0 ? snapshot() : scanned_;
    for (i = from; i < scanned_.size() && i < from + page; ++i) {
      if (::fnmatch(of[3].c_str(), scanned_[i].c_str(), 0) == 0) {
        found.items.push_back(bulk(scanned_[i]));
      }
    }
    auto cursor = bulk(i >= scanned_.size() ? "0" : std::to_string(i));
    return {.what = kind::array, .items = {std::move(cursor), std::move(found)}};
  }
  std::vector<std::string> snapshot() {
    std::vector<std::string> found;
    for (const auto& [key, kept] : items_) found.push_back(key);
    return found;
  }

  mutable std::mutex mutex_;
  std::map<std::string, item> items_;
  std::vector<std::string> scanned_;
  milliseconds now_{1'000'000};
};

/// A connection to it, whose calls a test can watch, stop, lose and refuse.
class fake_redis final : public redis::caller {
 public:
  enum class fate : std::uint8_t {
    answered,
    lost_before,  ///< the server never saw it
    lost_after,   ///< the server did it, and nobody knows
    late,         ///< nobody knows, and the server will do it: see do_late()
  };
  using arguments = fake_store::arguments;
  using judge = std::function<fate(const std::vector<arguments>&)>;

  explicit fake_redis(fake_store& on) : store_{on} {}

  std::atomic<bool> up{true};
  /// Called with every call, before it happens; it may wait, change the store or throw.
  judge decide = [](const auto&) { return fate::answered; };

  [[nodiscard]] bool available() const noexcept override { return up; }

  [[nodiscard]] std::optional<std::vector<redis::reply>> call(
      std::span<const redis::command> commands, deadline) override {
    ++calls;
    const auto over = connections.load();
    std::vector<arguments> all;
    for (const auto& each : commands) all.push_back(each.arguments());
    const auto what = decide(all);
    if (what == fate::late) late_.push_back(std::move(all));
    if (what == fate::lost_before || what == fate::late || !up || over != connections) {
      return std::nullopt;
    }
    auto answers = store_.execute(all);
    if (what == fate::lost_after) return std::nullopt;
    return answers;
  }

  /// The connection is gone, and with it the answers to what is under way.
  void cut() {
    up = false;
    ++connections;
  }
  /// The first of the late calls reaches the server. False: there is none.
  bool do_late() {
    if (late_.empty()) return false;
    (void)store_.execute(late_.front());
    late_.erase(late_.begin());
    return true;
  }

  std::atomic<std::size_t> calls{0};
  std::atomic<int> connections{0};

 private:
  fake_store& store_;
  std::vector<std::vector<arguments>> late_;
};

}  // namespace soundhash::db::test
