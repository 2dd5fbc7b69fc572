#include "cache/inquiry.hpp"

#include <algorithm>
#include <cstddef>

namespace soundhash::db {
namespace {

using redis::reply;

/// What MGET said of the tags of one inquiry: stamps, nil, or what is neither.
struct found_tags {
  std::vector<std::optional<stamp>> stamps;
  bool foreign = false;
};

bool is_reply_to_get(const reply& answer) {
  return answer.is_nil() || answer.what == reply::kind::text;
}

/// Takes the answers for one inquiry off the front of `left`.
found_tags read_answers(inquiry& about, ask_for what, std::span<reply>& left) {
  if (what == ask_for::values_and_stamps) {
    if (!left[0].is_nil()) about.stored = std::move(left[0].text);
    left = left.subspan(1);
  }
  found_tags found;
  found.stamps.reserve(about.tags.size());
  for (const auto& answer : left.first(about.tags.size())) {
    found.stamps.push_back(stamp::from(answer.text));
    if (answer.is_nil()) about.cold = true;
    if (!answer.is_nil() && !found.stamps.back()) found.foreign = true;
  }
  left = left.subspan(about.tags.size());
  return found;
}

redis::command question(std::span<inquiry* const> about, ask_for what) {
  redis::command mget{"MGET"};
  for (const auto* each : about) {
    if (what == ask_for::values_and_stamps) mget << each->key;
    for (std::size_t i = 0; i < each->tags.size(); ++i) mget << each->tags.key(i);
  }
  return mget;
}

/// SET NX, GET for each tag that has no stamp.
void append_new_stamps(std::vector<redis::command>& out, const inquiry& about,
                       const found_tags& found, std::chrono::milliseconds row_tag_life) {
  for (std::size_t i = 0; i < about.tags.size(); ++i) {
    if (found.stamps[i] || found.foreign) continue;
    const auto life = about.tags.is_of_row(i) ? row_tag_life : table_tag_life;
    redis::command set{"SET", about.tags.key(i), stamp::random().bytes(), "NX", "PX"};
    out.push_back(std::move(set << std::int64_t{life.count()}));
    out.push_back({"GET", about.tags.key(i)});
  }
}

/// Takes the stamps from the answers to append_new_stamps.
void read_new_stamps(found_tags& found, std::span<const reply>& left) {
  if (found.foreign) return;
  for (auto& known : found.stamps) {
    if (known) continue;
    const auto& got = left[1];
    if (got.what == reply::kind::text) known = stamp::from(got.text);
    left = left.subspan(2);
  }
}

void settle(inquiry& about, const found_tags& found) {
  about.usable = std::all_of(found.stamps.begin(), found.stamps.end(),
                             [](const auto& known) { return known.has_value(); });
  if (!about.usable) return;
  about.stamps.reserve(found.stamps.size());
  for (const auto& known : found.stamps) about.stamps.push_back(*known);
}

bool warm(std::span<inquiry* const> about, std::span<found_tags> found,
          std::chrono::milliseconds row_tag_life, redis::caller& server, deadline until) {
  std::vector<redis::command> commands;
  for (std::size_t i = 0; i < about.size(); ++i) {
    append_new_stamps(commands, *about[i], found[i], row_tag_life);
  }
  if (commands.empty()) return true;
  const auto answers = server.call(commands, until);
  if (!answers || answers->size() != commands.size()) return false;
  std::span<const reply> left{*answers};
  for (auto& each : found) read_new_stamps(each, left);
  return true;
}

}  // namespace

bool ask(std::span<inquiry* const> about, ask_for what, std::chrono::milliseconds row_tag_life,
         redis::caller& server, deadline until) {
  const auto mget = question(about, what);
  auto answers = server.call({&mget, 1}, until);
  if (!answers || answers->size() != 1) return false;
  auto& items = (*answers)[0].items;
  if ((*answers)[0].what != reply::kind::array || items.size() != mget.size() - 1) return false;
  if (!std::all_of(items.begin(), items.end(), is_reply_to_get)) return false;
  std::vector<found_tags> found;
  found.reserve(about.size());
  std::span<reply> left{items};
  for (auto* each : about) found.push_back(read_answers(*each, what, left));
  if (!warm(about, found, row_tag_life, server, until)) return false;
  for (std::size_t i = 0; i < about.size(); ++i) settle(*about[i], found[i]);
  return true;
}

}  // namespace soundhash::db
