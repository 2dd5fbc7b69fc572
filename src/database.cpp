#include <algorithm>
#include <array>
#include <functional>
#include <source_location>
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
#include "pool_figures.hpp"

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

connection_pool::connector connector_for(const database_options& options) {
  return [where = session_conninfo(options), utc = options.require_utc](deadline until) {
    auto session = driver::connection::open(where, until);
    require_suitable(*session, utc);
    if (!where.pooled) require_no_unknown_pooler(*session, until);
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

void log_leak(const held_lease& leak) {
  logger()->warn("a connection acquired in {}:{} is held for {} ms already; is it a leak?",
                 leak.where.file_name(), leak.where.line(),
                 std::chrono::duration_cast<std::chrono::milliseconds>(leak.held).count());
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

std::shared_ptr<engine> make_engine(const database_options& options) {
  auto registry = std::make_shared<metrics>(options.slow_query);
  return std::make_shared<engine>(options.pool, options.statement_timeout,
                                  session_conninfo(options).endpoint(), connector_for(options),
                                  hooks_for(options), registry, watchers_for(options, *registry));
}

}  // namespace

struct database::impl {
  explicit impl(const database_options& wanted) : options{wanted}, shared{make_engine(wanted)} {
    shared->registry().add_collector([pool = std::weak_ptr{shared}](std::vector<figure>& out) {
      const auto alive = pool.lock();
      if (!alive) return;
      add_pool_figures(alive->pool().stats(), out);
      alive->add_figures(out);
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
  const auto lease = state_->shared->acquire(until);
}

transaction database::begin(const transaction_options& options, std::source_location where) {
  return state_->shared->begin(options, where);
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

pooled_connection database::acquire(const call_options& options, std::source_location where) {
  auto lease = state_->shared->acquire(options.until, options.stop, where);
  if (!options.until.is_never()) lease.guard(options.until);
  return pooled_connection{pooled_connection::impl{std::move(lease)}};
}

void database::resize_pool(std::optional<std::size_t> size,
                           std::optional<std::size_t> max_overflow) {
  pool_options wanted = state_->options.pool;
  wanted.size = size;
  wanted.max_overflow = max_overflow;
  wanted.validate();
  state_->shared->pool().resize(size, max_overflow);
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
  state_->shared->with_transaction(
      {.until = options.until, .stop = options.stop}, [&](transaction& tx) { body(tx); },
      std::source_location::current());
}

void database::run_with_transaction(const transaction_options& options,
                                    function_ref<void(transaction&)> body,
                                    const std::source_location& where) {
  state_->shared->with_transaction(options, body, where);
}

}  // namespace soundhash::db
