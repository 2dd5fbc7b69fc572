#include "cache_stack.hpp"

#include <charconv>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>

#include <spdlog/spdlog.h>

#include <soundhash/db/core/error.hpp>
#include <soundhash/db/core/query.hpp>
#include <soundhash/db/observe/logger.hpp>

#include "cache/key_space.hpp"
#include "cache/near_cache.hpp"
#include "cache/near_cache_feed.hpp"
#include "cache/redis_client.hpp"
#include "cache/redis_session.hpp"
#include "conninfo_from_options.hpp"

namespace soundhash::db {
namespace {

using std::chrono::milliseconds;

constexpr query identity{"cache.identity",
                         "SELECT system_identifier::text, current_database()::text "
                         "FROM pg_control_system()",
                         access::read_only};

/// For the server to notice the end of a session and for clocks that differ.
constexpr milliseconds margin{5000};
/// Where a statement, or TCP, has no limit.
constexpr milliseconds no_limit = std::chrono::hours{1};
/// tcp_user_timeout = 0: net.ipv4.tcp_retries2 = 15 is 15.4 minutes on Linux.
constexpr milliseconds kernel_default = std::chrono::minutes{16};

/// A keyword of libpq in milliseconds; 0 is a default of the system.
milliseconds keyword(const driver::conninfo& where, const std::string& name) {
  const auto found = where.keywords.find(name);
  long value = 0;
  if (found != where.keywords.end()) {
    const auto& text = found->second;
    std::from_chars(text.data(), text.data() + text.size(), value);
  }
  return milliseconds{value};
}

/// Throws: what the session throws.
std::string name_on(driver::connection& session, std::string_view schema, deadline until) {
  const auto rows =
      session.run({.name = {}, .sql = identity.sql(), .access = identity.access(), .until = until});
  return key_space::name_of(rows[0][0].as<std::string>(), rows[0][1].as<std::string>(), schema);
}

void add_client_figures(const redis::client_stats& stats, std::vector<figure>& out) {
  const auto add = [&](std::string name, double value, bool is_counter, std::string help) {
    out.push_back({std::move(name), "", value, is_counter, std::move(help)});
  };
  add("soundhash_cache_breaker_open", stats.available ? 0 : 1, false,
      "1 while Redis is not asked because it did not answer");
  add("soundhash_cache_breaker_opens_total", static_cast<double>(stats.opens), true,
      "Times that the breaker opened");
  add("soundhash_cache_redis_calls_total", static_cast<double>(stats.calls), true,
      "Calls sent to Redis");
  add("soundhash_cache_redis_failures_total", static_cast<double>(stats.failed), true,
      "Calls that Redis did not answer");
  add("soundhash_cache_redis_duration_seconds_total",
      std::chrono::duration<double>(stats.time).count(), true, "Time of the calls to Redis");
}

void add_near_figures(const near_cache::figures& stats, bool trusted, std::vector<figure>& out) {
  const auto add = [&](std::string name, auto value, bool is_counter, std::string help) {
    out.push_back({std::move(name), "", static_cast<double>(value), is_counter, std::move(help)});
  };
  add("soundhash_cache_near_trusted", trusted ? 1 : 0, false,
      "1 while the near cache is told what others drop, and answers");
  add("soundhash_cache_near_entries", stats.entries, false, "Values in the near cache");
  add("soundhash_cache_near_hits_total", stats.hits, true, "Reads that the near cache answered");
  add("soundhash_cache_near_fills_total", stats.fills, true, "Values put into the near cache");
  add("soundhash_cache_near_evictions_total", stats.evictions, true,
      "Valid values that made room for others");
  add("soundhash_cache_near_drops_total", stats.drops, true, "Tags dropped in the near cache");
  add("soundhash_cache_near_flushes_total", stats.flushes, true,
      "Times that the near cache was emptied");
}

}  // namespace

milliseconds longest_doubt(const database_options& options) {
  const auto where = session_conninfo(options);
  const auto check = milliseconds{std::stol(where.settings.at("client_connection_check_interval"))};
  const auto sending = keyword(where, "tcp_user_timeout");
  const auto statement = options.statement_timeout;
  return (statement > milliseconds{0} ? statement : no_limit) + check +
         (sending > milliseconds{0} ? sending : kernel_default) + margin;
}

struct cache_stack::impl {
  explicit impl(const database_options& wanted)
      : options{wanted.cache},
        schema{wanted.schema},
        near{options.near_cache.entries > 0 ? std::make_shared<near_cache>(options.near_cache)
                                            : nullptr},
        name{options.name_space} {}

  [[nodiscard]] bool is_named() {
    const std::lock_guard lock{mutex};
    return !name.empty();
  }
  /// The first name holds, as in the protocol.
  void call_it(const std::string& given) {
    const std::lock_guard lock{mutex};
    if (name.empty()) name = given;
  }

  /// Redis is there: the near cache can be told what others drop.
  void start_feed() {
    const std::lock_guard lock{mutex};
    if (!near || feed || closed) return;
    feed = std::make_unique<near_cache_feed>(options, key_space{name}.tag_prefix(), *near);
  }

  void close() noexcept {
    std::unique_ptr<near_cache_feed> ending;
    const std::lock_guard lock{mutex};
    closed = true;
    ending.swap(feed);
  }

  const cache_options options;
  const std::string schema;
  redis::client* client = nullptr;  // the protocol owns it
  const std::shared_ptr<near_cache> near;
  std::mutex mutex;
  std::string name;  // empty: not known yet
  bool closed = false;
  std::unique_ptr<near_cache_feed> feed;
  std::atomic<bool> complained{false};
  std::atomic<bool> begun{false};  // to connect
};

cache_stack::cache_stack(const database_options& options) : impl_{std::make_shared<impl>(options)} {
  read_through::parts with{.doubt_ttl = longest_doubt(options), .near = impl_->near};
  with.open_session = [wanted = options.cache](deadline until) {
    return std::make_unique<redis::session>(redis::session::open(wanted, until));
  };
  through_ = std::make_shared<read_through>(options.cache, std::move(with));
  redis::client_hooks hooks;
  // The protocol ends the client's thread, which runs this, before anything of its own.
  hooks.before_use = [behind = through_.get(), state = impl_](redis::session& fresh) {
    if (!behind->before_use(fresh, deadline::in(state->options.command_timeout))) return false;
    state->start_feed();
    return true;
  };
  hooks.on_change = [behind = through_.get()](bool available, std::string_view) {
    if (available) behind->resume();
  };
  auto client = std::make_shared<redis::client>(options.cache, std::move(hooks));
  impl_->client = client.get();
  through_->attach(std::move(client));
  logger()->info("cache: on; values live {} s, absent rows {} ms; near cache of {} entries",
                 options.cache.ttl.count(), options.cache.negative_ttl.count(),
                 options.cache.near_cache.entries);
}

cache_stack::~cache_stack() {
  close();
}

void cache_stack::meet(driver::connection& session, deadline until) {
  if (!impl_->is_named()) learn_name(session, until);
  if (impl_->is_named() && !impl_->begun.exchange(true)) impl_->client->retry_soon();
}

void cache_stack::learn_name(driver::connection& session, deadline until) {
  try {
    const auto name = name_on(session, impl_->schema, until);
    impl_->call_it(name);
    through_->name_space(name);
  } catch (const error& failure) {
    if (impl_->complained.exchange(true)) return;
    logger()->warn(
        "cache: not used, since the database did not tell who it is ({}); set "
        "SOUNDHASH_DB_CACHE_NAMESPACE",
        failure.what());
  }
}

void cache_stack::close() noexcept {
  open_.store(false, std::memory_order_relaxed);
  impl_->close();
}

void cache_stack::add_figures(std::vector<figure>& out) const {
  through_->add_figures(out);
  add_client_figures(impl_->client->stats(), out);
  if (impl_->near) add_near_figures(impl_->near->stats(), impl_->near->trusted(), out);
}

}  // namespace soundhash::db
