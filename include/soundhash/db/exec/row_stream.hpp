#pragma once

#include <cstddef>
#include <iterator>
#include <memory>
#include <optional>
#include <utility>

#include <soundhash/db/core/error.hpp>
#include <soundhash/db/core/result.hpp>
#include <soundhash/db/core/row_traits.hpp>
#include <soundhash/db/export.hpp>

namespace soundhash::db {

/// Where the rows of a stream come from; made by executors.
class SOUNDHASH_DB_EXPORT row_source {
 public:
  /// Before the last row: ends the statement.
  virtual ~row_source();
  /// The next rows, one or more, in the same object each time, which lives as long as this source;
  /// nullptr after the last.
  /// Throws: as executor.
  virtual const result* next() = 0;
  /// The reader could not decode a row: the statement's failure, for the interceptors.
  virtual void refuse(const error& why) noexcept = 0;

 protected:
  row_source() = default;
  row_source(const row_source&) = default;
  row_source& operator=(const row_source&) = default;
};

/// The rows of one statement, to be read once, front to back, while the server sends them: however
/// many there are, one is in memory. See executor::stream. All of them are read into one T, one
/// after the other: a member that row_traits does not name keeps what the reader left in it.
/// ```
/// for (const video& each : db.stream<video>(all_videos)) write(each);
/// ```
/// Thread safety: one thread, that which made it.
template <readable_row T>
class row_stream {
 public:
  explicit row_stream(std::unique_ptr<row_source> from) : from_{std::move(from)} {}

  class iterator {
   public:
    using iterator_concept = std::input_iterator_tag;
    using value_type = T;
    using difference_type = std::ptrdiff_t;

    /// The row may be moved from. It lives until the next one is asked for.
    [[nodiscard]] T& operator*() const noexcept { return of_->current_; }
    [[nodiscard]] T* operator->() const noexcept { return &of_->current_; }
    /// Throws: as executor; the stream has ended then.
    iterator& operator++() {
      of_->advance();
      return *this;
    }
    void operator++(int) { ++*this; }
    [[nodiscard]] bool operator==(std::default_sentinel_t) const noexcept { return !of_->from_; }

   private:
    friend class row_stream;
    explicit iterator(row_stream& of) noexcept : of_{&of} {}
    row_stream* of_;
  };

  /// Reads the first row; to be called once. Throws: as executor.
  [[nodiscard]] iterator begin() {
    advance();
    return iterator{*this};
  }
  [[nodiscard]] std::default_sentinel_t end() const noexcept { return {}; }

 private:
  void advance() {
    if (!from_) return;
    try {
      if (!rows_ || ++row_ == rows_->size()) fetch();
      if (from_) read_->read(row_, current_);
    } catch (const decode_error& why) {
      from_->refuse(why);
      from_.reset();
      throw;
    } catch (...) {
      from_.reset();
      throw;
    }
  }

  void fetch() {
    rows_ = from_->next();
    row_ = 0;
    if (rows_ == nullptr) {
      from_.reset();
    } else if (!read_) {
      read_.emplace(*rows_);
    }
  }

  std::unique_ptr<row_source> from_;  ///< nullptr: the end was reached
  const result* rows_ = nullptr;
  std::size_t row_ = 0;
  std::optional<row_reader<T>> read_;
  T current_{};
};

}  // namespace soundhash::db
