#include "cache/pattern_clear.hpp"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

namespace soundhash::db {
namespace {

using redis::reply;

/// One page of SCAN: how far it came, and what it found.
struct page {
  std::string cursor;
  std::vector<reply> keys;
};

std::optional<page> scan(redis::caller& session, const std::string& cursor,
                         const std::string& pattern, deadline until) {
  const redis::command command{"SCAN", cursor, "MATCH", pattern, "COUNT", "500"};
  auto answers = session.call({&command, 1}, until);
  if (!answers || answers->size() != 1) return std::nullopt;
  auto& items = (*answers)[0].items;
  if (items.size() != 2 || items[0].what != reply::kind::text) return std::nullopt;
  return page{std::move(items[0].text), std::move(items[1].items)};
}

std::optional<std::size_t> unlink(redis::caller& session, const key_space& keys,
                                  const std::vector<reply>& found, deadline until) {
  if (found.empty()) return 0;
  redis::command unlink{"UNLINK"};
  for (const auto& key : found) unlink << key.text;
  std::vector<redis::command> commands{std::move(unlink)};
  for (const auto& key : found) {
    // Nobody reads it; that it is written is the message.
    commands.push_back({"SET", keys.value_tag(key.text), "", "PX", "1000"});
  }
  const auto answers = session.call(commands, until);
  if (!answers || answers->size() != commands.size() || answers->front().is_error()) {
    return std::nullopt;
  }
  return static_cast<std::size_t>(std::max<std::int64_t>(answers->front().integer, 0));
}

}  // namespace

std::optional<std::size_t> clear_pattern(redis::caller& session, const key_space& keys,
                                         std::string_view pattern, deadline until) {
  std::size_t deleted = 0;
  const auto match = keys.values_like(pattern);
  std::string cursor = "0";
  do {
    auto found = scan(session, cursor, match, until);
    if (!found || until.passed()) return std::nullopt;
    std::erase_if(found->keys, [&](const reply& key) { return !keys.is_value(key.text); });
    const auto gone = unlink(session, keys, found->keys, until);
    if (!gone) return std::nullopt;
    deleted += *gone;
    cursor = std::move(found->cursor);
  } while (cursor != "0");
  return deleted;
}

}  // namespace soundhash::db
