#pragma once

#include <atomic>
#include <mutex>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "core/tag_listener.hpp"

namespace soundhash::db::test {

/// The texts of tags.
using tag_texts = std::set<std::string>;

inline tag_texts texts_of(const tag_set& tags) {
  tag_texts texts;
  for (const auto& tag : tags.tags()) texts.insert(tag.text());
  return texts;
}

/// Writes down what it is told.
/// Thread safety: safe for concurrent use.
class recording_listener final : public tag_listener {
 public:
  struct call {
    std::string what;
    tag_texts tags;

    friend bool operator==(const call&, const call&) = default;
    friend void PrintTo(const call& made, std::ostream* out) {
      *out << made.what;
      for (const auto& tag : made.tags) *out << " " << tag;
    }
  };

  explicit recording_listener(bool strict = false) noexcept : strict_{strict} {}

  /// What was said since the last time.
  [[nodiscard]] std::vector<call> taken() {
    const std::lock_guard lock{mutex_};
    return std::exchange(calls_, {});
  }
  /// What announce() answers from now on.
  void answer(bool reachable) noexcept { reachable_ = reachable; }

  [[nodiscard]] bool strict() const noexcept override { return strict_; }
  [[nodiscard]] bool announce(const tag_set& changed) noexcept override {
    write_down("announce", changed);
    return reachable_;
  }
  void committed(const tag_set& changed) noexcept override { write_down("committed", changed); }
  void in_doubt(const tag_set& changed) noexcept override { write_down("in_doubt", changed); }
  void rolled_back(const tag_set& changed) noexcept override { write_down("rolled_back", changed); }

 private:
  void write_down(const char* what, const tag_set& tags) {
    const std::lock_guard lock{mutex_};
    calls_.push_back({what, texts_of(tags)});
  }

  const bool strict_;
  std::atomic<bool> reachable_{true};
  std::mutex mutex_;
  std::vector<call> calls_;
};

}  // namespace soundhash::db::test
