#include "cache/tag_commands.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>

namespace soundhash::db {
namespace {

using redis::reply;

constexpr std::size_t most_in_a_call = 500;

std::size_t replies_to(tag_act act) noexcept {
  switch (act) {
    case tag_act::drop:
      return 1;
    case tag_act::settle:
      return 2;
    case tag_act::mark:
      break;
  }
  return 5;
}

bool is_of_other_type(const reply& answer) {
  return answer.is_error() && answer.text.starts_with("WRONGTYPE");
}

/// GETDEL and SREM: done, or there is the other kind of thing, which is none of theirs.
bool is_done(const reply& answer) {
  return !answer.is_error() || is_of_other_type(answer);
}

bool is_marked(const reply& exec) {
  return exec.what == reply::kind::array && exec.items.size() == 3 && !exec.items[1].is_error() &&
         exec.items[2].what == reply::kind::integer && exec.items[2].integer == 1;
}

bool is_executed(tag_act act, std::span<const reply> answers) {
  if (act == tag_act::mark) return is_marked(answers.back());
  return std::all_of(answers.begin(), answers.end(), is_done);
}

}  // namespace

bool tag_commands::execute(std::span<const tag_order> orders, const key_space& keys,
                           redis::caller& on, deadline until) const {
  for (; !orders.empty(); orders = orders.subspan(std::min(orders.size(), most_in_a_call))) {
    if (!execute_some(orders.first(std::min(orders.size(), most_in_a_call)), keys, on, until)) {
      return false;
    }
  }
  return true;
}

bool tag_commands::execute_some(std::span<const tag_order> orders, const key_space& keys,
                                redis::caller& on, deadline until) const {
  std::vector<redis::command> commands;
  for (const auto& order : orders) append(commands, order, keys);
  const auto answers = on.call(commands, until);
  if (!answers || answers->size() != commands.size()) return false;
  auto left = std::span{*answers};
  return std::all_of(orders.begin(), orders.end(), [&](const tag_order& order) {
    const auto own = left.first(replies_to(order.act));
    left = left.subspan(own.size());
    return is_executed(order.act, own);
  });
}

void tag_commands::append(std::vector<redis::command>& out, const tag_order& order,
                          const key_space& keys) const {
  const auto key = keys.tag_prefix() + order.tag;
  switch (order.act) {
    case tag_act::drop:
      out.push_back({"GETDEL", key});
      return;
    case tag_act::settle:
      out.push_back({"SREM", key, token(order.change)});
      out.push_back({"GETDEL", key});
      return;
    case tag_act::mark:
      out.push_back({"MULTI"});
      out.push_back({"GETDEL", key});
      out.push_back({"SADD", key, token(order.change)});
      out.push_back({"PEXPIRE", key, std::to_string(doubt_ttl_.count())});
      out.push_back({"EXEC"});
      return;
  }
}

std::string tag_commands::token(std::uint64_t change) const {
  return std::string{process_.bytes()}.append(std::to_string(change));
}

}  // namespace soundhash::db
