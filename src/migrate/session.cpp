#include "migrate/session.hpp"

#include <chrono>
#include <cstdint>

#include <soundhash/db/core/deadline.hpp>
#include <soundhash/db/core/error.hpp>

#include "conninfo_from_options.hpp"

namespace soundhash::db::migrate {
namespace {

constexpr std::chrono::minutes own_statement_limit{1};

/// Whatever the options say of a pooler: a session of the server's own is needed.
driver::conninfo migration_conninfo(const database_options& options) {
  auto where = session_conninfo(options);
  where.pooled = false;
  for (const auto* limit :
       {"statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout"}) {
    where.settings.insert_or_assign(limit, std::string{"0"});  // also against defaults of the role
  }
  return where;
}

[[noreturn]] void throw_behind_pooler() {
  throw connection_error(
      "migrations need a direct connection: a pooler such as PgBouncer is in between, which may "
      "give each transaction another session, so that the migration lock protects nothing; "
      "connect to the PostgreSQL server itself (--dsn)",
      {.code = errc::refused_behind_pooler});
}

/// Poolers refuse the session's settings at once, or else show by the process that answers.
std::unique_ptr<driver::connection> connect_directly(const database_options& options) {
  const auto until = deadline::in(options.pool.connect_timeout);
  try {
    auto direct = driver::connection::open(migration_conninfo(options), until);
    if (!direct->is_behind_pooler(deadline::in(own_statement_limit))) return direct;
  } catch (const connection_error& failure) {
    if (failure.code() != errc::refused_behind_pooler) throw;
  }
  throw_behind_pooler();
}

}  // namespace

session::session(const database_options& options) : link_{connect_directly(options)} {
  find_schema(options.schema);
}

result session::query(std::string_view sql, const params& values) {
  return link_->run(
      {.name = {}, .sql = sql, .values = &values, .until = deadline::in(own_statement_limit)});
}

void session::execute(std::string_view sql) {
  link_->command(sql, deadline::in(own_statement_limit));
}

void session::run_foreign(std::string_view sql) {
  link_->command(sql, deadline::never());
}

void session::commit() {
  if (link_->command("COMMIT", deadline::in(own_statement_limit)) == "COMMIT") return;
  throw migration_error(errc::migration_failed,
                        "the server answered COMMIT by rolling back, so nothing was changed");
}

void session::rollback() noexcept {
  if (!link_->usable() || link_->status() == driver::transaction_status::idle) return;
  try {
    execute("ROLLBACK");
  } catch (const error&) {
    link_->abort();
  }
}

void session::reset() {
  execute("RESET SESSION AUTHORIZATION; RESET ROLE; RESET ALL");
}

/// The search path is the configured schema, then pg_temp: without the first, everything would be
/// created in the second and vanish with the session.
void session::find_schema(const std::string& configured) {
  const auto rows = query(
      "SELECT quote_ident(nspname) FROM pg_namespace "
      "WHERE nspname = current_schema() AND nspname !~ '^pg_'");
  if (rows.empty()) {
    throw migration_error(errc::migration_failed,
                          "schema \"" + sanitize(configured, 63) +
                              "\" does not exist or may not be used by this role; create it first");
  }
  schema_ = rows[0][0].as<std::string>();
}

}  // namespace soundhash::db::migrate
