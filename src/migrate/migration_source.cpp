#include <algorithm>
#include <cstddef>
#include <fstream>
#include <iomanip>
#include <iterator>
#include <sstream>
#include <system_error>

#include <soundhash/db/core/error.hpp>
#include <soundhash/db/migrate/migration_source.hpp>

#include "migrate/embedded_files.hpp"
#include "migrate/migration_file.hpp"

namespace soundhash::db {
namespace {

namespace fs = std::filesystem;

constexpr std::int64_t first_own_version = 100;

[[noreturn]] void fail(const fs::path& path, const std::string& problem) {
  throw migration_error(errc::migration_failed, path.string() + ": " + problem);
}

std::vector<fs::path> sql_files(const fs::path& directory) {
  std::error_code problem;
  std::vector<fs::path> paths;
  for (fs::directory_iterator at{directory, problem}, end; !problem && at != end;
       at.increment(problem)) {
    if (at->path().extension() == ".sql") paths.push_back(at->path());
  }
  if (problem) fail(directory, "cannot read this folder of migrations: " + problem.message());
  std::sort(paths.begin(), paths.end());
  return paths;
}

std::string read(const fs::path& path) {
  std::ifstream in{path, std::ios::binary};
  std::string text{std::istreambuf_iterator<char>{in}, std::istreambuf_iterator<char>{}};
  if (!in) fail(path, "cannot read this file");
  return text;
}

std::int64_t next_version(const fs::path& directory) {
  std::int64_t highest = first_own_version - 1;
  for (const auto& path : sql_files(directory)) {
    if (const auto parsed = migrate::parse_file_name(path.filename().string())) {
      highest = std::max(highest, parsed->version);
    }
  }
  return highest + 1;
}

void write_new(const fs::path& path, std::string_view text) {
  std::ofstream out{path, std::ios::binary};
  out << text << std::flush;
  if (!out) fail(path, "cannot write this file");
}

}  // namespace

migration_source migration_source::embedded() {
  migration_source source;
  for (const auto& file : migrate::embedded_files()) {
    source.files.push_back({std::string{file.name}, std::string{file.text}});
  }
  return source;
}

migration_source migration_source::from_directory(const fs::path& directory) {
  migration_source source;
  for (const auto& path : sql_files(directory)) {
    source.files.push_back({path.filename().string(), read(path)});
  }
  return source;
}

std::pair<fs::path, fs::path> create_migration(const fs::path& directory, std::string_view name) {
  std::ostringstream stem;
  stem << std::setw(4) << std::setfill('0') << next_version(directory) << '_' << name;
  if (name.size() > 60 || !migrate::parse_file_name(stem.str() + ".up.sql")) {
    throw invalid_argument("name", "has 1 to 60 of the characters a-z, 0-9 and _");
  }
  const auto up = directory / (stem.str() + ".up.sql");
  const auto down = directory / (stem.str() + ".down.sql");
  write_new(up, "-- What this changes and why.\n");
  write_new(down, "-- Reverts " + up.filename().string() + "; delete this file if nothing can.\n");
  return {up, down};
}

}  // namespace soundhash::db
