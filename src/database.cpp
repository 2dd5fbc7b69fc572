#include <source_location>
#include <string_view>
#include <utility>

#include <spdlog/spdlog.h>

#include <soundhash/db/core/error.hpp>
#include <soundhash/db/database.hpp>
#include <soundhash/db/observe/logger.hpp>

#include "cache_stack.hpp"
#include "engine_from_options.hpp"
#include "exec/autocommit.hpp"
#include "pool_figures.hpp"

namespace soundhash::db {
namespace {

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

engine_observers observers_for(const std::shared_ptr<cache_stack>& cache) {
  if (!cache) return {};
  return {.listener = cache->through(),
          .on_session = [cache](driver::connection& session, deadline until) {
            cache->meet(session, until);
          }};
}

}  // namespace

struct database::impl {
  explicit impl(const database_options& wanted)
      : options{wanted},
        cache{wanted.cache.enabled ? std::make_shared<cache_stack>(wanted) : nullptr},
        shared{engine_from_options(wanted, observers_for(cache))} {
    if (cache) {
      shared->registry().add_collector(
          [stack = cache](std::vector<figure>& out) { stack->add_figures(out); });
    }
    shared->registry().add_collector([pool = std::weak_ptr{shared}](std::vector<figure>& out) {
      const auto alive = pool.lock();
      if (!alive) return;
      add_pool_figures(alive->pool().stats(), out);
      alive->add_figures(out);
    });
  }

  database_options options;
  std::shared_ptr<cache_stack> cache;  // nullptr: none
  std::shared_ptr<engine> shared;
};

database database::open(const database_options& options) {
  options.validate();
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

cache database::cache() const {
  return state_->cache ? db::cache{state_->cache->through()} : db::cache{};
}

void database::close(deadline until) {
  if (state_->cache) state_->cache->close();
  for (const auto& held : state_->shared->pool().close(until)) {
    logger()->warn("closing: {}", held.text());
  }
}

void database::run(const query& statement, const params& values, const call_options& options,
                   function_ref<void(const result&)> consume) {
  state_->shared->run(statement, values, options, consume);
}

std::unique_ptr<row_source> database::open_stream(const query& statement, const params& values,
                                                  const call_options& options) {
  return state_->shared->open_stream(statement, values, options);
}

void database::run_pipeline(std::span<const std::shared_ptr<pipeline_step>> steps,
                            const call_options& options) {
  state_->shared->run_pipeline(steps, options);
}

void database::run_cached(const query& statement, const params& values, const call_options& options,
                          const cached& how, read_sink& into) {
  auto& shared = *state_->shared;
  const auto* const cache = state_->cache.get();
  if (cache == nullptr || !cache->open()) {
    return executor::run_cached(statement, values, options, how, into);
  }
  const call_options bounded{shared.effective(options.until), options.stop, options.cache};
  cache->through()->read(statement, values, bounded, how, into, [&]() -> loaded {
    auto found = shared.fetch(statement, values, bounded);
    return {std::move(found.rows), found.from_primary};
  });
}

void database::run_atomically(const call_options& options, function_ref<void(executor&)> body) {
  state_->shared->with_transaction(
      {.until = options.until, .stop = options.stop}, [&](transaction& tx) { body(tx); },
      std::source_location::current());
}

void database::run_changing(std::string_view table, const call_options& options,
                            function_ref<void(executor&, tag_set&)> body) {
  auto& shared = *state_->shared;
  if (!shared.listener()) return executor::run_changing(table, options, body);
  change_autocommitted(shared, table, options, body);
}

void database::run_with_transaction(const transaction_options& options,
                                    function_ref<void(transaction&)> body,
                                    const std::source_location& where) {
  state_->shared->with_transaction(options, body, where);
}

}  // namespace soundhash::db
