#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <soundhash/db/cache/cache_options.hpp>
#include <soundhash/db/core/secret.hpp>
#include <soundhash/db/export.hpp>
#include <soundhash/db/observe/interceptor.hpp>
#include <soundhash/db/pool/pool_options.hpp>
#include <soundhash/db/pool/session_hooks.hpp>

namespace soundhash::db {

/// What stands between this library and the server. Named after what its user knows, the pooler and
/// its pool mode, and not after one of the consequences: statements without names, settings that
/// are local to each transaction and a startup packet without `options` are right only together.
enum class pooler_mode : std::uint8_t {
  none,         ///< nothing: connections are sessions of the server
  transaction,  ///< PgBouncer with pool_mode = transaction (or session), or one that works like it
};

/// Everything that `database::open` needs. An aggregate: set members, or read the environment.
struct database_options {
  std::string host = "localhost";  ///< DATABASE_HOST; a name, an address or a socket directory
  std::uint16_t port = 5432;       ///< DATABASE_PORT
  std::string name = "soundhash";  ///< DATABASE_NAME
  std::string user;                ///< DATABASE_USER; empty: the operating system's user
  secret password;                 ///< DATABASE_PASSWORD
  /// Further libpq keywords, such as sslmode or sslrootcert (the query part of DATABASE_URL).
  std::map<std::string, std::string> parameters;

  std::string schema = "public";                  ///< SOUNDHASH_DB_SCHEMA
  std::string application_name = "soundhash-db";  ///< SOUNDHASH_DB_APPLICATION_NAME

  /// Behind a pooler, what needs a session that lasts is refused (errc::refused_behind_pooler):
  /// SET, LISTEN, session-level advisory locks, the migrator. SOUNDHASH_DB_POOLER, none or
  /// transaction.
  pooler_mode pooler = pooler_mode::none;

  pool_options pool;  ///< DATABASE_POOL_SIZE, _MAX_OVERFLOW, _POOL_TIMEOUT, _POOL_RECYCLE and ours

  /// The server ends a statement after this time; zero: never, and then calls have no default
  /// deadline beyond the acquire. Range 0 to 24 days. DATABASE_STATEMENT_TIMEOUT, milliseconds.
  std::chrono::milliseconds statement_timeout{30'000};
  /// Log every statement (its name and SQL, never values). DATABASE_ECHO.
  bool echo = false;
  /// Statements slower than this are counted and logged as slow. Range 1 ms to 1 day.
  /// SOUNDHASH_DB_SLOW_QUERY_MS.
  std::chrono::milliseconds slow_query{100};
  /// Refuse a server whose TimeZone is not UTC: the Python services store wall time of the session.
  /// SOUNDHASH_DB_REQUIRE_UTC.
  bool require_utc = true;

  cache_options cache;

  /// Called for every session of the pool.
  session_hooks hooks;

  /// Called around every statement after the library's own, in this order.
  std::vector<std::shared_ptr<interceptor>> interceptors;

  /// Reads `.env` of the working directory if there is one, then the process environment, which
  /// wins. `.env.example` lists every name.
  /// Throws: config_error naming the variable, the problem and the accepted form; never its value
  /// when it is secret.
  [[nodiscard]] SOUNDHASH_DB_EXPORT static database_options from_env();
  /// The same with another file; it must exist.
  [[nodiscard]] SOUNDHASH_DB_EXPORT static database_options from_env(
      const std::filesystem::path& dotenv);
  /// From explicit variables, as if they were the environment.
  [[nodiscard]] SOUNDHASH_DB_EXPORT static database_options from_variables(
      const std::map<std::string, std::string>& variables);
  /// "postgresql://user:password@host:port/name?sslmode=require", SQLAlchemy's
  /// "postgresql+psycopg2://" prefixes too; the other members keep their defaults.
  /// Throws: config_error; the text of the URL is not repeated.
  [[nodiscard]] SOUNDHASH_DB_EXPORT static database_options from_url(std::string_view url);

  /// Throws: config_error naming the member, its value and the range.
  SOUNDHASH_DB_EXPORT void validate() const;
};

}  // namespace soundhash::db
