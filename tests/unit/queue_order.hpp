#pragma once

#include <algorithm>
#include <cstddef>
#include <vector>

#include "support/fibers.hpp"

namespace soundhash::db::test {

/// Of two callers who were both served after a wait, the one who came first was served first: that
/// is checked over all of them.
class queue_order {
 public:
  void add(wait_record served) { waits_.push_back(served); }
  void add(const queue_order& other) {
    waits_.insert(waits_.end(), other.waits_.begin(), other.waits_.end());
  }

  [[nodiscard]] std::size_t size() const noexcept { return waits_.size(); }

  /// How many were served before one who had come earlier.
  [[nodiscard]] std::size_t overtakers() {
    const auto served_first = [](auto a, auto b) { return a.notified < b.notified; };
    std::sort(waits_.begin(), waits_.end(), served_first);
    const auto came_later = [](auto a, auto b) { return a.began > b.began; };
    std::size_t found = 0;
    for (std::size_t i = 1; i < waits_.size(); ++i) found += came_later(waits_[i - 1], waits_[i]);
    return found;
  }

 private:
  std::vector<wait_record> waits_;
};

}  // namespace soundhash::db::test
