#include "cache/server_run.hpp"

#include <string_view>
#include <vector>

namespace soundhash::db {
namespace {

using redis::reply;

/// The value of "run_id:…\r\n", or empty.
std::string_view run_id_in(std::string_view info) {
  constexpr std::string_view name = "run_id:";
  const auto at = info.find(name);
  if (at == std::string_view::npos) return {};
  info.remove_prefix(at + name.size());
  return info.substr(0, info.find_first_of("\r\n"));
}

bool is_master(const reply& role) {
  return role.what == reply::kind::array && !role.items.empty() && role.items[0].text == "master";
}

bool forget_all(redis::caller& session, const key_space& keys, std::string_view run_id,
                deadline until) {
  const std::vector<redis::command> commands{{"GETDEL", keys.global_tag()},
                                             {"SET", keys.run(), run_id}};
  const auto answers = session.call(commands, until);
  if (!answers || answers->size() != 2) return false;
  // A global tag that is marked needs no drop: nothing is hit while it is.
  const auto& dropped = (*answers)[0];
  return (!dropped.is_error() || dropped.text.starts_with("WRONGTYPE")) &&
         !(*answers)[1].is_error();
}

}  // namespace

bool meet_server(redis::caller& session, const key_space& keys, deadline until) {
  const std::vector<redis::command> commands{{"INFO", "server"}, {"ROLE"}, {"GET", keys.run()}};
  const auto answers = session.call(commands, until);
  if (!answers || answers->size() != 3 || !is_master((*answers)[1])) return false;
  const auto& met = (*answers)[2];
  const auto run_id = run_id_in((*answers)[0].text);
  if (run_id.empty() || met.is_error()) return false;
  return met.text == run_id || forget_all(session, keys, run_id, until);
}

}  // namespace soundhash::db
