#include "testing/postgres_binaries.hpp"

#include <charconv>
#include <cstdlib>
#include <sstream>
#include <string>
#include <system_error>

#include <unistd.h>

#include <soundhash/db/core/error.hpp>

namespace soundhash::db::testing {

namespace {

namespace fs = std::filesystem;

bool holds_a_server(const fs::path& directory) {
  for (const char* program : {"postgres", "initdb", "createdb"}) {
    if (access((directory / program).c_str(), X_OK) != 0) return false;
  }
  return true;
}

int version_of(const fs::path& directory) {
  const auto name = directory.filename().string();
  int version = 0;
  std::from_chars(name.data(), name.data() + name.size(), version);
  return version;
}

fs::path newest_of_debian() {
  std::error_code missing;
  fs::path newest;
  for (const auto& entry : fs::directory_iterator{"/usr/lib/postgresql", missing}) {
    if (!holds_a_server(entry.path() / "bin")) continue;
    if (newest.empty() || version_of(entry.path()) > version_of(newest)) newest = entry.path();
  }
  return newest.empty() ? newest : newest / "bin";
}

fs::path first_of_path() {
  const char* path = std::getenv("PATH");
  std::istringstream directories{path == nullptr ? "" : path};
  for (std::string directory; std::getline(directories, directory, ':');) {
    if (!directory.empty() && holds_a_server(directory)) return directory;
  }
  return {};
}

}  // namespace

std::filesystem::path find_postgres_binaries(const std::filesystem::path& wanted) {
  auto found = wanted.empty() ? newest_of_debian() : wanted;
  if (found.empty()) found = first_of_path();
  if (!found.empty() && holds_a_server(found)) return fs::absolute(found);
  throw config_error{"private_postgres_options::binaries",
                     "no directory with postgres, initdb and createdb was found",
                     "an installed PostgreSQL server (on Debian: apt install postgresql)"};
}

}  // namespace soundhash::db::testing
