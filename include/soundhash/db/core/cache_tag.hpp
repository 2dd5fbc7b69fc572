#pragma once

#include <charconv>
#include <compare>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <soundhash/db/export.hpp>

namespace soundhash::db {

/// What a cached value was read from. A write drops the tags of what it changed, and with them
/// every value that carries one of them, whatever its key.
/// Thread safety: a value.
class cache_tag {
 public:
  /// On every value that reads the table; dropped when it is not known what a write changed.
  [[nodiscard]] static cache_tag all_of(std::string_view table) {
    return cache_tag{std::string{table} + "/*"};
  }
  /// On every value whose rows its arguments do not determine: lists and joins. Dropped by every
  /// write to the table.
  [[nodiscard]] static cache_tag any_of(std::string_view table) {
    return cache_tag{std::string{table} + "/?"};
  }
  /// The row, or the rows, of a table that have this value: `row("videos", "video_id", "dQw4")`.
  /// `table` and `column` are SQL identifiers.
  [[nodiscard]] static cache_tag row(std::string_view table, std::string_view column,
                                     std::string_view value) {
    std::string text;
    text.reserve(table.size() + column.size() + value.size() + 2);
    text.append(table).append("/").append(column).append("=").append(value);
    return cache_tag{std::move(text)};
  }
  template <std::integral Integer>
  [[nodiscard]] static cache_tag row(std::string_view table, std::string_view column,
                                     Integer value) {
    char digits[24];
    const auto end = std::to_chars(std::begin(digits), std::end(digits), value).ptr;
    return row(table, column, std::string_view{digits, static_cast<std::size_t>(end - digits)});
  }

  [[nodiscard]] const std::string& text() const noexcept { return text_; }
  /// The table's name.
  [[nodiscard]] std::string_view table() const noexcept {
    return std::string_view{text_}.substr(0, text_.find('/'));
  }

  /// By table first.
  friend std::strong_ordering operator<=>(const cache_tag& a, const cache_tag& b) noexcept {
    const auto tables = a.table() <=> b.table();
    return tables == 0 ? a.text_ <=> b.text_ : tables;
  }
  friend bool operator==(const cache_tag&, const cache_tag&) = default;

 private:
  explicit cache_tag(std::string text) noexcept : text_{std::move(text)} {}
  std::string text_;
};

/// The tags of one read, or of all the writes of one transaction. Rows beyond `most_rows` of one
/// table are remembered as the table: of a read as a list, of a write as all of it.
/// Thread safety: one thread at a time.
class SOUNDHASH_DB_EXPORT tag_set {
 public:
  /// Row tags of one table.
  static constexpr std::size_t most_rows = 128;

  enum class mode : unsigned char {
    read,    ///< what a read depends on
    write,   ///< what was changed
    ignore,  ///< nothing is cached: costs nothing to fill, and stays empty
  };
  explicit tag_set(mode how) noexcept
      : change_{how == mode::write ? next_change() : 0}, how_{how} {}

  void add(cache_tag tag);
  /// As `add(cache_tag::row(…))`, but free when this set ignores.
  template <class Value>
  void add_row(std::string_view table, std::string_view column, const Value& value) {
    if (how_ != mode::ignore) add(cache_tag::row(table, column, value));
  }
  /// A table that a list or a join reads, or that a write changed.
  void add_any(std::string_view table) {
    if (how_ != mode::ignore) add(cache_tag::any_of(table));
  }
  /// A table as a whole: what a write changed is not known. A read depends on all of each of its
  /// tables without saying so.
  void add_all(std::string_view table) {
    if (how_ != mode::ignore) add(cache_tag::all_of(table));
  }
  void add(const tag_set& others);

  [[nodiscard]] bool empty() const noexcept { return tags_.empty(); }
  [[nodiscard]] std::size_t size() const noexcept { return tags_.size(); }
  /// Sorted, each once.
  [[nodiscard]] const std::vector<cache_tag>& tags() const noexcept { return tags_; }
  /// Of a set of writes: whose writes they are. Copies have the same number, no other set of this
  /// process has it.
  [[nodiscard]] std::uint64_t change() const noexcept { return change_; }

 private:
  static std::uint64_t next_change() noexcept;

  std::vector<cache_tag> tags_;
  std::uint64_t change_;
  mode how_;
};

}  // namespace soundhash::db
