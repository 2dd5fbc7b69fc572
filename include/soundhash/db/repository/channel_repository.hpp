#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include <soundhash/db/core/page.hpp>
#include <soundhash/db/exec/executor.hpp>
#include <soundhash/db/export.hpp>
#include <soundhash/db/model/channel.hpp>

namespace soundhash::db {

/// Reads and writes `channels`.
/// Thread safety and lifetime: those of the executor it is made from, which must outlive it.
/// Throws, from every method: as executor; invalid_argument before anything is sent when a text is
/// too long, not UTF-8 or has a NUL byte, a limit is not 1 to 10000, or a cursor is not of the
/// list.
class SOUNDHASH_DB_EXPORT channel_repository {
 public:
  explicit channel_repository(executor& on) noexcept : on_{&on} {}

  /// Throws: constraint_violation (unique) when the channel_id is taken.
  channel create(const new_channel& values, const call_options& options = {});

  [[nodiscard]] std::optional<channel> find(std::int32_t id, const call_options& options = {});
  /// By YouTube's identifier.
  [[nodiscard]] std::optional<channel> find_by_channel_id(std::string_view channel_id,
                                                          const call_options& options = {});

  /// The channel with this channel_id, created from `values` when there is none. Safe to call from
  /// many sessions at once: one creates it, all get the same row.
  channel get_or_create(const new_channel& values, const call_options& options = {});

  /// Changes what is set in `changes`, and updated_at. Returns the row after it, nullopt when there
  /// is none.
  std::optional<channel> update(std::int32_t id, const channel_changes& changes,
                                const call_options& options = {});

  /// Sets last_processed to now. False when there is no such channel.
  bool mark_processed(std::int32_t id, const call_options& options = {});

  /// Active channels, those never processed first, then the longest ago.
  [[nodiscard]] std::vector<channel> active(int limit = 100, const call_options& options = {});

  /// The same in pages; those that were never processed come by id. For walks that do not process
  /// what they see: that would move it behind the cursor.
  [[nodiscard]] db::page<channel> active_page(const cursor& after = {}, int limit = 100,
                                              const call_options& options = {});

  /// All channels by id.
  [[nodiscard]] db::page<channel> page(const cursor& after = {}, int limit = 100,
                                       const call_options& options = {});

 private:
  executor* on_;
};

}  // namespace soundhash::db
