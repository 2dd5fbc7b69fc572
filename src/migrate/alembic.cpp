#include "migrate/alembic.hpp"

#include <algorithm>
#include <map>
#include <set>
#include <string_view>

#include <soundhash/db/core/error.hpp>

namespace soundhash::db::migrate {
namespace {

using revision_set = std::set<std::string_view>;

/// Each revision and those it directly builds on (alembic/versions of the Python services).
const std::map<std::string_view, std::vector<std::string_view>>& revision_graph() {
  static const std::map<std::string_view, std::vector<std::string_view>> graph = {
      {"ce1ffb204f19", {}},
      {"b9532a7d8c7a", {"ce1ffb204f19"}},
      {"c8e9d4a1f2b3", {"b9532a7d8c7a"}},
      {"e5f8a2b3d4c1", {"c8e9d4a1f2b3"}},
      {"d4a7e3b9c2f1", {"b9532a7d8c7a"}},
      {"e0ae37366ae4", {"d4a7e3b9c2f1", "e5f8a2b3d4c1"}},
      {"0643289331ca", {"e0ae37366ae4"}},
      {"3008b188cd54", {"0643289331ca"}},
      {"ce3adb6ef385", {"3008b188cd54"}},
      {"aca9d1b18f40", {"ce3adb6ef385"}},
      {"ef282c9b1cb3", {"aca9d1b18f40"}},
      {"d4e8a9b2c1f5", {"ce3adb6ef385"}},
      {"f1a2b3c4d5e6", {"e5f8a2b3d4c1"}},
      {"m1a2b3c4d5e6", {"f1a2b3c4d5e6"}},
      {"f78a03bf92c3", {"d4e8a9b2c1f5", "ef282c9b1cb3", "m1a2b3c4d5e6"}},
  };
  return graph;
}

void add_with_ancestors(std::string_view revision, revision_set& closure) {
  const auto at = revision_graph().find(revision);
  if (at == revision_graph().end()) {
    throw migration_error(errc::migration_mismatch,
                          "the Alembic revision \"" + sanitize(revision, 40) +
                              "\" is unknown to this version; if you know what the schema amounts "
                              "to, name it: soundhash-db migrate baseline --to VERSION");
  }
  if (!closure.insert(at->first).second) return;
  for (const auto parent : at->second) add_with_ancestors(parent, closure);
}

}  // namespace

std::vector<std::string> read_alembic_revisions(session& on) {
  std::vector<std::string> revisions;
  const auto table = on.schema() + ".alembic_version";
  if (on.query("SELECT to_regclass($1) IS NULL", {table})[0][0].as<bool>()) return revisions;
  const auto rows = on.query("SELECT version_num FROM " + table + " ORDER BY version_num");
  for (std::size_t i = 0; i < rows.size(); ++i) revisions.push_back(rows[i][0].as<std::string>());
  return revisions;
}

alembic_state resolve_alembic(const std::vector<std::string>& revisions) {
  constexpr std::string_view equals[] = {"ce1ffb204f19", "b9532a7d8c7a", "c8e9d4a1f2b3",
                                         "e5f8a2b3d4c1"};
  revision_set closure;
  for (const auto& revision : revisions) add_with_ancestors(revision, closure);
  alembic_state state{.tenants = closure.contains("3008b188cd54")};
  state.version = std::count_if(std::begin(equals), std::end(equals),
                                [&](auto revision) { return closure.contains(revision); });
  return state;
}

}  // namespace soundhash::db::migrate
