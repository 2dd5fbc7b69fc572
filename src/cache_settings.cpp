#include "cache_settings.hpp"

#include <algorithm>
#include <array>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <soundhash/db/core/error.hpp>

#include "core/bounds.hpp"

namespace soundhash::db {
namespace {

using namespace settings;
using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr std::string_view name_space_form = "at most 64 of a-z A-Z 0-9 _ . -";
constexpr std::string_view sentinels_form = "host:port,host:port, at most 16; [host] if it has a :";
constexpr std::string_view no_entity_ttl = "0 is CACHE_TTL_SECONDS";
constexpr std::size_t most_sentinels = 16;

constexpr bounds<int> db_bounds{0, 65'535};
constexpr bounds<milliseconds> timeout_bounds{milliseconds{1}, std::chrono::minutes{1}};
constexpr bounds<std::size_t> connections_bounds{1, 64};
constexpr bounds<seconds> ttl_bounds{seconds{1}, std::chrono::hours{24 * 365}};
constexpr bounds<seconds> entity_ttl_bounds{seconds{0}, ttl_bounds.high};
constexpr bounds<milliseconds> negative_ttl_bounds{milliseconds{1}, std::chrono::minutes{1}};
constexpr bounds<std::size_t> value_bytes_bounds{1U << 10U, 64U << 20U};
constexpr bounds<std::size_t> near_entries_bounds{0, 10'000'000};
constexpr bounds<milliseconds> near_ttl_bounds{milliseconds{1}, std::chrono::minutes{1}};

bool is_name_space(std::string_view text) {
  return text.size() <= 64 &&
         text.find_first_not_of(
             "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-") ==
             std::string_view::npos;
}

std::string name_space(const variable& given) {
  if (!is_name_space(given.value)) refuse(given, "is not accepted", name_space_form);
  return std::string{given.value};
}

cache_strictness strictness(const variable& given) {
  const auto word = trimmed(given.value);
  if (word == "off") return cache_strictness::off;
  if (word == "open") return cache_strictness::fail_open;
  if (word == "closed") return cache_strictness::fail_closed;
  refuse(given, "is no mode", "off, open or closed");
}

/// "host", "host:port" or "[host]:port".
std::optional<sentinel_address> sentinel(std::string_view text) {
  sentinel_address found;
  auto rest = text;
  if (text.starts_with('[')) {
    const auto end = text.find(']');
    if (end == std::string_view::npos) return std::nullopt;
    found.host = text.substr(1, end - 1);
    rest = text.substr(end + 1);
  } else {
    found.host = text.substr(0, text.find(':'));
    rest = text.substr(found.host.size());
  }
  if (found.host.empty() || has_control_character(found.host)) return std::nullopt;
  if (rest.empty()) return found;
  const auto port = whole_number(rest.substr(1));
  if (rest.front() != ':' || !port || *port < port_bounds.low || *port > port_bounds.high) {
    return std::nullopt;
  }
  found.port = static_cast<std::uint16_t>(*port);
  return found;
}

std::vector<sentinel_address> sentinels(const variable& given) {
  std::vector<sentinel_address> found;
  for (auto rest = given.value;;) {
    const auto comma = rest.find(',');
    auto one = sentinel(trimmed(rest.substr(0, comma)));
    if (!one || found.size() == most_sentinels) {
      refuse(given, "is no list of Sentinels", sentinels_form);
    }
    found.push_back(std::move(*one));
    if (comma == std::string_view::npos) return found;
    rest.remove_prefix(comma + 1);
  }
}

constexpr std::array known{
    setting{"REDIS_ENABLED",
            [](auto& into, const auto& given) { into.cache.enabled = flag(given); }},
    setting{"REDIS_HOST", [](auto& into, const auto& given) { into.cache.host = text(given); }},
    setting{"REDIS_PORT", [](auto& into, const auto& given) { into.cache.port = port(given); }},
    setting{"REDIS_DB",
            [](auto& into, const auto& given) {
              into.cache.db = static_cast<int>(number(given, {db_bounds.low, db_bounds.high}));
            }},
    setting{"REDIS_PASSWORD",
            [](auto& into, const auto& given) { into.cache.password = hidden(given); }},
    setting{"CACHE_TTL_SECONDS",
            [](auto& into, const auto& given) { into.cache.ttl = in_seconds(given, ttl_bounds); }},
    setting{"SOUNDHASH_DB_REDIS_USER",
            [](auto& into, const auto& given) { into.cache.user = text(given); }},
    setting{"SOUNDHASH_DB_REDIS_TLS",
            [](auto& into, const auto& given) { into.cache.tls.enabled = flag(given); }},
    setting{"SOUNDHASH_DB_REDIS_TLS_CA_FILE",
            [](auto& into, const auto& given) { into.cache.tls.ca_file = text(given); }},
    setting{"SOUNDHASH_DB_REDIS_TLS_CERT_FILE",
            [](auto& into, const auto& given) { into.cache.tls.certificate = text(given); }},
    setting{"SOUNDHASH_DB_REDIS_TLS_KEY_FILE",
            [](auto& into, const auto& given) { into.cache.tls.key = text(given); }},
    setting{"SOUNDHASH_DB_REDIS_SENTINELS",
            [](auto& into, const auto& given) { into.cache.sentinels = sentinels(given); }},
    setting{"SOUNDHASH_DB_REDIS_SENTINEL_MASTER",
            [](auto& into, const auto& given) { into.cache.sentinel_master = text(given); }},
    setting{"SOUNDHASH_DB_REDIS_SENTINEL_USER",
            [](auto& into, const auto& given) { into.cache.sentinel_user = text(given); }},
    setting{"SOUNDHASH_DB_REDIS_SENTINEL_PASSWORD",
            [](auto& into, const auto& given) { into.cache.sentinel_password = hidden(given); }},
    setting{"SOUNDHASH_DB_REDIS_CONNECT_TIMEOUT_MS",
            [](auto& into, const auto& given) {
              into.cache.connect_timeout = in_milliseconds(given, timeout_bounds);
            }},
    setting{"SOUNDHASH_DB_REDIS_COMMAND_TIMEOUT_MS",
            [](auto& into, const auto& given) {
              into.cache.command_timeout = in_milliseconds(given, timeout_bounds);
            }},
    setting{"SOUNDHASH_DB_REDIS_CONNECTIONS",
            [](auto& into, const auto& given) {
              into.cache.connections = count(given, connections_bounds);
            }},
    setting{"SOUNDHASH_DB_CACHE_TTL_CHANNEL_SECONDS",
            [](auto& into, const auto& given) {
              into.cache.channel_ttl = in_seconds(given, entity_ttl_bounds, no_entity_ttl);
            }},
    setting{"SOUNDHASH_DB_CACHE_TTL_VIDEO_SECONDS",
            [](auto& into, const auto& given) {
              into.cache.video_ttl = in_seconds(given, entity_ttl_bounds, no_entity_ttl);
            }},
    setting{"SOUNDHASH_DB_CACHE_TTL_MATCH_SECONDS",
            [](auto& into, const auto& given) {
              into.cache.match_ttl = in_seconds(given, entity_ttl_bounds, no_entity_ttl);
            }},
    setting{"SOUNDHASH_DB_CACHE_NEGATIVE_TTL_MS",
            [](auto& into, const auto& given) {
              into.cache.negative_ttl = in_milliseconds(given, negative_ttl_bounds);
            }},
    setting{"SOUNDHASH_DB_CACHE_MAX_VALUE_BYTES",
            [](auto& into, const auto& given) {
              into.cache.max_value_bytes = count(given, value_bytes_bounds, "bytes");
            }},
    setting{"SOUNDHASH_DB_CACHE_NAMESPACE",
            [](auto& into, const auto& given) { into.cache.name_space = name_space(given); }},
    setting{"SOUNDHASH_DB_CACHE_STRICT",
            [](auto& into, const auto& given) { into.cache.strict = strictness(given); }},
    setting{"SOUNDHASH_DB_NEAR_CACHE_ENTRIES",
            [](auto& into, const auto& given) {
              into.cache.near_cache.entries = count(given, near_entries_bounds, "entries");
            }},
    setting{"SOUNDHASH_DB_NEAR_CACHE_TTL_MS",
            [](auto& into, const auto& given) {
              into.cache.near_cache.ttl = in_milliseconds(given, near_ttl_bounds);
            }},
};

/// Nothing reads along on a Unix socket, and Redis speaks no TLS there.
void require_tcp(const cache_options& cache) {
  const auto is_path = [](const std::string& host) { return host.starts_with('/'); };
  const auto sentinel = [&](const sentinel_address& one) { return is_path(one.host); };
  if (cache.sentinels.empty() ? is_path(cache.host)
                              : std::ranges::any_of(cache.sentinels, sentinel)) {
    throw config_error{"cache.tls", "is enabled for a unix socket, which has none",
                       "not enabled, or the name of a host"};
  }
}

void validate_tls(const cache_options& cache) {
  const auto& tls = cache.tls;
  if (tls.enabled) require_tcp(cache);
  const bool has_files = !tls.ca_file.empty() || !tls.certificate.empty() || !tls.key.empty();
  if (has_files && !tls.enabled) {
    throw config_error{"cache.tls", "has files but is not enabled", "enabled, or no files"};
  }
  if (tls.certificate.empty() != tls.key.empty()) {
    throw config_error{"cache.tls", "has a certificate without key, or a key without certificate",
                       "both or neither"};
  }
  for (const auto& file : {tls.ca_file, tls.certificate, tls.key}) {
    require_text("cache.tls", file, text_form, !has_control_character(file));
  }
}

void validate_sentinels(const cache_options& cache) {
  if (cache.sentinels.size() > most_sentinels) {
    throw config_error{"cache.sentinels", "are too many", sentinels_form};
  }
  for (const auto& one : cache.sentinels) {
    require_name("cache.sentinels", one.host);
    require_within("cache.sentinels", one.port, port_bounds);
  }
  require_name("cache.sentinel_master", cache.sentinel_master);
  require_text("cache.sentinel_user", cache.sentinel_user, text_form,
               !has_control_character(cache.sentinel_user));
  require_no_nul("cache.sentinel_password", cache.sentinel_password.reveal());
}

void validate_lifetimes(const cache_options& cache) {
  require_within("cache.ttl", cache.ttl, ttl_bounds);
  require_within("cache.channel_ttl", cache.channel_ttl, entity_ttl_bounds);
  require_within("cache.video_ttl", cache.video_ttl, entity_ttl_bounds);
  require_within("cache.match_ttl", cache.match_ttl, entity_ttl_bounds);
  require_within("cache.negative_ttl", cache.negative_ttl, negative_ttl_bounds);
  require_within("cache.near_cache.ttl", cache.near_cache.ttl, near_ttl_bounds);
}

}  // namespace

std::span<const setting> cache_settings() {
  return known;
}

void validate_cache(const cache_options& cache) {
  require_name("cache.host", cache.host);
  require_within("cache.port", cache.port, port_bounds);
  require_within("cache.db", cache.db, db_bounds);
  require_text("cache.user", cache.user, text_form, !has_control_character(cache.user));
  require_no_nul("cache.password", cache.password.reveal());
  validate_tls(cache);
  validate_sentinels(cache);
  require_within("cache.connect_timeout", cache.connect_timeout, timeout_bounds);
  require_within("cache.command_timeout", cache.command_timeout, timeout_bounds);
  require_within("cache.connections", cache.connections, connections_bounds);
  validate_lifetimes(cache);
  require_within("cache.max_value_bytes", cache.max_value_bytes, value_bytes_bounds);
  require_text("cache.name_space", cache.name_space, name_space_form,
               is_name_space(cache.name_space));
  require_within("cache.near_cache.entries", cache.near_cache.entries, near_entries_bounds);
}

}  // namespace soundhash::db
