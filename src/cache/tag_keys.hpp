#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <soundhash/db/core/cache_tag.hpp>

#include "cache/key_space.hpp"

namespace soundhash::db {

/// The tags that a read depends on, in the order of its stamps: the global one, and for each table
/// "all" and those of the read. All keys are in one buffer.
/// Thread safety: immutable. Moving it leaves the views valid.
class tag_keys {
 public:
  tag_keys(const key_space& keys, const tag_set& tags);

  [[nodiscard]] std::size_t size() const noexcept { return texts_.size(); }
  /// As in Redis.
  [[nodiscard]] std::string_view key(std::size_t i) const noexcept {
    return {texts_[i].data() - prefix_, prefix_ + texts_[i].size()};
  }
  /// Without the prefix of tags.
  [[nodiscard]] std::span<const std::string_view> texts() const noexcept { return texts_; }
  /// Does it stand for rows, of which there are many, and not for a table or for all?
  [[nodiscard]] bool is_of_row(std::size_t i) const noexcept {
    return texts_[i].find('=') != std::string_view::npos;
  }

 private:
  std::vector<char> buffer_;
  std::vector<std::string_view> texts_;
  std::size_t prefix_;
};

}  // namespace soundhash::db
