#include "pool_figures.hpp"

#include <chrono>
#include <cstdint>
#include <string>
#include <utility>

namespace soundhash::db {
namespace {

double seconds(std::chrono::nanoseconds span) {
  return std::chrono::duration<double>{span}.count();
}

}  // namespace

void add_pool_figures(const pool_stats& pool, std::vector<figure>& out) {
  const auto gauge = [&](std::string name, std::string labels, std::size_t value,
                         std::string help) {
    out.push_back(
        {std::move(name), std::move(labels), static_cast<double>(value), false, std::move(help)});
  };
  const auto counter = [&](std::string name, std::string labels, double value, std::string help) {
    out.push_back({std::move(name), std::move(labels), value, true, std::move(help)});
  };
  const auto count = [](std::uint64_t n) { return static_cast<double>(n); };
  for (const auto& [state, value] : {std::pair{"idle", pool.idle},
                                     {"used", pool.used},
                                     {"connecting", pool.connecting},
                                     {"closing", pool.closing}}) {
    gauge("db_client_connection_count", std::string{"state=\""} + state + "\"", value,
          "Connections of the pool by state");
  }
  gauge("db_client_connection_max", "", pool.limit, "Connections at most; 0: unlimited");
  gauge("db_client_connection_pending_requests", "", pool.waiting, "Callers waiting now");
  counter("db_client_connection_timeouts_total", "", count(pool.timeouts), "Waits that timed out");
  counter("db_client_connection_cancellations_total", "", count(pool.cancellations),
          "Waits ended by a stop");
  counter("db_client_connection_overloads_total", "", count(pool.overloads),
          "Callers refused because too many waited");
  counter("db_client_connection_wait_seconds_total", "", seconds(pool.wait_time),
          "Time spent waiting for a connection");
  counter("db_client_connection_use_seconds_total", "", seconds(pool.hold_time),
          "Time that connections were held");
  counter("db_client_connection_leaks_total", "", count(pool.leaks),
          "Connections held longer than leak_after");
  counter("db_client_connection_create_seconds_total", "", seconds(pool.connect_time),
          "Time spent connecting");
  counter("db_client_connection_created_total", "", count(pool.connects), "Successful connects");
  counter("db_client_connection_create_failures_total", "", count(pool.connect_failures),
          "Failed connects");
  counter("db_client_connection_pings_total", "", count(pool.pings), "Health checks");
  counter("db_client_connection_rollbacks_total", "", count(pool.rollbacks_on_return),
          "Connections returned with an open transaction");
  for (const auto& [path, value] :
       {std::pair{"at_once", pool.acquired_at_once}, {"after_wait", pool.acquired_after_wait}}) {
    counter("db_client_connection_acquired_total", std::string{"path=\""} + path + "\"",
            count(value), "Connections handed out");
  }
  for (const auto& [reason, value] : {std::pair{"recycled", pool.closed_recycled},
                                      {"broken", pool.closed_broken},
                                      {"overflow", pool.closed_overflow},
                                      {"idle", pool.closed_idle},
                                      {"invalidated", pool.closed_invalidated},
                                      {"resized", pool.closed_resized}}) {
    counter("db_client_connection_closed_total", std::string{"reason=\""} + reason + "\"",
            count(value), "Connections closed");
  }
}

}  // namespace soundhash::db
