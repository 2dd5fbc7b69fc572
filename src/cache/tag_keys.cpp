#include "cache/tag_keys.hpp"

#include "cache/undelivered_tags.hpp"

namespace soundhash::db {
namespace {

/// `each(parts…)` for every tag, a tag being what its parts make.
template <class F>
void for_each_tag(const tag_set& tags, F each) {
  each(undelivered_tags::global, std::string_view{});
  std::string_view table;
  for (const auto& tag : tags.tags()) {
    if (tag.table() != table) {
      table = tag.table();
      each(table, std::string_view{"/*"});
    }
    // Who names a whole table depends on each of its rows, and so on what every write drops.
    const bool whole = tag.text().size() == table.size() + 2 && tag.text().ends_with("/*");
    if (whole) {
      each(table, std::string_view{"/?"});
    } else {
      each(std::string_view{tag.text()}, std::string_view{});
    }
  }
}

}  // namespace

tag_keys::tag_keys(const key_space& keys, const tag_set& tags) : prefix_{keys.prefix().size() + 2} {
  std::size_t size = 0;
  std::size_t count = 0;
  for_each_tag(tags, [&](std::string_view a, std::string_view b) {
    size += prefix_ + a.size() + b.size();
    ++count;
  });
  buffer_.reserve(size);  // so that nothing moves
  texts_.reserve(count);
  const auto append = [&](std::string_view text) {
    buffer_.insert(buffer_.end(), text.begin(), text.end());
  };
  for_each_tag(tags, [&](std::string_view a, std::string_view b) {
    append(keys.prefix());
    append("t:");
    const auto start = buffer_.size();
    append(a);
    append(b);
    texts_.emplace_back(buffer_.data() + start, a.size() + b.size());
  });
}

}  // namespace soundhash::db
