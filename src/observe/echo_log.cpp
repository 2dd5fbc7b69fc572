#include "observe/echo_log.hpp"

#include <spdlog/spdlog.h>

#include <soundhash/db/observe/logger.hpp>

#include "observe/default_logger.hpp"
#include "observe/sql_excerpt.hpp"
#include "observe/statement_line.hpp"

namespace soundhash::db {

echo_log::echo_log() {
  const auto& fallback = default_logger();
  if (!fallback->should_log(spdlog::level::info)) fallback->set_level(spdlog::level::info);
}

void echo_log::on_finish(const statement_event& event) {
  const auto log = logger();
  if (!log->should_log(spdlog::level::info)) return;
  log->info("{}: {} ms, {}: {}", event.name, in_milliseconds(event.execute), outcome(event),
            sql_excerpt(event.sql));
}

}  // namespace soundhash::db
