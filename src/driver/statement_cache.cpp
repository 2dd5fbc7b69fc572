#include "driver/statement_cache.hpp"

#include <utility>

#include <soundhash/db/core/error.hpp>

namespace soundhash::db::driver {
namespace {

constexpr std::string_view comment_begin = "/* ";
constexpr std::string_view comment_end = " */ ";

}  // namespace

const std::string* statement_cache::find(std::string_view name, std::string_view sql) const {
  const auto known = texts_.find(name);
  if (known == texts_.end()) return nullptr;
  const std::string_view text = known->second;
  const auto before_sql = comment_begin.size() + name.size() + comment_end.size();
  if (text.substr(before_sql) == sql) return &known->second;
  throw invalid_argument{"query \"" + std::string{name} + "\"",
                         "the name is used with two different SQL texts; give each its own name"};
}

const std::string& statement_cache::add(std::string_view name, std::string text) {
  return texts_.insert_or_assign(std::string{name}, std::move(text)).first->second;
}

void statement_cache::mark_stale(std::string_view name) {
  stale_.emplace_back(name);
}

std::vector<std::string> statement_cache::take_stale() {
  for (const auto& name : stale_) texts_.erase(name);
  return std::exchange(stale_, {});
}

std::string statement_cache::text_of(std::string_view name, std::string_view sql) {
  std::string text{comment_begin};
  text.append(name).append(comment_end).append(sql);
  return text;
}

}  // namespace soundhash::db::driver
