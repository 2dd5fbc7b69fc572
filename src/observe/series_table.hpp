#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "observe/series.hpp"

namespace soundhash::db {

/// Finds the series of a name and kind, or makes it.
/// A hash table keyed by where the characters of the name lie, since names of queries live for
/// ever; each hit is verified by content, so that an address used again for another name is no
/// error, merely slower.
/// Thread safety: safe for concurrent use; a name seen before is found without a lock.
class series_table {
 public:
  /// At most `max_series` are made; names beyond share one per kind, "(other)".
  explicit series_table(std::size_t max_series);

  /// Lifetime of the reference: that of the table. Out of memory, it is "(other)".
  [[nodiscard]] series& find(statement_kind kind, std::string_view name) noexcept;
  /// All series, "(other)" ones included, in no order.
  [[nodiscard]] std::vector<const series*> all() const;

 private:
  /// One place in memory where a name was seen.
  struct sighting {
    const char* address;
    std::string name;
    series* target;

    [[nodiscard]] bool is_of(statement_kind kind, std::string_view text) const noexcept {
      return address == text.data() && name == text && target->kind() == kind;
    }
  };
  using by_name = std::map<std::string, std::unique_ptr<series>, std::less<>>;

  static constexpr std::size_t slot_count = 8192;
  static constexpr std::size_t max_sightings = slot_count / 2;
  static constexpr std::size_t kind_count = 4;

  [[nodiscard]] std::size_t probe(statement_kind kind, std::string_view name) const noexcept;
  [[nodiscard]] series& find_or_make(statement_kind kind, std::string_view name);
  [[nodiscard]] series& made(statement_kind kind, std::string_view name);
  [[nodiscard]] series& overflow(statement_kind kind) noexcept;

  const std::size_t max_series_;
  std::array<std::atomic<const sighting*>, slot_count> slots_{};
  mutable std::mutex mutex_;  // guards all below
  std::deque<sighting> sightings_;
  std::array<by_name, kind_count> series_;
  std::size_t made_ = 0;
  std::array<std::unique_ptr<series>, kind_count> overflow_;
};

}  // namespace soundhash::db
