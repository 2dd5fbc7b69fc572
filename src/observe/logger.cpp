#include <mutex>
#include <utility>

#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <soundhash/db/observe/logger.hpp>

#include "observe/default_logger.hpp"

namespace soundhash::db {
namespace {

constexpr auto logger_name = "soundhash-db";

// std::atomic<std::shared_ptr> takes a lock too, and not every supported library has it.
struct replaceable {
  std::mutex mutex;
  std::shared_ptr<spdlog::logger> current;
};

// Neither this nor the default logger is ever destroyed: a database with static storage duration
// may log while it is.
replaceable& replacement() {
  static auto& slot = *new replaceable;
  return slot;
}

std::shared_ptr<spdlog::logger> make_default_logger() {
  auto made = std::make_shared<spdlog::logger>(logger_name,
                                               std::make_shared<spdlog::sinks::stderr_sink_mt>());
  made->set_level(spdlog::level::warn);
  return made;
}

std::shared_ptr<spdlog::logger> current_replacement() {
  auto& slot = replacement();
  const std::lock_guard hold{slot.mutex};
  return slot.current;
}

}  // namespace

const std::shared_ptr<spdlog::logger>& default_logger() {
  static const auto& made = *new std::shared_ptr<spdlog::logger>{make_default_logger()};
  return made;
}

std::shared_ptr<spdlog::logger> logger() {
  if (auto replaced = current_replacement()) return replaced;
  // Asked each time: the application may register its logger after our first line.
  if (auto registered = spdlog::get(logger_name)) return registered;
  return default_logger();
}

void set_logger(std::shared_ptr<spdlog::logger> replaced) {
  auto& slot = replacement();
  const std::lock_guard hold{slot.mutex};
  slot.current.swap(replaced);
}

}  // namespace soundhash::db
