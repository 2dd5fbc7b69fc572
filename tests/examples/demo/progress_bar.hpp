#pragma once

#include <cstddef>
#include <mutex>
#include <string>

/// A line that shows how far a task is: redrawn on a terminal, one line per tenth elsewhere.
/// Thread safety: safe for concurrent use.
class progress_bar {
 public:
  progress_bar(std::string label, std::size_t total);
  void advance(std::size_t by = 1);

 private:
  void draw() const;

  std::string label_;
  std::size_t total_;
  bool terminal_;
  std::mutex mutex_;
  std::size_t done_ = 0;
};
