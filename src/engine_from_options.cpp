#include "engine_from_options.hpp"

#include <algorithm>
#include <array>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <spdlog/spdlog.h>

#include <soundhash/db/core/error.hpp>
#include <soundhash/db/observe/logger.hpp>

#include "conninfo_from_options.hpp"
#include "observe/echo_log.hpp"
#include "observe/interceptor_chain.hpp"
#include "observe/slow_query_log.hpp"
#include "observe/timing_interceptor.hpp"

namespace soundhash::db {
namespace {

constexpr int oldest_server = 140000;

bool is_utc(std::string_view zone) {
  constexpr std::array<std::string_view, 8> names{"UTC",     "Etc/UTC", "GMT",       "Etc/GMT",
                                                  "Etc/UCT", "UCT",     "Universal", "Zulu"};
  return std::find(names.begin(), names.end(), zone) != names.end();
}

[[noreturn]] void throw_unsuitable(const std::string& problem) {
  throw connection_error{problem, {.code = errc::configuration, .connection_usable = false}};
}

/// Checked on every new session; the server reports both unasked.
void require_suitable(const driver::connection& session, bool require_utc) {
  if (session.server_version() < oldest_server) {
    throw_unsuitable("the server is PostgreSQL " +
                     std::to_string(session.server_version() / 10000) +
                     "; this library needs 14 or later");
  }
  const auto zone = session.parameter("TimeZone");
  if (require_utc && !is_utc(zone)) {
    throw_unsuitable("the server's TimeZone is \"" + sanitize(zone, 64) +
                     "\", but timestamps are stored as UTC: run ALTER DATABASE … SET timezone = "
                     "'UTC', or set SOUNDHASH_DB_REQUIRE_UTC=false");
  }
}

/// Process numbers are below 2^22 on Linux and elsewhere (PID_MAX_LIMIT), and a pooler makes up 32
/// random bits: so it costs nothing to suspect one, and only a suspicion costs a round trip. One
/// connection in a thousand looks innocent; the next one will not.
bool looks_pooled(int backend_pid) {
  return backend_pid <= 0 || backend_pid > 4'194'304;
}

/// A pooler that was told to ignore the startup options lets us connect, and then no timeout holds
/// and one client's prepared statements meet another's.
void require_no_unknown_pooler(driver::connection& session, deadline until) {
  if (!looks_pooled(session.backend_pid()) || !session.is_behind_pooler(until)) return;
  throw connection_error{
      "a pooler such as PgBouncer is between here and the server, and it drops the settings of the "
      "session; set SOUNDHASH_DB_POOLER=transaction",
      {.code = errc::refused_behind_pooler, .connection_usable = false}};
}

connection_pool::connector connector_for(
    const database_options& options,
    std::function<void(driver::connection&, deadline)> on_session) {
  return [where = session_conninfo(options), utc = options.require_utc,
          on_session = std::move(on_session)](deadline until) {
    auto session = driver::connection::open(where, until);
    require_suitable(*session, utc);
    if (!where.pooled) require_no_unknown_pooler(*session, until);
    if (on_session) on_session(*session, until);
    return session;
  };
}

interceptor_chain watchers_for(const database_options& options, metrics& registry) {
  std::vector<std::shared_ptr<interceptor>> chain;
  chain.push_back(std::make_shared<timing_interceptor>(registry));
  chain.push_back(std::make_shared<slow_query_log>(options.slow_query));
  if (options.echo) chain.push_back(std::make_shared<echo_log>());
  chain.insert(chain.end(), options.interceptors.begin(), options.interceptors.end());
  return interceptor_chain{std::move(chain), registry};
}

void log_leak(const held_lease& leak) {
  logger()->warn("{}; is it a leak?", leak.text());
}

void log_outage(const std::string& endpoint, const connect_failure* cause) {
  if (cause) {
    logger()->warn("calls fail until {} can be reached again: {}", endpoint, cause->message);
  } else {
    logger()->info("{} is reached again", endpoint);
  }
}

std::function<void(driver::connection&)> within(const std::function<void(hooked_session&)>& hook,
                                                std::chrono::milliseconds limit) {
  if (!hook) return {};
  return [hook, limit](driver::connection& session) {
    hooked_session seen{session, deadline::in(limit)};
    hook(seen);
  };
}

pool_hooks<driver::connection> hooks_for(const database_options& options) {
  const auto limit = options.pool.connect_timeout;
  return {.on_connect = within(options.hooks.on_connect, limit),
          .on_acquire = within(options.hooks.on_acquire, limit),
          .on_release = within(options.hooks.on_release, limit),
          .on_leak = log_leak,
          .on_outage = [endpoint = session_conninfo(options).endpoint()](
                           const connect_failure* cause) { log_outage(endpoint, cause); }};
}

}  // namespace

std::shared_ptr<engine> engine_from_options(const database_options& options,
                                            engine_observers observers) {
  auto registry = std::make_shared<metrics>(options.slow_query);
  return std::make_shared<engine>(
      options.pool, options.statement_timeout, session_conninfo(options).endpoint(),
      connector_for(options, std::move(observers.on_session)), hooks_for(options), registry,
      watchers_for(options, *registry), std::move(observers.listener));
}

}  // namespace soundhash::db
