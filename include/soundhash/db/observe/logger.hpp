#pragma once

#include <memory>

#include <soundhash/db/export.hpp>

namespace spdlog {
class logger;
}

namespace soundhash::db {

/// The logger of this library: the spdlog logger named "soundhash-db" if the application has
/// registered one, else one on standard error at level warn (info once a database echoes
/// statements). Thread safety: safe for concurrent use.
[[nodiscard]] SOUNDHASH_DB_EXPORT std::shared_ptr<spdlog::logger> logger();

/// Replaces it; nullptr restores the default.
/// Thread safety: safe for concurrent use.
SOUNDHASH_DB_EXPORT void set_logger(std::shared_ptr<spdlog::logger> replacement);

}  // namespace soundhash::db
