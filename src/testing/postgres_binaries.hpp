#pragma once

#include <filesystem>

namespace soundhash::db::testing {

/// The directory of `postgres`, `initdb` and `createdb`: `wanted` if given, else the newest version
/// under /usr/lib/postgresql, else a directory of PATH.
/// Throws: config_error when none holds all three.
std::filesystem::path find_postgres_binaries(const std::filesystem::path& wanted);

}  // namespace soundhash::db::testing
