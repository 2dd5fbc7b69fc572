#include <algorithm>
#include <array>
#include <string_view>
#include <utility>

#include <spdlog/spdlog.h>

#include <soundhash/db/core/error.hpp>
#include <soundhash/db/database.hpp>
#include <soundhash/db/observe/logger.hpp>

#include "conninfo_from_options.hpp"
#include "exec/engine.hpp"
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

connection_pool::connector connector_for(const database_options& options) {
  return [where = session_conninfo(options), utc = options.require_utc](deadline until) {
    auto session = driver::connection::open(where, until);
    require_suitable(*session, utc);
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

double seconds(std::chrono::nanoseconds span) {
  return std::chrono::duration<double>{span}.count();
}

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
  counter("db_client_connection_overloads_total", "", count(pool.overloads),
          "Callers refused because too many waited");
  counter("db_client_connection_wait_seconds_total", "", seconds(pool.wait_time),
          "Time spent waiting for a connection");
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
                                      {"overflow", pool.closed_overflow}}) {
    counter("db_client_connection_closed_total", std::string{"reason=\""} + reason + "\"",
            count(value), "Connections closed");
  }
}

bool is_local(std::string_view host) {
  return host.empty() || host.front() == '/' || host == "localhost" || host == "::1" ||
         host.starts_with("127.");
}

/// libpq's default, sslmode=prefer, neither insists on TLS nor checks whom it talks to.
void warn_of_unverified_peer(const database_options& options) {
  const auto found = options.parameters.find("sslmode");
  const bool verified = found != options.parameters.end() && found->second.starts_with("verify-");
  if (is_local(options.host) || verified) return;
  logger()->warn(
      "the identity of the database server {} is not verified; set sslmode=verify-full and "
      "sslrootcert in DATABASE_URL",
      sanitize(options.host, 255));
}

std::shared_ptr<engine> make_engine(const database_options& options) {
  auto registry = std::make_shared<metrics>(options.slow_query);
  return std::make_shared<engine>(options.pool, options.statement_timeout,
                                  session_conninfo(options).endpoint(), connector_for(options),
                                  registry, watchers_for(options, *registry));
}

}  // namespace

struct database::impl {
  explicit impl(const database_options& wanted) : options{wanted}, shared{make_engine(wanted)} {
    shared->registry().add_collector([pool = std::weak_ptr{shared}](std::vector<figure>& out) {
      if (const auto alive = pool.lock()) add_pool_figures(alive->pool().stats(), out);
    });
  }

  database_options options;
  std::shared_ptr<engine> shared;
};

database database::open(const database_options& options) {
  options.validate();
  if (options.cache.enabled) {
    throw config_error{"REDIS_ENABLED", "this build has no Redis cache", "false"};
  }
  warn_of_unverified_peer(options);
  return database{std::make_shared<impl>(options)};
}

database::database(std::shared_ptr<impl> state) : state_{std::move(state)} {}
database::~database() = default;
database::database(const database&) = default;
database& database::operator=(const database&) = default;
database::database(database&&) noexcept = default;
database& database::operator=(database&&) noexcept = default;

void database::warm_up(deadline until) {
  const auto lease = state_->shared->acquire(state_->shared->effective(until));
}

transaction database::begin(const transaction_options& options) {
  return state_->shared->begin(options);
}

metrics& database::metrics() noexcept {
  return state_->shared->registry();
}
pool_stats database::pool_stats() const {
  return state_->shared->pool().stats();
}
const database_options& database::options() const noexcept {
  return state_->options;
}

pooled_connection database::acquire(const call_options& options) {
  auto lease = state_->shared->acquire(state_->shared->effective(options.until), options.stop);
  return pooled_connection{
      std::make_unique<pooled_connection::impl>(pooled_connection::impl{std::move(lease)})};
}

void database::close(deadline until) {
  for (const auto& held : state_->shared->pool().close(until)) {
    logger()->warn("closing: a connection acquired in {}:{} is held for {} ms already",
                   held.where.file_name(), held.where.line(),
                   std::chrono::duration_cast<std::chrono::milliseconds>(held.held).count());
  }
}

void database::run(const query& statement, const params& values, const call_options& options,
                   function_ref<void(const result&)> consume) {
  state_->shared->run(statement, values, options, consume);
}

void database::run_atomically(const call_options& options, function_ref<void(executor&)> body) {
  state_->shared->with_transaction({.until = options.until, .stop = options.stop},
                                   [&](transaction& tx) { body(tx); });
}

void database::run_with_transaction(const transaction_options& options,
                                    function_ref<void(transaction&)> body) {
  state_->shared->with_transaction(options, body);
}

}  // namespace soundhash::db
