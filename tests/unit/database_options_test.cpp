#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <optional>
#include <sstream>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <spdlog/sinks/ostream_sink.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <soundhash/db/core/error.hpp>
#include <soundhash/db/database_options.hpp>
#include <soundhash/db/observe/logger.hpp>

#include "core/dotenv.hpp"

namespace soundhash::db {
namespace {

using namespace std::chrono_literals;
using namespace std::string_literals;
using variables = std::map<std::string, std::string>;

const std::string canary = "c4n4ry";

const std::vector<std::string> names{"DATABASE_URL",
                                     "DATABASE_HOST",
                                     "DATABASE_PORT",
                                     "DATABASE_NAME",
                                     "DATABASE_USER",
                                     "DATABASE_PASSWORD",
                                     "DATABASE_POOL_SIZE",
                                     "DATABASE_MAX_OVERFLOW",
                                     "DATABASE_POOL_TIMEOUT",
                                     "DATABASE_POOL_RECYCLE",
                                     "DATABASE_ECHO",
                                     "DATABASE_STATEMENT_TIMEOUT",
                                     "REDIS_ENABLED",
                                     "REDIS_HOST",
                                     "REDIS_PORT",
                                     "REDIS_DB",
                                     "REDIS_PASSWORD",
                                     "CACHE_TTL_SECONDS",
                                     "SOUNDHASH_DB_REDIS_USER",
                                     "SOUNDHASH_DB_REDIS_TLS",
                                     "SOUNDHASH_DB_REDIS_TLS_CA_FILE",
                                     "SOUNDHASH_DB_REDIS_TLS_CERT_FILE",
                                     "SOUNDHASH_DB_REDIS_TLS_KEY_FILE",
                                     "SOUNDHASH_DB_REDIS_SENTINELS",
                                     "SOUNDHASH_DB_REDIS_SENTINEL_MASTER",
                                     "SOUNDHASH_DB_REDIS_SENTINEL_USER",
                                     "SOUNDHASH_DB_REDIS_SENTINEL_PASSWORD",
                                     "SOUNDHASH_DB_REDIS_CONNECT_TIMEOUT_MS",
                                     "SOUNDHASH_DB_REDIS_COMMAND_TIMEOUT_MS",
                                     "SOUNDHASH_DB_REDIS_CONNECTIONS",
                                     "SOUNDHASH_DB_CACHE_TTL_CHANNEL_SECONDS",
                                     "SOUNDHASH_DB_CACHE_TTL_VIDEO_SECONDS",
                                     "SOUNDHASH_DB_CACHE_TTL_MATCH_SECONDS",
                                     "SOUNDHASH_DB_CACHE_NEGATIVE_TTL_MS",
                                     "SOUNDHASH_DB_CACHE_MAX_VALUE_BYTES",
                                     "SOUNDHASH_DB_CACHE_NAMESPACE",
                                     "SOUNDHASH_DB_CACHE_STRICT",
                                     "SOUNDHASH_DB_NEAR_CACHE_ENTRIES",
                                     "SOUNDHASH_DB_NEAR_CACHE_TTL_MS",
                                     "SOUNDHASH_DB_SCHEMA",
                                     "SOUNDHASH_DB_APPLICATION_NAME",
                                     "SOUNDHASH_DB_POOLER",
                                     "SOUNDHASH_DB_SLOW_QUERY_MS",
                                     "SOUNDHASH_DB_REQUIRE_UTC",
                                     "SOUNDHASH_DB_CONNECT_TIMEOUT_MS",
                                     "SOUNDHASH_DB_FAIL_FAST_MS",
                                     "SOUNDHASH_DB_MIN_IDLE",
                                     "SOUNDHASH_DB_IDLE_TIMEOUT_MS",
                                     "SOUNDHASH_DB_KEEPALIVE_MS",
                                     "SOUNDHASH_DB_LEAK_AFTER_MS",
                                     "SOUNDHASH_DB_MAX_WAITERS"};

template <class F>
std::string refusal(F action) {
  try {
    action();
  } catch (const config_error& failure) {
    return failure.what();
  }
  return {};
}

std::string refusal_of(const variables& given) {
  return refusal([&] { static_cast<void>(database_options::from_variables(given)); });
}

std::string refusal_of_url(const std::string& url) {
  return refusal([&] { static_cast<void>(database_options::from_url(url)); });
}

void describe_more(std::ostream& out, const cache_options& cache) {
  out << "\ncache.user=" << cache.user << "\ncache.tls=" << cache.tls.enabled
      << "\ncache.tls.ca_file=" << cache.tls.ca_file
      << "\ncache.tls.certificate=" << cache.tls.certificate << "\ncache.tls.key=" << cache.tls.key
      << "\ncache.sentinels=";
  for (const auto& one : cache.sentinels) out << one.host << " " << one.port << ";";
  out << "\ncache.sentinel_master=" << cache.sentinel_master
      << "\ncache.sentinel_user=" << cache.sentinel_user
      << "\ncache.sentinel_password=" << cache.sentinel_password.reveal()
      << "\ncache.connect_timeout=" << cache.connect_timeout.count()
      << "\ncache.command_timeout=" << cache.command_timeout.count()
      << "\ncache.connections=" << cache.connections
      << "\ncache.channel_ttl=" << cache.channel_ttl.count()
      << "\ncache.video_ttl=" << cache.video_ttl.count()
      << "\ncache.match_ttl=" << cache.match_ttl.count()
      << "\ncache.negative_ttl=" << cache.negative_ttl.count()
      << "\ncache.max_value_bytes=" << cache.max_value_bytes
      << "\ncache.name_space=" << cache.name_space
      << "\ncache.strict=" << static_cast<int>(cache.strict)
      << "\ncache.near_cache.entries=" << cache.near_cache.entries
      << "\ncache.near_cache.ttl=" << cache.near_cache.ttl.count() << "\n";
}

/// Every member as text, so that two of them can be compared and their difference be seen.
std::string described(const database_options& all) {
  std::ostringstream out;
  const auto limit = [](std::optional<std::size_t> value) {
    return value ? std::to_string(*value) : "unlimited"s;
  };
  out << "host=" << all.host << "\nport=" << all.port << "\nname=" << all.name
      << "\nuser=" << all.user << "\npassword=" << all.password.reveal();
  for (const auto& [keyword, value] : all.parameters) out << "\n" << keyword << "=" << value;
  out << "\nschema=" << all.schema << "\napplication_name=" << all.application_name
      << "\npooler=" << (all.pooler == pooler_mode::none ? "none" : "transaction")
      << "\nsize=" << limit(all.pool.size) << "\nmax_overflow=" << limit(all.pool.max_overflow)
      << "\nacquire_timeout=" << all.pool.acquire_timeout.count()
      << "\nrecycle=" << all.pool.recycle.count()
      << "\nconnect_timeout=" << all.pool.connect_timeout.count()
      << "\nfail_fast_after=" << all.pool.fail_fast_after.count()
      << "\nrecent_use=" << all.pool.recent_use.count()
      << "\nping_after=" << all.pool.ping_after.count() << "\nmin_idle=" << all.pool.min_idle
      << "\nidle_timeout=" << all.pool.idle_timeout.count()
      << "\nkeepalive=" << all.pool.keepalive.count()
      << "\nleak_after=" << all.pool.leak_after.count() << "\nmax_waiters=" << all.pool.max_waiters
      << "\nstatement_timeout=" << all.statement_timeout.count() << "\necho=" << all.echo
      << "\nslow_query=" << all.slow_query.count() << "\nrequire_utc=" << all.require_utc
      << "\ncache.enabled=" << all.cache.enabled << "\ncache.host=" << all.cache.host
      << "\ncache.port=" << all.cache.port << "\ncache.db=" << all.cache.db
      << "\ncache.password=" << all.cache.password.reveal()
      << "\ncache.ttl=" << all.cache.ttl.count();
  describe_more(out, all.cache);
  return out.str();
}

const std::string documented_defaults =
    "host=localhost\nport=5432\nname=soundhash\nuser=\npassword=\nschema=public\n"
    "application_name=soundhash-db\npooler=none\nsize=10\nmax_overflow=20\nacquire_timeout=30000\n"
    "recycle=3600000\nconnect_timeout=5000\nfail_fast_after=1000\nrecent_use=500\n"
    "ping_after=30000\nmin_idle=0\nidle_timeout=0\nkeepalive=0\nleak_after=0\nmax_waiters="
    "10000\nstatement_timeout=30000\necho=0\nslow_query=100\n"
    "require_utc=1\ncache.enabled=0\ncache.host=localhost\ncache.port=6379\ncache.db=0\n"
    "cache.password=\ncache.ttl=300\ncache.user=\ncache.tls=0\ncache.tls.ca_file=\n"
    "cache.tls.certificate=\ncache.tls.key=\ncache.sentinels=\ncache.sentinel_master=mymaster\n"
    "cache.sentinel_user=\ncache.sentinel_password=\n"
    "cache.connect_timeout=100\ncache.command_timeout=50\ncache.connections=2\n"
    "cache.channel_ttl=0\ncache.video_ttl=0\ncache.match_ttl=0\ncache.negative_ttl=3000\n"
    "cache.max_value_bytes=1048576\ncache.name_space=\ncache.strict=0\n"
    "cache.near_cache.entries=0\ncache.near_cache.ttl=2000\n";

/// The defaults with one line replaced.
std::string defaults_but(const std::string& line) {
  auto text = documented_defaults;
  const auto key = "\n" + line.substr(0, line.find('=') + 1);
  const auto start = ("\n" + text).find(key);
  EXPECT_NE(start, std::string::npos) << line;
  return text.replace(start, text.find('\n', start) - start, line);
}

// --- variables ---

TEST(database_options, defaults_are_the_documented_ones) {
  EXPECT_EQ(described({}), documented_defaults);
  EXPECT_EQ(described(database_options::from_variables({})), documented_defaults);
  EXPECT_NO_THROW(database_options{}.validate());
}

struct accepted_case {
  std::string name;
  std::string value;
  std::string line;
};

const accepted_case accepted_cases[] = {
    {"DATABASE_HOST", "/var/run/postgresql", "host=/var/run/postgresql"},
    {"DATABASE_PORT", "1", "port=1"},
    {"DATABASE_PORT", "65535", "port=65535"},
    {"DATABASE_PORT", " 6432\r", "port=6432"},
    {"DATABASE_NAME", "my db", "name=my db"},
    {"DATABASE_USER", "me@there", "user=me@there"},
    {"DATABASE_PASSWORD", " p#'\"\\%$ ", "password= p#'\"\\%$ "},
    {"DATABASE_POOL_SIZE", "0", "size=unlimited"},
    {"DATABASE_POOL_SIZE", "1", "size=1"},
    {"DATABASE_POOL_SIZE", "10000", "size=10000"},
    {"DATABASE_MAX_OVERFLOW", "-1", "max_overflow=unlimited"},
    {"DATABASE_MAX_OVERFLOW", "0", "max_overflow=0"},
    {"DATABASE_MAX_OVERFLOW", "10000", "max_overflow=10000"},
    {"DATABASE_POOL_TIMEOUT", "5", "acquire_timeout=5000"},
    {"DATABASE_POOL_TIMEOUT", "0.001", "acquire_timeout=1"},
    {"DATABASE_POOL_TIMEOUT", "1.5", "acquire_timeout=1500"},
    {"DATABASE_POOL_TIMEOUT", "86400", "acquire_timeout=86400000"},
    {"DATABASE_POOL_RECYCLE", "-1", "recycle=0"},
    {"DATABASE_POOL_RECYCLE", "1", "recycle=1000"},
    {"DATABASE_POOL_RECYCLE", "31536000", "recycle=31536000000"},
    {"DATABASE_ECHO", "true", "echo=1"},
    {"DATABASE_ECHO", "1", "echo=1"},
    {"DATABASE_ECHO", "Yes", "echo=1"},
    {"DATABASE_ECHO", "ON", "echo=1"},
    {"SOUNDHASH_DB_REQUIRE_UTC", "False", "require_utc=0"},
    {"SOUNDHASH_DB_REQUIRE_UTC", "0", "require_utc=0"},
    {"SOUNDHASH_DB_REQUIRE_UTC", "no", "require_utc=0"},
    {"SOUNDHASH_DB_REQUIRE_UTC", "oFF", "require_utc=0"},
    {"DATABASE_STATEMENT_TIMEOUT", "0", "statement_timeout=0"},
    {"DATABASE_STATEMENT_TIMEOUT", "2073600000", "statement_timeout=2073600000"},
    {"REDIS_ENABLED", "true", "cache.enabled=1"},
    {"REDIS_HOST", "cache.internal", "cache.host=cache.internal"},
    {"REDIS_PORT", "6380", "cache.port=6380"},
    {"REDIS_DB", "65535", "cache.db=65535"},
    {"REDIS_PASSWORD", "x", "cache.password=x"},
    {"CACHE_TTL_SECONDS", "1", "cache.ttl=1"},
    {"CACHE_TTL_SECONDS", "31536000", "cache.ttl=31536000"},
    {"SOUNDHASH_DB_REDIS_USER", "cache", "cache.user=cache"},
    {"SOUNDHASH_DB_REDIS_TLS", "on", "cache.tls=1"},
    {"SOUNDHASH_DB_REDIS_SENTINELS", "a", "cache.sentinels=a 26379;"},
    {"SOUNDHASH_DB_REDIS_SENTINELS", "a:1, [::1]:2,[fe80::1]",
     "cache.sentinels=a 1;::1 2;fe80::1 26379;"},
    {"SOUNDHASH_DB_REDIS_SENTINEL_MASTER", "m", "cache.sentinel_master=m"},
    {"SOUNDHASH_DB_REDIS_SENTINEL_USER", "asker", "cache.sentinel_user=asker"},
    {"SOUNDHASH_DB_REDIS_SENTINEL_PASSWORD", " p#", "cache.sentinel_password= p#"},
    {"SOUNDHASH_DB_REDIS_CONNECT_TIMEOUT_MS", "60000", "cache.connect_timeout=60000"},
    {"SOUNDHASH_DB_REDIS_COMMAND_TIMEOUT_MS", "1", "cache.command_timeout=1"},
    {"SOUNDHASH_DB_REDIS_CONNECTIONS", "64", "cache.connections=64"},
    {"SOUNDHASH_DB_CACHE_TTL_CHANNEL_SECONDS", "60", "cache.channel_ttl=60"},
    {"SOUNDHASH_DB_CACHE_TTL_VIDEO_SECONDS", "0", "cache.video_ttl=0"},
    {"SOUNDHASH_DB_CACHE_TTL_MATCH_SECONDS", "31536000", "cache.match_ttl=31536000"},
    {"SOUNDHASH_DB_CACHE_NEGATIVE_TTL_MS", "60000", "cache.negative_ttl=60000"},
    {"SOUNDHASH_DB_CACHE_MAX_VALUE_BYTES", "1024", "cache.max_value_bytes=1024"},
    {"SOUNDHASH_DB_CACHE_MAX_VALUE_BYTES", "67108864", "cache.max_value_bytes=67108864"},
    {"SOUNDHASH_DB_CACHE_NAMESPACE", "staging-2.eu_A", "cache.name_space=staging-2.eu_A"},
    {"SOUNDHASH_DB_CACHE_STRICT", "off", "cache.strict=0"},
    {"SOUNDHASH_DB_CACHE_STRICT", " open", "cache.strict=1"},
    {"SOUNDHASH_DB_CACHE_STRICT", "closed", "cache.strict=2"},
    {"SOUNDHASH_DB_NEAR_CACHE_ENTRIES", "100000", "cache.near_cache.entries=100000"},
    {"SOUNDHASH_DB_NEAR_CACHE_TTL_MS", "1", "cache.near_cache.ttl=1"},
    {"SOUNDHASH_DB_SCHEMA", "_s0", "schema=_s0"},
    {"SOUNDHASH_DB_SCHEMA", std::string(63, 's'), "schema=" + std::string(63, 's')},
    {"SOUNDHASH_DB_APPLICATION_NAME", "worker 1", "application_name=worker 1"},
    {"SOUNDHASH_DB_SLOW_QUERY_MS", "1", "slow_query=1"},
    {"SOUNDHASH_DB_SLOW_QUERY_MS", "86400000", "slow_query=86400000"},
    {"SOUNDHASH_DB_CONNECT_TIMEOUT_MS", "1", "connect_timeout=1"},
    {"SOUNDHASH_DB_CONNECT_TIMEOUT_MS", "3600000", "connect_timeout=3600000"},
    {"SOUNDHASH_DB_POOLER", "transaction", "pooler=transaction"},
    {"SOUNDHASH_DB_POOLER", " none\r", "pooler=none"},
    {"SOUNDHASH_DB_FAIL_FAST_MS", "0", "fail_fast_after=0"},
    {"SOUNDHASH_DB_FAIL_FAST_MS", "3600000", "fail_fast_after=3600000"},
    {"SOUNDHASH_DB_MIN_IDLE", "10", "min_idle=10"},
    {"SOUNDHASH_DB_IDLE_TIMEOUT_MS", "31536000000", "idle_timeout=31536000000"},
    {"SOUNDHASH_DB_KEEPALIVE_MS", "86400000", "keepalive=86400000"},
    {"SOUNDHASH_DB_LEAK_AFTER_MS", "86400000", "leak_after=86400000"},
    {"SOUNDHASH_DB_MAX_WAITERS", "1", "max_waiters=1"},
    {"SOUNDHASH_DB_MAX_WAITERS", "1000000", "max_waiters=1000000"},
};

TEST(database_options, each_variable_sets_its_member_alone) {
  for (const auto& [name, value, line] : accepted_cases) {
    const variables given{{name, value}};
    ASSERT_EQ(refusal_of(given), "") << name << "=" << value;
    const auto options = database_options::from_variables(given);
    EXPECT_EQ(described(options), defaults_but(line)) << name << "=" << value;
    EXPECT_NO_THROW(options.validate()) << name << "=" << value;
  }
}

struct refused_case {
  std::string name;
  std::string value;
  std::string problem_and_form;
};

const std::string whole = "is not a whole number in range; accepted: a whole number";
const std::string range = "is out of range; accepted: a whole number";
const std::string sentinels =
    "is no list of Sentinels; accepted: host:port,host:port, at most 16; [host] if it has a :";
const std::string bools = "is not a boolean; accepted: true, false, 1, 0, yes, no, on or off";
const std::string pool_time =
    "is not a time in range; accepted: seconds with at most 3 decimals, 0.001 to 86400";
const std::string identifier =
    "is not a usable schema name; accepted: an identifier of at most 63 of a-z, 0-9 and _, not "
    "beginning with a digit or pg_";
const std::string controls = "holds a control character; accepted: text without control characters";

const refused_case refused_cases[] = {
    {"DATABASE_PORT", "0", range + ", 1 to 65535"},
    {"DATABASE_PORT", "65536", range + ", 1 to 65535"},
    {"DATABASE_PORT", "54x", whole + ", 1 to 65535"},
    {"DATABASE_PORT", " ", whole + ", 1 to 65535"},
    {"DATABASE_PORT", "99999999999999999999", whole + ", 1 to 65535"},
    {"DATABASE_POOL_SIZE", "-1", range + " of connections, 0 to 10000; 0 is unlimited"},
    {"DATABASE_POOL_SIZE", "10001", range + " of connections, 0 to 10000; 0 is unlimited"},
    {"DATABASE_MAX_OVERFLOW", "-2", range + " of connections, -1 to 10000; -1 is unlimited"},
    {"DATABASE_MAX_OVERFLOW", "10001", range + " of connections, -1 to 10000; -1 is unlimited"},
    {"DATABASE_POOL_TIMEOUT", "0", pool_time},
    {"DATABASE_POOL_TIMEOUT", "-1", pool_time},
    {"DATABASE_POOL_TIMEOUT", "86400.001", pool_time},
    {"DATABASE_POOL_TIMEOUT", "1.2345", pool_time},
    {"DATABASE_POOL_TIMEOUT", "1.", pool_time},
    {"DATABASE_POOL_TIMEOUT", ".5", pool_time},
    {"DATABASE_POOL_TIMEOUT", "1.-5", pool_time},
    {"DATABASE_POOL_TIMEOUT", "1e3", pool_time},
    {"DATABASE_POOL_TIMEOUT", std::string(64, '9'), pool_time},
    {"DATABASE_POOL_RECYCLE", "0", "is ambiguous; accepted: -1 is never, 0 is not accepted"},
    {"DATABASE_POOL_RECYCLE", "-2",
     range + " of seconds, -1 to 31536000; -1 is never, 0 is not accepted"},
    {"DATABASE_POOL_RECYCLE", "31536001",
     range + " of seconds, -1 to 31536000; -1 is never, 0 is not accepted"},
    {"DATABASE_ECHO", "maybe", bools},
    {"DATABASE_ECHO", "2", bools},
    {"DATABASE_STATEMENT_TIMEOUT", "-1",
     range + " of milliseconds, 0 to 2073600000; 0 is no timeout"},
    {"DATABASE_STATEMENT_TIMEOUT", "2073600001",
     range + " of milliseconds, 0 to 2073600000; 0 is no timeout"},
    {"DATABASE_STATEMENT_TIMEOUT", "30s",
     whole + " of milliseconds, 0 to 2073600000; 0 is no timeout"},
    {"REDIS_ENABLED", "t", bools},
    {"REDIS_PORT", "0", range + ", 1 to 65535"},
    {"REDIS_DB", "-1", range + ", 0 to 65535"},
    {"REDIS_DB", "65536", range + ", 0 to 65535"},
    {"CACHE_TTL_SECONDS", "0", range + " of seconds, 1 to 31536000"},
    {"CACHE_TTL_SECONDS", "31536001", range + " of seconds, 1 to 31536000"},
    {"SOUNDHASH_DB_REDIS_TLS", "maybe", bools},
    {"SOUNDHASH_DB_REDIS_SENTINELS", "a,", sentinels},
    {"SOUNDHASH_DB_REDIS_SENTINELS", "a:0", sentinels},
    {"SOUNDHASH_DB_REDIS_SENTINELS", "a:1:2", sentinels},
    {"SOUNDHASH_DB_REDIS_SENTINELS", "[::1", sentinels},
    {"SOUNDHASH_DB_REDIS_SENTINELS", "[::1]1", sentinels},
    {"SOUNDHASH_DB_REDIS_SENTINELS", "a,b,c,d,e,f,g,h,i,j,k,l,m,n,o,p,q", sentinels},
    {"SOUNDHASH_DB_REDIS_CONNECT_TIMEOUT_MS", "0", range + " of milliseconds, 1 to 60000"},
    {"SOUNDHASH_DB_REDIS_COMMAND_TIMEOUT_MS", "60001", range + " of milliseconds, 1 to 60000"},
    {"SOUNDHASH_DB_REDIS_CONNECTIONS", "0", range + ", 1 to 64"},
    {"SOUNDHASH_DB_CACHE_TTL_VIDEO_SECONDS", "-1",
     range + " of seconds, 0 to 31536000; 0 is CACHE_TTL_SECONDS"},
    {"SOUNDHASH_DB_CACHE_NEGATIVE_TTL_MS", "60001", range + " of milliseconds, 1 to 60000"},
    {"SOUNDHASH_DB_CACHE_MAX_VALUE_BYTES", "1023", range + " of bytes, 1024 to 67108864"},
    {"SOUNDHASH_DB_CACHE_NAMESPACE", "a b",
     "is not accepted; accepted: at most 64 of a-z A-Z 0-9 _ . -"},
    {"SOUNDHASH_DB_CACHE_STRICT", "true", "is no mode; accepted: off, open or closed"},
    {"SOUNDHASH_DB_NEAR_CACHE_ENTRIES", "10000001", range + " of entries, 0 to 10000000"},
    {"SOUNDHASH_DB_NEAR_CACHE_TTL_MS", "0", range + " of milliseconds, 1 to 60000"},
    {"SOUNDHASH_DB_SCHEMA", "Public", identifier},
    {"SOUNDHASH_DB_SCHEMA", "1a", identifier},
    {"SOUNDHASH_DB_SCHEMA", "a,b", identifier},
    {"SOUNDHASH_DB_SCHEMA", "a\"b", identifier},
    {"SOUNDHASH_DB_SCHEMA", "$user", identifier},
    {"SOUNDHASH_DB_SCHEMA", "pg_catalog", identifier},
    {"SOUNDHASH_DB_SCHEMA", std::string(64, 's'), identifier},
    {"SOUNDHASH_DB_APPLICATION_NAME", "naïve",
     "is not accepted; accepted: at most 63 printable ASCII characters"},
    {"SOUNDHASH_DB_APPLICATION_NAME", std::string(64, 'a'),
     "is not accepted; accepted: at most 63 printable ASCII characters"},
    {"SOUNDHASH_DB_REQUIRE_UTC", "utc", bools},
    {"SOUNDHASH_DB_SLOW_QUERY_MS", "0", range + " of milliseconds, 1 to 86400000"},
    {"SOUNDHASH_DB_SLOW_QUERY_MS", "86400001", range + " of milliseconds, 1 to 86400000"},
    {"SOUNDHASH_DB_CONNECT_TIMEOUT_MS", "0", range + " of milliseconds, 1 to 3600000"},
    {"SOUNDHASH_DB_CONNECT_TIMEOUT_MS", "3600001", range + " of milliseconds, 1 to 3600000"},
    {"SOUNDHASH_DB_POOLER", "session", "is no mode; accepted: none or transaction"},
    {"SOUNDHASH_DB_POOLER", "true", "is no mode; accepted: none or transaction"},
    {"SOUNDHASH_DB_FAIL_FAST_MS", "-1", range + " of milliseconds, 0 to 3600000"},
    {"SOUNDHASH_DB_FAIL_FAST_MS", "3600001", range + " of milliseconds, 0 to 3600000"},
    {"SOUNDHASH_DB_MIN_IDLE", "-1", range + ", 0 to 10000"},
    {"SOUNDHASH_DB_IDLE_TIMEOUT_MS", "31536000001",
     range + " of milliseconds, 0 to 31536000000; 0 is never"},
    {"SOUNDHASH_DB_KEEPALIVE_MS", "-1", range + " of milliseconds, 0 to 86400000; 0 is never"},
    {"SOUNDHASH_DB_LEAK_AFTER_MS", "86400001",
     range + " of milliseconds, 0 to 86400000; 0 is never"},
    {"SOUNDHASH_DB_MAX_WAITERS", "0", range + ", 1 to 1000000"},
    {"SOUNDHASH_DB_MAX_WAITERS", "1000001", range + ", 1 to 1000000"},
};

TEST(database_options, bad_values_are_named_with_the_accepted_form) {
  for (const auto& [name, value, rest] : refused_cases) {
    auto expected = name;
    expected.append(": \"").append(value).append("\" ").append(rest);
    EXPECT_EQ(refusal_of({{name, value}}), expected);
  }
}

TEST(database_options, startup_options_do_not_go_through_a_pooler) {
  auto options = database_options::from_url("postgresql://h/d?options=-c%20geqo%3Doff");
  EXPECT_NO_THROW(options.validate());
  options.pooler = pooler_mode::transaction;
  EXPECT_EQ(
      refusal([&] { options.validate(); }),
      "parameters.options: cannot pass the pooler (SOUNDHASH_DB_POOLER); accepted: none; give "
      "such settings to the role: ALTER ROLE … SET …");
}

TEST(database_options, foreign_text_is_escaped_and_cut_in_messages) {
  EXPECT_EQ(refusal_of({{"DATABASE_HOST", "a\nb"}}), "DATABASE_HOST: \"a\\x0ab\" " + controls);
  EXPECT_EQ(refusal_of({{"DATABASE_USER", "a\0b"s}}), "DATABASE_USER: \"a\\x00b\" " + controls);
  EXPECT_LT(refusal_of({{"DATABASE_ECHO", std::string(100'000, 'x')}}).size(), 300U);
}

TEST(database_options, error_names_the_variable) {
  try {
    static_cast<void>(database_options::from_variables({{"REDIS_DB", "x"}}));
    FAIL() << "no config_error";
  } catch (const config_error& failure) {
    EXPECT_EQ(failure.variable(), "REDIS_DB");
  }
}

TEST(database_options, empty_counts_as_unset) {
  variables empty;
  for (const auto& name : names) empty[name] = "";
  EXPECT_EQ(described(database_options::from_variables(empty)), documented_defaults);
}

TEST(database_options, foreign_names_are_ignored_and_own_typos_refused) {
  EXPECT_EQ(refusal_of({{"DATABASE_READER_ENDPOINTS", "x"}, {"PATH", "y"}}), "");
  const auto message = refusal_of({{"SOUNDHASH_DB_SHCEMA", canary}});
  EXPECT_EQ(message.find("SOUNDHASH_DB_SHCEMA: is no setting of soundhash-db; accepted: "
                         "SOUNDHASH_DB_SCHEMA, SOUNDHASH_DB_APPLICATION_NAME, "),
            0U)
      << message;
  EXPECT_EQ(message.find(canary), std::string::npos);
}

TEST(database_options, url_wins_over_the_parts_and_only_over_them) {
  const auto options = database_options::from_variables({{"DATABASE_URL", "postgres://h"},
                                                         {"DATABASE_HOST", "other"},
                                                         {"DATABASE_PORT", "unread"},
                                                         {"DATABASE_PASSWORD", "other"},
                                                         {"DATABASE_POOL_SIZE", "3"}});
  EXPECT_EQ(options.host, "h");
  EXPECT_EQ(options.port, 5432);
  EXPECT_TRUE(options.password.empty());
  EXPECT_EQ(options.pool.size, 3U);
}

// --- URLs ---

struct url_case {
  std::string url;
  std::string host, port, name, user, password;
  variables parameters;
};

const url_case url_cases[] = {
    {"postgresql://", "localhost", "5432", "soundhash", "", "", {}},
    {"postgresql:///db", "localhost", "5432", "db", "", "", {}},
    {"postgres://u:p@h:1/d", "h", "1", "d", "u", "p", {}},
    {"postgresql://u:p@h:65535/d", "h", "65535", "d", "u", "p", {}},
    {"postgresql+psycopg2://u:p@h/d", "h", "5432", "d", "u", "p", {}},
    {"postgresql+psycopg://u:p@h/d?", "h", "5432", "d", "u", "p", {}},
    {"postgresql://u@h:/", "h", "5432", "soundhash", "u", "", {}},
    {"postgresql://u:@h", "h", "5432", "soundhash", "u", "", {}},
    {"postgresql://u:a:b+c@h", "h", "5432", "soundhash", "u", "a:b+c", {}},
    {"postgresql://u%40x:%2F%40%25%3a%20@h/d%2fe", "h", "5432", "d/e", "u@x", "/@%: ", {}},
    {"postgresql://[::1]:6432/d", "::1", "6432", "d", "", "", {}},
    {"postgresql://[fe80::1%25eth0]/d", "fe80::1%eth0", "5432", "d", "", "", {}},
    {"postgresql://a,b/d", "a,b", "5432", "d", "", "", {}},
    {"postgresql://a:1,[::2]:1/d", "a,::2", "1", "d", "", "", {}},
    {"postgresql://a:1,b,c:3/d", "a,b,c", "1", "d", "", "", {{"port", "1,5432,3"}}},
    {"postgresql://a,b/d?port=7", "a,b", "7", "d", "", "", {}},
    {"postgresql://a,b/d?port=7,8", "a,b", "7", "d", "", "", {{"port", "7,8"}}},
    {"postgresql://%2Fvar%2Frun/d", "/var/run", "5432", "d", "", "", {}},
    {"postgresql:///d?host=/var/run&port=7", "/var/run", "7", "d", "", "", {}},
    {"postgresql://?dbname=d&user=u&password=p%26", "localhost", "5432", "d", "u", "p&", {}},
    {"postgresql://h/d?sslmode=require&options=-c%20geqo=off&sslrootcert=/x",
     "h",
     "5432",
     "d",
     "",
     "",
     {{"sslmode", "require"}, {"options", "-c geqo=off"}, {"sslrootcert", "/x"}}},
    {"postgresql://h?client_encoding=utf8", "h", "5432", "soundhash", "", "", {}},
};

TEST(database_options, url_parts_are_read_and_decoded) {
  for (const auto& each : url_cases) {
    ASSERT_EQ(refusal_of_url(each.url), "") << each.url;
    const auto options = database_options::from_url(each.url);
    EXPECT_EQ(options.host, each.host) << each.url;
    EXPECT_EQ(std::to_string(options.port), each.port) << each.url;
    EXPECT_EQ(options.name, each.name) << each.url;
    EXPECT_EQ(options.user, each.user) << each.url;
    EXPECT_EQ(options.password.reveal(), each.password) << each.url;
    EXPECT_EQ(options.parameters, each.parameters) << each.url;
    EXPECT_NO_THROW(options.validate()) << each.url;
  }
}

TEST(database_options, url_parameters_that_are_members_land_there) {
  const auto options =
      database_options::from_url("postgresql://h?application_name=worker&connect_timeout=7");
  EXPECT_EQ(options.application_name, "worker");
  EXPECT_EQ(options.pool.connect_timeout, 7s);
  EXPECT_TRUE(options.parameters.empty());
}

struct bad_url_case {
  std::string url;
  std::string problem;
};

const bad_url_case bad_url_cases[] = {
    {"", "does not begin with postgresql://"},
    {"mysql://u:c4n4ry@h", "does not begin with postgresql://"},
    {"postgresql+asyncpg://u:c4n4ry@h", "does not begin with postgresql://"},
    {"host=h password=c4n4ry", "does not begin with postgresql://"},
    {"postgresql://u:c4n4ry %40@h", "has a space or a control character"},
    {"postgresql://u:c4n4ry@h\n", "has a space or a control character"},
    {"postgresql://u:c4n4ry\0@h"s, "has a space or a control character"},
    {"postgresql://u:c4n4ry%zz@h", "has a % that is not followed"},
    {"postgresql://u:c4n4ry%4@h", "has a % that is not followed"},
    {"postgresql://u:c4n4ry%@h", "has a % that is not followed"},
    {"postgresql://u:c4n4ry%+1@h", "has a % that is not followed"},
    {"postgresql://u:c4n4ry%00@h", "has a % that is not followed"},
    {"postgresql://u:12/c4n4ry@h/d", "has an @ that does not end the user"},
    {"postgresql://u:12?c4n4ry=1@h/d", "has an @ that does not end the user"},
    {"postgresql://u:p@c4n4ry@h/d", "has an @ that does not end the user"},
    {"postgresql://c4n4ry/d/e", "has a / in its database name"},
    {"postgresql://h:c4n4ry", "has a port that is not a number"},
    {"postgresql://h:0", "has a port that is not a number"},
    {"postgresql://h:65536", "has a port that is not a number"},
    {"postgresql://::1", "has a port or a comma without a host"},
    {"postgresql://:5432", "has a port or a comma without a host"},
    {"postgresql://a,", "has a port or a comma without a host"},
    {"postgresql://,a", "has a port or a comma without a host"},
    {"postgresql://[::1", "has a [ without its ]"},
    {"postgresql://[]", "has a port or a comma without a host"},
    {"postgresql://[::1]c4n4ry", "has text between its ] and its port"},
    {"postgresql://h?c4n4ry", "has a parameter that is not of the form"},
    {"postgresql://h?sslmode", "has a parameter that is not of the form"},
    {"postgresql://h?=c4n4ry", "has a parameter that is not of the form"},
    {"postgresql://h?C4N4RY=c4n4ry", "has a parameter that is not of the form"},
    {"postgresql://h?sslmode=a&sslmode=c4n4ry", "has a parameter twice"},
    {"postgresql://a,b?port=1,2,3", "has other ports than hosts"},
    {"postgresql://h?port=c4n4ry", "has a port that is not a number"},
    {"postgresql://h?application_name=c4n4ry%0a", "has an application_name"},
    {"postgresql://h?connect_timeout=c4n4ry", "has a connect_timeout out of range"},
    {"postgresql://h?connect_timeout=0", "has a connect_timeout out of range"},
    {"postgresql://h?connect_timeout=3601", "has a connect_timeout out of range"},
    {"postgresql://h?client_encoding=c4n4ry", "has another client_encoding"},
    {"postgresql://c4n4ry%0a/d", "has a control character in a part"},
};

TEST(database_options, bad_urls_are_refused_without_repeating_them) {
  for (const auto& [url, problem] : bad_url_cases) {
    for (const auto& message : {refusal_of_url(url), refusal_of({{"DATABASE_URL", url}})}) {
      if (url.empty() && message.empty()) continue;  // the empty variable is unset
      EXPECT_EQ(message.find("DATABASE_URL: " + problem), 0U) << url << "\n" << message;
      EXPECT_EQ(message.find(canary), std::string::npos) << message;
      EXPECT_EQ(message.find("C4N4RY"), std::string::npos) << message;
    }
  }
}

TEST(database_options, passwords_are_never_repeated) {
  for (const std::string name :
       {"DATABASE_PASSWORD", "REDIS_PASSWORD", "SOUNDHASH_DB_REDIS_SENTINEL_PASSWORD"}) {
    EXPECT_EQ(refusal_of({{name, canary + "\0"s}}),
              name + ": holds a NUL byte; accepted: text without it");
  }
}

// --- validate ---

template <class F>
std::string invalid(F change) {
  database_options options;
  change(options);
  return refusal([&] { options.validate(); });
}

TEST(database_options, validate_names_member_value_and_range) {
  using o = database_options;
  EXPECT_EQ(invalid([](o& x) { x.port = 0; }), "port: 0 is out of range; accepted: 1 to 65535");
  EXPECT_EQ(invalid([](o& x) { x.pool.size = 0; }),
            "pool.size: 0 is out of range; accepted: 1 to 10000");
  EXPECT_EQ(invalid([](o& x) { x.pool.max_overflow = 10'001; }),
            "pool.max_overflow: 10001 is out of range; accepted: 0 to 10000");
  EXPECT_EQ(invalid([](o& x) { x.pool.acquire_timeout = 0ms; }),
            "pool.acquire_timeout: 0 ms is out of range; accepted: 1 ms to 86400000 ms");
  EXPECT_EQ(invalid([](o& x) { x.pool.recycle = -1ms; }),
            "pool.recycle: -1 ms is out of range; accepted: 0 ms to 31536000000 ms");
  EXPECT_EQ(invalid([](o& x) { x.pool.connect_timeout = 2h; }),
            "pool.connect_timeout: 7200000 ms is out of range; accepted: 1 ms to 3600000 ms");
  EXPECT_EQ(invalid([](o& x) { x.pool.fail_fast_after = -1ms; }),
            "pool.fail_fast_after: -1 ms is out of range; accepted: 0 ms to 3600000 ms");
  EXPECT_EQ(invalid([](o& x) { x.pool.recent_use = -1ms; }),
            "pool.recent_use: -1 ms is out of range; accepted: 0 ms to 86400000 ms");
  EXPECT_EQ(invalid([](o& x) { x.pool.ping_after = 499ms; }),
            "pool.ping_after: 499 ms is out of range; accepted: 500 ms to 86400000 ms");
  EXPECT_EQ(invalid([](o& x) { x.pool.max_waiters = 0; }),
            "pool.max_waiters: 0 is out of range; accepted: 1 to 1000000");
  EXPECT_EQ(invalid([](o& x) { x.pool.min_idle = 11; }),
            "pool.min_idle: 11 is out of range; accepted: 0 to 10");
  EXPECT_EQ(invalid([](o& x) { x.statement_timeout = -1ms; }),
            "statement_timeout: -1 ms is out of range; accepted: 0 ms to 2073600000 ms");
  EXPECT_EQ(invalid([](o& x) { x.slow_query = 0ms; }),
            "slow_query: 0 ms is out of range; accepted: 1 ms to 86400000 ms");
  EXPECT_EQ(invalid([](o& x) { x.cache.port = 0; }),
            "cache.port: 0 is out of range; accepted: 1 to 65535");
  EXPECT_EQ(invalid([](o& x) { x.cache.db = -1; }),
            "cache.db: -1 is out of range; accepted: 0 to 65535");
  EXPECT_EQ(invalid([](o& x) { x.cache.ttl = 0s; }),
            "cache.ttl: 0 s is out of range; accepted: 1 s to 31536000 s");
  EXPECT_EQ(invalid([](o& x) { x.cache.video_ttl = -1s; }),
            "cache.video_ttl: -1 s is out of range; accepted: 0 s to 31536000 s");
  EXPECT_EQ(invalid([](o& x) { x.cache.negative_ttl = 0ms; }),
            "cache.negative_ttl: 0 ms is out of range; accepted: 1 ms to 60000 ms");
  EXPECT_EQ(invalid([](o& x) { x.cache.command_timeout = 0ms; }),
            "cache.command_timeout: 0 ms is out of range; accepted: 1 ms to 60000 ms");
  EXPECT_EQ(invalid([](o& x) { x.cache.connect_timeout = 2min; }),
            "cache.connect_timeout: 120000 ms is out of range; accepted: 1 ms to 60000 ms");
  EXPECT_EQ(invalid([](o& x) { x.cache.connections = 65; }),
            "cache.connections: 65 is out of range; accepted: 1 to 64");
  EXPECT_EQ(invalid([](o& x) { x.cache.max_value_bytes = 1; }),
            "cache.max_value_bytes: 1 is out of range; accepted: 1024 to 67108864");
  EXPECT_EQ(invalid([](o& x) { x.cache.near_cache.ttl = 0ms; }),
            "cache.near_cache.ttl: 0 ms is out of range; accepted: 1 ms to 60000 ms");
  EXPECT_EQ(invalid([](o& x) { x.cache.near_cache.entries = 10'000'001; }),
            "cache.near_cache.entries: 10000001 is out of range; accepted: 0 to 10000000");
  EXPECT_EQ(invalid([](o& x) {
              x.cache.sentinels = {{"a", 0}};
            }),
            "cache.sentinels: 0 is out of range; accepted: 1 to 65535");
}

TEST(database_options, validate_refuses_halves_of_tls) {
  using o = database_options;
  EXPECT_EQ(invalid([](o& x) { x.cache.tls.ca_file = "ca.pem"; }),
            "cache.tls: has files but is not enabled; accepted: enabled, or no files");
  EXPECT_EQ(invalid([](o& x) {
              x.cache.tls.enabled = true;
              x.cache.tls.key = "key.pem";
            }),
            "cache.tls: has a certificate without key, or a key without certificate; accepted: "
            "both or neither");
}

TEST(database_options, validate_refuses_tls_on_a_unix_socket) {
  using o = database_options;
  const std::string refusal =
      "cache.tls: is enabled for a unix socket, which has none; accepted: not enabled, or the name "
      "of a host";
  EXPECT_EQ(invalid([](o& x) {
              x.cache.tls.enabled = true;
              x.cache.host = "/run/redis.sock";
            }),
            refusal);
  EXPECT_EQ(invalid([](o& x) {
              x.cache.tls.enabled = true;
              x.cache.sentinels = {{"a", 1}, {"/run/sentinel.sock", 1}};
            }),
            refusal);
  EXPECT_EQ(invalid([](o& x) {
              x.cache.tls.enabled = true;
              x.cache.host = "/run/unused.sock";
              x.cache.sentinels = {{"a", 1}};
            }),
            "");
}

TEST(database_options, validate_refuses_bad_texts) {
  using o = database_options;
  const auto starts = [](const std::string& message, const std::string& start) {
    EXPECT_EQ(message.find(start), 0U) << message;
    EXPECT_EQ(message.find(canary), std::string::npos) << message;
  };
  starts(invalid([](o& x) { x.host = ""; }), "host: \"\" is not accepted");
  starts(invalid([](o& x) { x.name = "a\nb"; }), "name: \"a\\x0ab\" is not accepted");
  starts(invalid([](o& x) { x.user = "\0"s; }), "user: \"\\x00\" is not accepted");
  starts(invalid([](o& x) { x.schema = "a b"; }), "schema: \"a b\" is not accepted");
  starts(invalid([](o& x) { x.application_name = "\t"; }), "application_name: \"\\x09\" is not");
  starts(invalid([](o& x) { x.cache.host = ""; }), "cache.host: \"\" is not accepted");
  starts(invalid([](o& x) { x.cache.user = "\n"; }), "cache.user: \"\\x0a\" is not accepted");
  starts(invalid([](o& x) { x.cache.name_space = "*"; }), "cache.name_space: \"*\" is not");
  starts(invalid([](o& x) { x.cache.name_space = std::string(65, 'a'); }),
         "cache.name_space: \"aaaa");
  starts(invalid([](o& x) { x.cache.sentinels = {{"", 1}}; }), "cache.sentinels: \"\" is not");
  starts(invalid([](o& x) { x.cache.sentinel_master = ""; }), "cache.sentinel_master: \"\" is");
  starts(invalid([](o& x) { x.password = secret{canary + "\0"s}; }), "password: holds a NUL");
  starts(invalid([](o& x) { x.cache.password = secret{canary + "\0"s}; }), "cache.password: holds");
  starts(invalid([](o& x) { x.cache.sentinel_user = "\n"; }), "cache.sentinel_user: \"\\x0a\" is");
  starts(invalid([](o& x) { x.cache.sentinel_password = secret{canary + "\0"s}; }),
         "cache.sentinel_password: holds");
  starts(invalid([](o& x) { x.parameters["password"] = canary; }), "parameters: \"password\" is");
  starts(invalid([](o& x) { x.parameters["sslpassword"] = canary + "\0"s; }),
         "parameters.sslpassword: holds a NUL");
  starts(invalid([](o& x) { x.parameters[""] = canary; }), "parameters: \"\" is not accepted");
  starts(invalid([](o& x) { x.interceptors.emplace_back(); }), "interceptors: one of them is null");
}

// --- the process environment and .env ---

/// A working directory of its own and an environment without our variables; both come back.
class database_options_environment : public testing::Test {
 protected:
  database_options_environment() {
    auto pattern = (std::filesystem::temp_directory_path() / "database_options.XXXXXX").string();
    if (::mkdtemp(pattern.data()) == nullptr) throw std::runtime_error{"mkdtemp"};
    folder_ = pattern;
    std::filesystem::current_path(folder_);
    for (const auto& name : names) {
      if (const char* value = std::getenv(name.c_str())) saved_[name] = value;
      ::unsetenv(name.c_str());
    }
    set_logger(std::make_shared<spdlog::logger>(
        "test", std::make_shared<spdlog::sinks::ostream_sink_mt>(log_)));
  }
  ~database_options_environment() override {
    set_logger(nullptr);
    for (const auto& name : names) ::unsetenv(name.c_str());
    for (const auto& [name, value] : saved_) set(name, value);
    std::filesystem::current_path(before_);
    std::filesystem::remove_all(folder_);
  }

  static void set(const std::string& name, const std::string& value) {
    ::setenv(name.c_str(), value.c_str(), 1);
  }
  static void write(const std::string& text, unsigned mode = 0600) {
    std::ofstream{".env"} << text;
    std::filesystem::permissions(".env", std::filesystem::perms{mode});
  }

  std::filesystem::path before_ = std::filesystem::current_path();
  std::filesystem::path folder_;
  variables saved_;
  std::ostringstream log_;
};

TEST_F(database_options_environment, nothing_set_gives_the_defaults) {
  EXPECT_EQ(described(database_options::from_env()), documented_defaults);
}

TEST_F(database_options_environment, process_environment_wins_over_the_file) {
  write("DATABASE_HOST=file\nDATABASE_NAME=file\nDATABASE_USER=file\nDATABASE_PASSWORD=file\n");
  set("DATABASE_HOST", "process");
  set("DATABASE_USER", "");
  set("DATABASE_PASSWORD", "");
  const auto options = database_options::from_env();
  EXPECT_EQ(options.host, "process");
  EXPECT_EQ(options.name, "file");
  EXPECT_EQ(options.user, "file");
  EXPECT_TRUE(options.password.empty());
}

TEST_F(database_options_environment, file_does_not_reach_the_process_environment) {
  write("DATABASE_HOST=file\n");
  EXPECT_EQ(database_options::from_env().host, "file");
  EXPECT_EQ(std::getenv("DATABASE_HOST"), nullptr);
}

TEST_F(database_options_environment, named_file_must_exist) {
  EXPECT_EQ(refusal([] { static_cast<void>(database_options::from_env("no\n.env")); }),
            "no\\x0a.env: does not exist; accepted: the path of a .env file");
  write("DATABASE_HOST=file\n");
  std::filesystem::rename(".env", "other");
  EXPECT_EQ(database_options::from_env("other").host, "file");
}

TEST_F(database_options_environment, folder_named_dotenv_is_refused) {
  std::filesystem::create_directory(".env");
  EXPECT_EQ(refusal([] { static_cast<void>(database_options::from_env()); }),
            ".env: is not a regular file; accepted: a readable regular file of at most 1 MiB");
}

TEST_F(database_options_environment, typo_is_refused_in_the_file_and_in_the_process) {
  write("SOUNDHASH_DB_SLOW=1\n");
  const auto read = [] { static_cast<void>(database_options::from_env()); };
  EXPECT_EQ(refusal(read).find("SOUNDHASH_DB_SLOW: is no setting"), 0U);
  write("");
  set("SOUNDHASH_DB_FAST", "1");
  EXPECT_EQ(refusal(read).find("SOUNDHASH_DB_FAST: is no setting"), 0U);
  ::unsetenv("SOUNDHASH_DB_FAST");
}

TEST_F(database_options_environment, exposed_password_is_warned_about) {
  for (const std::string text :
       {"DATABASE_PASSWORD=c4n4ry", "REDIS_PASSWORD=c4n4ry",
        "SOUNDHASH_DB_REDIS_SENTINEL_PASSWORD=c4n4ry", "DATABASE_URL=postgresql://u:c4n4ry@h",
        "DATABASE_URL=postgresql://h?password=c4n4ry"}) {
    log_.str("");
    write(text, 0640);
    EXPECT_EQ(refusal([] { static_cast<void>(database_options::from_env()); }), "");
    EXPECT_NE(log_.str().find(".env holds a password and is readable by other users"),
              std::string::npos)
        << text;
    EXPECT_EQ(log_.str().find(canary), std::string::npos);
  }
}

TEST_F(database_options_environment, private_file_or_no_password_is_not_warned_about) {
  write("DATABASE_PASSWORD=x", 0600);
  EXPECT_FALSE(database_options::from_env().password.empty());
  for (const std::string text : {"DATABASE_PASSWORD=", "DATABASE_URL=postgresql://u@h:1/d"}) {
    write(text, 0644);
    EXPECT_TRUE(database_options::from_env().password.empty());
  }
  EXPECT_EQ(log_.str(), "");
}

TEST(env_example, lists_every_name_with_its_default) {
  const auto path = std::filesystem::path{SOUNDHASH_DB_SOURCE_DIR} / ".env.example";
  const auto file = read_dotenv(path);
  ASSERT_TRUE(file);
  auto expected = names;
  std::sort(expected.begin(), expected.end());
  std::vector<std::string> listed;
  for (const auto& [name, value] : file->variables) listed.push_back(name);
  EXPECT_EQ(listed, expected);
  EXPECT_EQ(described(database_options::from_variables(file->variables)), documented_defaults);
}

TEST(env_example, shows_a_value_wherever_the_default_is_not_empty) {
  const auto path = std::filesystem::path{SOUNDHASH_DB_SOURCE_DIR} / ".env.example";
  const std::vector<std::string> empty{"DATABASE_PASSWORD",
                                       "DATABASE_URL",
                                       "DATABASE_USER",
                                       "REDIS_PASSWORD",
                                       "SOUNDHASH_DB_CACHE_NAMESPACE",
                                       "SOUNDHASH_DB_REDIS_SENTINELS",
                                       "SOUNDHASH_DB_REDIS_SENTINEL_PASSWORD",
                                       "SOUNDHASH_DB_REDIS_SENTINEL_USER",
                                       "SOUNDHASH_DB_REDIS_TLS_CA_FILE",
                                       "SOUNDHASH_DB_REDIS_TLS_CERT_FILE",
                                       "SOUNDHASH_DB_REDIS_TLS_KEY_FILE",
                                       "SOUNDHASH_DB_REDIS_USER"};
  std::vector<std::string> found;
  const auto file = read_dotenv(path);
  ASSERT_TRUE(file);
  for (const auto& [name, value] : file->variables) {
    if (value.empty()) found.push_back(name);
  }
  EXPECT_EQ(found, empty);
}

}  // namespace
}  // namespace soundhash::db
