#pragma once

#include <memory>

namespace spdlog {
class logger;
}

namespace soundhash::db {

/// The logger of last resort: "soundhash-db" on standard error, at level warn until somebody who
/// was asked to log more lowers it. Never registered with spdlog: the name is the application's.
/// Thread safety: safe for concurrent use.
const std::shared_ptr<spdlog::logger>& default_logger();

}  // namespace soundhash::db
