#include <algorithm>
#include <atomic>
#include <utility>

#include <soundhash/db/core/cache_tag.hpp>

namespace soundhash::db {
namespace {

/// Where the tags of a table stand.
auto range_of(std::vector<cache_tag>& tags, std::string_view table) {
  const auto first = std::partition_point(
      tags.begin(), tags.end(), [&](const cache_tag& tag) { return tag.table() < table; });
  const auto last = std::partition_point(
      first, tags.end(), [&](const cache_tag& tag) { return tag.table() == table; });
  return std::pair{first, last};
}

}  // namespace

std::uint64_t tag_set::next_change() noexcept {
  static std::atomic<std::uint64_t> last{0};
  return last.fetch_add(1, std::memory_order_relaxed) + 1;
}

void tag_set::add(cache_tag tag) {
  if (how_ == mode::ignore) return;
  const auto [first, last] = range_of(tags_, tag.table());
  const auto at = std::lower_bound(first, last, tag);
  if (at != last && *at == tag) return;
  auto whole = how_ == mode::read ? cache_tag::any_of(tag.table()) : cache_tag::all_of(tag.table());
  if (first != last && *first == whole) return;  // it stands alone, and covers every other
  if (tag == whole || static_cast<std::size_t>(last - first) > most_rows) {
    tags_.insert(tags_.erase(first, last), std::move(whole));
  } else {
    tags_.insert(at, std::move(tag));
  }
}

void tag_set::add(const tag_set& others) {
  for (const auto& tag : others.tags_) add(tag);
}

}  // namespace soundhash::db
