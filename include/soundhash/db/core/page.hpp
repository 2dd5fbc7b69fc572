#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace soundhash::db {

/// A place in a list, from which its next page goes on. Opaque: a short text of `A-Z a-z 0-9 - _`,
/// fit for URLs, that may be kept and given to other processes. It belongs to the list, with the
/// arguments, that it comes from: every other list refuses it. It holds no secret and is no proof
/// of anything: whoever may read the list may make one up.
/// Thread safety: a value.
class cursor {
 public:
  /// The beginning of any list.
  cursor() = default;
  /// What text() gave; checked when it is used.
  explicit cursor(std::string text) : text_{std::move(text)} {}

  /// Empty at the beginning.
  [[nodiscard]] const std::string& text() const noexcept { return text_; }
  [[nodiscard]] bool at_start() const noexcept { return text_.empty(); }
  friend bool operator==(const cursor&, const cursor&) = default;

 private:
  std::string text_;
};

/// Rows of a list, and where it goes on. Rows that come or go meanwhile shift nothing: a page
/// begins right after the last row of the page before, even if that row is gone.
/// ```
/// for (std::optional<cursor> at{std::in_place}; at;) {
///   const auto videos = db.videos().page(*at, 1000);
///   write(videos);
///   at = videos.next;
/// }
/// ```
template <class T>
struct page : std::vector<T> {
  page() = default;
  explicit page(std::vector<T> rows) : std::vector<T>{std::move(rows)} {}

  /// Set when as many rows came as were asked for. The page there may be empty.
  std::optional<cursor> next{};
};

}  // namespace soundhash::db
