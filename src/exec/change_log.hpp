#pragma once

#include <memory>
#include <string_view>

#include <soundhash/db/core/cache_tag.hpp>

#include "core/tag_listener.hpp"

namespace soundhash::db {

/// What a transaction, or one write outside of one, changed so far, and who must know. Without a
/// listener all of it costs nothing. Nothing changed, nothing is said.
/// Thread safety: one thread at a time.
class change_log {
 public:
  explicit change_log(std::shared_ptr<tag_listener> listener) noexcept;

  void add(const cache_tag& tag) { changed_.add(tag); }
  /// Rows of a table, as a body told them.
  void add(std::string_view table, const tag_set& rows);
  /// Nobody knows which rows of a table.
  void add_all(std::string_view table) { changed_.add_all(table); }
  /// For a body to fill.
  [[nodiscard]] tag_set no_rows() const noexcept;

  /// Before COMMIT. False: the transaction must not commit.
  [[nodiscard]] bool announce() noexcept;
  void committed() const noexcept;
  void in_doubt() const noexcept;
  /// For certain; heard only of what was announced.
  void rolled_back() noexcept;

 private:
  [[nodiscard]] bool is_heard() const noexcept { return listener_ && !changed_.empty(); }

  std::shared_ptr<tag_listener> listener_;
  tag_set changed_;
  bool announced_ = false;
};

}  // namespace soundhash::db
