#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include <soundhash/db/core/secret.hpp>

namespace soundhash::db {

/// Is a write announced before COMMIT, so that a crash between COMMIT and the dropping of its tags
/// leaves no stale value? One more round trip to Redis for each write.
enum class cache_strictness : std::uint8_t {
  off,          ///< not announced; after such a crash the lifetime of the values is the bound
  fail_open,    ///< announced; when Redis cannot be reached, the write goes on all the same
  fail_closed,  ///< announced; when Redis cannot be reached, the write is refused
};

/// A Redis Sentinel, which knows where the master is.
struct sentinel_address {
  std::string host;
  std::uint16_t port = 26379;
};

/// TLS to Redis, and to the Sentinels; 1.2 or later. The server must have a certificate of a known
/// authority for the host as the options name it, or as the Sentinel does: a DNS name, or an
/// address among the certificate's addresses. On a unix socket there is no TLS, which is a
/// config_error. The files are in PEM. They are read when the database is opened, where one that
/// cannot be used is a config_error, and again for each reconnect, so that renewed ones are taken.
struct redis_tls_options {
  bool enabled = false;  ///< SOUNDHASH_DB_REDIS_TLS
  /// Certificates of the authorities, or that of a server that signed its own; empty: the system's.
  /// SOUNDHASH_DB_REDIS_TLS_CA_FILE
  std::string ca_file;
  /// Of this client, with those of its authorities behind it; empty: none.
  /// SOUNDHASH_DB_REDIS_TLS_CERT_FILE
  std::string certificate;
  std::string key;  ///< of `certificate`, not encrypted. SOUNDHASH_DB_REDIS_TLS_KEY_FILE
};

/// The near cache: values kept decoded in this process. Not linearizable: another process' write is
/// seen after the delivery of Redis' message, or 1.5 s when the link is half-dead.
struct near_cache_options {
  std::size_t entries = 0;              ///< at most; 0: none. SOUNDHASH_DB_NEAR_CACHE_ENTRIES
  std::chrono::milliseconds ttl{2000};  ///< 1 ms to 1 min. SOUNDHASH_DB_NEAR_CACHE_TTL_MS
};

/// The Redis read-through cache.
struct cache_options {
  bool enabled = false;  ///< REDIS_ENABLED
  /// A name, an address, or the path of a unix socket. REDIS_HOST
  std::string host = "localhost";
  std::uint16_t port = 6379;  ///< REDIS_PORT
  int db = 0;                 ///< REDIS_DB, 0 to 65535
  std::string user;           ///< SOUNDHASH_DB_REDIS_USER; empty: "default"
  secret password;            ///< REDIS_PASSWORD
  redis_tls_options tls;
  /// Ask these for the master; host and port are ignored then. SOUNDHASH_DB_REDIS_SENTINELS,
  /// "host:port,host:port"
  std::vector<sentinel_address> sentinels;
  std::string sentinel_master = "mymaster";  ///< SOUNDHASH_DB_REDIS_SENTINEL_MASTER
  /// The login at the Sentinels, which are never told the master's; empty: "default".
  /// SOUNDHASH_DB_REDIS_SENTINEL_USER
  std::string sentinel_user;
  secret sentinel_password;  ///< SOUNDHASH_DB_REDIS_SENTINEL_PASSWORD; empty: none is asked for

  /// Bounds connecting, handshakes included. 1 ms to 1 min. SOUNDHASH_DB_REDIS_CONNECT_TIMEOUT_MS
  std::chrono::milliseconds connect_timeout{100};
  /// Bounds one call, whatever it sends. 1 ms to 1 min. SOUNDHASH_DB_REDIS_COMMAND_TIMEOUT_MS
  std::chrono::milliseconds command_timeout{50};
  /// Shared connections over which the calls of all threads travel. 1 to 64.
  /// SOUNDHASH_DB_REDIS_CONNECTIONS
  std::size_t connections = 2;

  std::chrono::seconds ttl{300};  ///< CACHE_TTL_SECONDS, 1 s to 1 year
  /// Lifetimes of rows of these tables, a join keeps to the shortest; zero: `ttl`.
  /// SOUNDHASH_DB_CACHE_TTL_CHANNEL_SECONDS, _VIDEO_, _MATCH_
  std::chrono::seconds channel_ttl{0};
  std::chrono::seconds video_ttl{0};
  std::chrono::seconds match_ttl{0};
  /// Lifetime of "there is no such row", at most 1 min: the Python services may create it.
  /// SOUNDHASH_DB_CACHE_NEGATIVE_TTL_MS
  std::chrono::milliseconds negative_ttl{3000};
  /// Larger values are not cached. 1 KiB to 64 MiB. SOUNDHASH_DB_CACHE_MAX_VALUE_BYTES
  std::size_t max_value_bytes = std::size_t{1} << 20U;
  /// Sets this database apart from others on the same Redis; empty: the server's system identifier,
  /// database and schema. At most 64 of a-z A-Z 0-9 _ . -. SOUNDHASH_DB_CACHE_NAMESPACE
  std::string name_space;
  /// SOUNDHASH_DB_CACHE_STRICT: off, open, closed
  cache_strictness strict = cache_strictness::off;
  near_cache_options near_cache;
};

}  // namespace soundhash::db
