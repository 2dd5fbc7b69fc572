#include "migrate/selection.hpp"

#include <algorithm>
#include <ranges>
#include <string>

#include <soundhash/db/core/error.hpp>

namespace soundhash::db::migrate {
namespace {

std::string label(std::int64_t version, const std::string& name) {
  return std::to_string(version) + " \"" + sanitize(name, 63) + "\"";
}

bool is_half_applied(migration_state state) {
  return state == migration_state::running || state == migration_state::failed ||
         state == migration_state::reverting;
}

bool is_applied(const migration_record* row) {
  return row != nullptr && row->state == migration_state::applied;
}

[[noreturn]] void fail(const std::string& message, errc code = errc::migration_failed) {
  throw migration_error(code, message);
}

void append_drift(std::string& text, const migration_status& m) {
  text.append(text.empty() ? "" : ", ").append(label(m.version, m.name));
  text.append(m.file_missing ? " (no such file here)" : " (the file was changed)");
}

void count(migration_overview& all, const migration_status& m) {
  if (m.state == migration_state::applied) all.current = std::max(all.current, m.version);
  if (m.state == migration_state::pending) ++all.pending;
  if (m.drifted || m.file_missing) ++all.drifted;
  if (is_half_applied(m.state)) ++all.half_applied;
}

}  // namespace

migration_overview selection::overview() const {
  migration_overview all;
  for (const auto& file : files_) all.migrations.push_back(status_of(file));
  for (const auto& row : rows_) {
    if (file_of(row.version) != nullptr) continue;
    all.migrations.push_back({.version = row.version,
                              .name = row.name,
                              .state = row.state,
                              .file_missing = true,
                              .record = row});
  }
  std::sort(all.migrations.begin(), all.migrations.end(),
            [](const auto& a, const auto& b) { return a.version < b.version; });
  for (const auto& m : all.migrations) count(all, m);
  return all;
}

void selection::require_no_drift(bool allow_missing_files) const {
  std::string found;
  for (const auto& m : overview().migrations) {
    if (m.drifted || (m.file_missing && !allow_missing_files)) append_drift(found, m);
  }
  if (found.empty()) return;
  fail("the files are not those that were applied: " + found +
           "; restore them, or accept one change with `soundhash-db migrate repair VERSION "
           "--accept-checksum`; --allow-missing-files if an older program is to go on",
       errc::migration_drift);
}

std::vector<file_run> selection::up(const up_options& what) const {
  require_known(what);
  std::vector<file_run> runs;
  const auto highest = highest_required();
  for (const auto& file : files_) {
    if (!wanted(file, what)) continue;
    const auto* begun = find_record(rows_, file.version);
    if (begun == nullptr && !file.up.optional && file.version < highest && !what.out_of_order) {
      fail("migration " + label(file.version, file.name) + " is pending although " +
           std::to_string(highest) +
           " is applied already; give it a higher number, or allow it with --out-of-order");
    }
    if (what.steps && runs.size() >= *what.steps) break;
    runs.push_back({file, migration_direction::up, begun});
  }
  return runs;
}

std::vector<file_run> selection::down(const down_options& what) const {
  if (what.to.has_value() == what.steps.has_value()) {
    throw invalid_argument("down", "needs either a version to go down to or a number of steps");
  }
  std::vector<file_run> runs;
  for (const auto& row : rows_ | std::views::reverse) {
    if (what.to ? row.version <= *what.to : runs.size() >= *what.steps) break;
    runs.push_back(revert(row, what));
  }
  return runs;
}

const migration_file* selection::file_of(std::int64_t version) const {
  const auto at = std::find_if(files_.begin(), files_.end(),
                               [&](const auto& file) { return file.version == version; });
  return at == files_.end() ? nullptr : &*at;
}

migration_status selection::status_of(const migration_file& file) const {
  migration_status status{
      .version = file.version,
      .name = file.name,
      .state = file.up.optional ? migration_state::optional : migration_state::pending,
      .record = std::nullopt};
  if (const auto* row = find_record(rows_, file.version)) {
    status.state = row->state;
    status.drifted = is_applied(row) && row->checksum != file.up.checksum;
    status.record = *row;
  }
  return status;
}

bool selection::wanted(const migration_file& file, const up_options& what) const {
  const auto* row = find_record(rows_, file.version);
  if (is_applied(row) || (what.to && file.version > *what.to)) return false;
  if (row != nullptr && row->state == migration_state::reverting) {
    fail("migration " + label(file.version, file.name) +
             " was being reverted and did not end; run `soundhash-db migrate down` again first",
         errc::migration_half_applied);
  }
  return row != nullptr || !file.up.optional || what.with.contains(file.name);
}

/// Optional migrations may come at any time, so they do not make others late.
std::int64_t selection::highest_required() const {
  std::int64_t highest = 0;
  for (const auto& row : rows_) {
    const auto* file = file_of(row.version);
    if (file == nullptr || !file->up.optional) highest = std::max(highest, row.version);
  }
  return highest;
}

void selection::require_known(const up_options& what) const {
  for (const auto& name : what.with) {
    const bool known = std::any_of(files_.begin(), files_.end(), [&](const auto& file) {
      return file.up.optional && file.name == name;
    });
    if (!known) {
      throw invalid_argument("with",
                             "there is no optional migration \"" + sanitize(name, 63) + "\"");
    }
  }
}

file_run selection::revert(const migration_record& row, const down_options& what) const {
  const auto name = label(row.version, row.name);
  const auto* file = file_of(row.version);
  if (file == nullptr || !file->down) {
    fail("migration " + name + " cannot be reverted: there is no down file");
  }
  if (row.state == migration_state::running || row.state == migration_state::failed) {
    fail("migration " + name + " did not end; finish it with `soundhash-db migrate up` first",
         errc::migration_half_applied);
  }
  if (file->down->loses_data && !what.accept_data_loss) {
    fail("reverting migration " + name + " loses data; confirm with --yes");
  }
  return {*file, migration_direction::down, &row};
}

migration_step describe(const file_run& run) {
  const auto& script = run.script();
  return {.version = run.file.version,
          .name = run.file.name,
          .direction = run.direction,
          .transactional = script.transactional,
          .loses_data = script.loses_data,
          .statements = script.statements().size(),
          .statements_done = run.statements_done(),
          .sql = script.text};
}

}  // namespace soundhash::db::migrate
