#include "observe/slow_query_log.hpp"

#include <string>
#include <utility>

#include <spdlog/spdlog.h>

#include <soundhash/db/observe/logger.hpp>

#include "observe/sql_excerpt.hpp"
#include "observe/statement_line.hpp"

namespace soundhash::db {
namespace {

constexpr double lines_per_second = 10;
constexpr double burst = 20;
constexpr std::size_t sql_cap = 200;

std::string left_out_note(std::uint64_t count) {
  if (count == 0) return {};
  return " (" + std::to_string(count) + " slow statements before this one not logged)";
}

}  // namespace

slow_query_log::slow_query_log(std::chrono::nanoseconds threshold, clock now)
    : threshold_{threshold}, now_{std::move(now)}, allowed_{lines_per_second, burst, now_()} {}

void slow_query_log::on_finish(const statement_event& event) {
  if (event.execute <= threshold_) return;
  const auto log = logger();
  if (!log->should_log(spdlog::level::warn)) return;
  const auto left_out = admit();
  if (!left_out) return;
  log->warn(
      "slow statement {}: acquire {} ms, prepare {} ms, execute {} ms, decode {} ms; {}: {}{}",
      event.name, in_milliseconds(event.acquire), in_milliseconds(event.prepare),
      in_milliseconds(event.execute), in_milliseconds(event.decode), outcome(event),
      sql_excerpt(event.sql, sql_cap), left_out_note(*left_out));
}

std::optional<std::uint64_t> slow_query_log::admit() {
  const std::lock_guard hold{mutex_};
  if (allowed_.take(now_())) return std::exchange(left_out_, 0);
  ++left_out_;
  return std::nullopt;
}

}  // namespace soundhash::db
