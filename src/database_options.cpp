#include <algorithm>
#include <array>
#include <cstdlib>
#include <optional>
#include <span>
#include <utility>

#include <spdlog/spdlog.h>
#include <unistd.h>

#include <soundhash/db/core/error.hpp>
#include <soundhash/db/database_options.hpp>
#include <soundhash/db/observe/logger.hpp>

#include "cache_settings.hpp"
#include "core/bounds.hpp"
#include "core/dotenv.hpp"
#include "core/url.hpp"
#include "pool/pool_limits.hpp"
#include "setting.hpp"

namespace soundhash::db {
namespace {

using namespace settings;
using std::chrono::milliseconds;
using std::chrono::seconds;
using variable_map = std::map<std::string, std::string>;

constexpr std::string_view own_prefix = "SOUNDHASH_DB_";
constexpr std::string_view url_variable = "DATABASE_URL";
constexpr std::array<std::string_view, 3> passwords{"DATABASE_PASSWORD", "REDIS_PASSWORD",
                                                    "SOUNDHASH_DB_REDIS_SENTINEL_PASSWORD"};
constexpr std::string_view schema_form =
    "an identifier of at most 63 of a-z, 0-9 and _, not beginning with a digit or pg_";
constexpr std::string_view application_name_form = "at most 63 printable ASCII characters";

constexpr bounds<milliseconds> statement_timeout_bounds{milliseconds{0},
                                                        std::chrono::hours{24 * 24}};
constexpr bounds<milliseconds> slow_query_bounds{milliseconds{1}, std::chrono::hours{24}};

// --- what a text may hold ---

bool is_schema_name(std::string_view text) {
  constexpr std::string_view first = "abcdefghijklmnopqrstuvwxyz_";
  constexpr std::string_view later = "abcdefghijklmnopqrstuvwxyz_0123456789";
  return !text.empty() && text.size() <= 63 && first.find(text.front()) != std::string_view::npos &&
         text.find_first_not_of(later) == std::string_view::npos && text.substr(0, 3) != "pg_";
}

bool is_application_name(std::string_view text) {
  const auto printable = [](unsigned char c) { return c >= 0x20 && c < 0x7F; };
  return text.size() <= 63 && std::all_of(text.begin(), text.end(), printable);
}

// --- one variable ---

/// A count of which `unlimited`, just below the range, means no limit.
std::optional<std::size_t> limit(const variable& given, const bounds<std::size_t>& range) {
  const auto unlimited = static_cast<std::int64_t>(range.low) - 1;
  const auto value = number(given, {unlimited, static_cast<std::int64_t>(range.high)},
                            "connections", amount(unlimited) + " is unlimited");
  if (value == unlimited) return std::nullopt;
  return static_cast<std::size_t>(value);
}

/// "30", "0.5" or "1.25" in thousandths; nothing beyond three decimals.
std::optional<std::int64_t> thousandths(std::string_view text) {
  const auto point = std::min(text.find('.'), text.size());
  auto digits = std::string{text.substr(0, point)};
  const auto decimals = text.substr(std::min(point + 1, text.size()));
  if (digits.empty() || decimals.size() > 3 || (point < text.size() && decimals.empty())) {
    return std::nullopt;
  }
  digits.append(decimals).append(3 - decimals.size(), '0');
  if (digits.find_first_not_of("0123456789") != std::string::npos) return std::nullopt;
  return whole_number(digits);
}

milliseconds acquire_timeout(const variable& given) {
  constexpr auto range = pool_limits::acquire_timeout;
  const auto value = thousandths(trimmed(given.value));
  if (value && range.contains(milliseconds{*value})) return milliseconds{*value};
  refuse(given, "is not a time in range",
         "seconds with at most 3 decimals, 0.001 to " + amount(range.high.count() / 1000));
}

milliseconds recycle(const variable& given) {
  const auto longest = std::chrono::duration_cast<seconds>(pool_limits::recycle.high).count();
  constexpr std::string_view note = "-1 is never, 0 is not accepted";
  const auto value = number(given, {-1, longest}, "seconds", note);
  // SQLAlchemy takes 0 as "replace at every use", the option takes it as "never".
  if (value == 0) refuse(given, "is ambiguous", note);
  return seconds{std::max<std::int64_t>(value, 0)};
}

std::string schema(const variable& given) {
  if (!is_schema_name(given.value)) refuse(given, "is not a usable schema name", schema_form);
  return std::string{given.value};
}

std::string application_name(const variable& given) {
  if (!is_application_name(given.value)) refuse(given, "is not accepted", application_name_form);
  return std::string{given.value};
}

pooler_mode pooler(const variable& given) {
  const auto word = trimmed(given.value);
  if (word == "none") return pooler_mode::none;
  if (word == "transaction") return pooler_mode::transaction;
  refuse(given, "is no mode", "none or transaction");
}

// --- the variables ---

/// Read only when there is no DATABASE_URL.
constexpr std::array connection_parts{
    setting{"DATABASE_HOST", [](auto& into, const auto& given) { into.host = text(given); }},
    setting{"DATABASE_PORT", [](auto& into, const auto& given) { into.port = port(given); }},
    setting{"DATABASE_NAME", [](auto& into, const auto& given) { into.name = text(given); }},
    setting{"DATABASE_USER", [](auto& into, const auto& given) { into.user = text(given); }},
    setting{"DATABASE_PASSWORD",
            [](auto& into, const auto& given) { into.password = hidden(given); }},
};

constexpr std::array other_settings{
    setting{
        "DATABASE_POOL_SIZE",
        [](auto& into, const auto& given) { into.pool.size = limit(given, pool_limits::size); }},
    setting{"DATABASE_MAX_OVERFLOW",
            [](auto& into, const auto& given) {
              into.pool.max_overflow = limit(given, pool_limits::max_overflow);
            }},
    setting{
        "DATABASE_POOL_TIMEOUT",
        [](auto& into, const auto& given) { into.pool.acquire_timeout = acquire_timeout(given); }},
    setting{"DATABASE_POOL_RECYCLE",
            [](auto& into, const auto& given) { into.pool.recycle = recycle(given); }},
    setting{"DATABASE_ECHO", [](auto& into, const auto& given) { into.echo = flag(given); }},
    setting{"DATABASE_STATEMENT_TIMEOUT",
            [](auto& into, const auto& given) {
              into.statement_timeout =
                  in_milliseconds(given, statement_timeout_bounds, "0 is no timeout");
            }},
    setting{"SOUNDHASH_DB_SCHEMA",
            [](auto& into, const auto& given) { into.schema = schema(given); }},
    setting{"SOUNDHASH_DB_APPLICATION_NAME",
            [](auto& into, const auto& given) { into.application_name = application_name(given); }},
    setting{"SOUNDHASH_DB_POOLER",
            [](auto& into, const auto& given) { into.pooler = pooler(given); }},
    setting{"SOUNDHASH_DB_SLOW_QUERY_MS",
            [](auto& into, const auto& given) {
              into.slow_query = in_milliseconds(given, slow_query_bounds);
            }},
    setting{"SOUNDHASH_DB_REQUIRE_UTC",
            [](auto& into, const auto& given) { into.require_utc = flag(given); }},
    setting{"SOUNDHASH_DB_CONNECT_TIMEOUT_MS",
            [](auto& into, const auto& given) {
              into.pool.connect_timeout = in_milliseconds(given, pool_limits::connect_timeout);
            }},
    setting{"SOUNDHASH_DB_FAIL_FAST_MS",
            [](auto& into, const auto& given) {
              into.pool.fail_fast_after = in_milliseconds(given, pool_limits::fail_fast_after);
            }},
    setting{"SOUNDHASH_DB_MIN_IDLE",
            [](auto& into, const auto& given) {
              into.pool.min_idle = count(given, pool_limits::min_idle);
            }},
    setting{"SOUNDHASH_DB_IDLE_TIMEOUT_MS",
            [](auto& into, const auto& given) {
              into.pool.idle_timeout =
                  in_milliseconds(given, pool_limits::idle_timeout, "0 is never");
            }},
    setting{"SOUNDHASH_DB_KEEPALIVE_MS",
            [](auto& into, const auto& given) {
              into.pool.keepalive = in_milliseconds(given, pool_limits::keepalive, "0 is never");
            }},
    setting{"SOUNDHASH_DB_LEAK_AFTER_MS",
            [](auto& into, const auto& given) {
              into.pool.leak_after = in_milliseconds(given, pool_limits::leak_after, "0 is never");
            }},
    setting{"SOUNDHASH_DB_MAX_WAITERS",
            [](auto& into, const auto& given) {
              into.pool.max_waiters = count(given, pool_limits::max_waiters);
            }},
};

/// All that are read with and without DATABASE_URL.
constexpr std::array<std::span<const setting> (*)(), 2> read_always{
    [] { return std::span<const setting>{other_settings}; }, cache_settings};

bool is_setting(std::string_view name) {
  const auto named = [name](const setting& known) { return known.name == name; };
  const auto in = [&](const auto& group) {
    const auto known = group();
    return std::any_of(known.begin(), known.end(), named);
  };
  return name == url_variable ||
         std::any_of(connection_parts.begin(), connection_parts.end(), named) ||
         std::any_of(read_always.begin(), read_always.end(), in);
}

bool is_own_name(std::string_view name) {
  return name.substr(0, own_prefix.size()) == own_prefix;
}

bool is_password(std::string_view name) {
  return std::ranges::find(passwords, name) != passwords.end();
}

std::string own_names() {
  std::string names;
  for (const auto group : read_always) {
    for (const auto& known : group()) {
      if (is_own_name(known.name)) names.append(names.empty() ? "" : ", ").append(known.name);
    }
  }
  return names;
}

void refuse_unknown_names(const variable_map& variables) {
  for (const auto& [name, value] : variables) {
    if (!is_own_name(name) || is_setting(name)) continue;
    throw config_error{sanitize(name, 100), "is no setting of soundhash-db", own_names()};
  }
}

/// The value of a variable; nullptr when it is absent or empty, which is the same.
const std::string* value_of(const variable_map& variables, std::string_view name) {
  const auto found = variables.find(std::string{name});
  return found == variables.end() || found->second.empty() ? nullptr : &found->second;
}

void read(std::span<const setting> known_ones, const variable_map& variables,
          database_options& into) {
  for (const auto& known : known_ones) {
    if (const auto* value = value_of(variables, known.name)) known.read(into, {known.name, *value});
  }
}

// --- where variables come from ---

/// The process environment, reduced to the names that concern this library.
variable_map process_environment() {
  variable_map variables;
  for (char** entry = environ; entry != nullptr && *entry != nullptr; ++entry) {
    const std::string_view pair = *entry;
    const auto name = pair.substr(0, pair.find('='));
    if (name.size() == pair.size() || !(is_setting(name) || is_own_name(name))) continue;
    variables.emplace(name, pair.substr(name.size() + 1));
  }
  return variables;
}

/// Lays `upper` over `lower`. An empty value is as good as none, but an empty password is one.
variable_map merged(const variable_map& upper, variable_map lower) {
  for (const auto& [name, value] : upper) {
    if (!value.empty() || is_password(name)) lower.insert_or_assign(name, value);
  }
  return lower;
}

/// By its look: a URL that the process environment replaces may well be malformed.
bool url_holds_password(std::string_view url) {
  const auto authority = url.find("://");
  const auto at = url.find('@');
  if (authority == std::string_view::npos) return false;
  return (at != std::string_view::npos && url.find(':', authority + 3) < at) ||
         url.find("password=") != std::string_view::npos;
}

bool holds_password(const variable_map& variables) {
  const auto* url = value_of(variables, url_variable);
  const auto given = [&](std::string_view name) { return value_of(variables, name) != nullptr; };
  return std::ranges::any_of(passwords, given) || (url != nullptr && url_holds_password(*url));
}

void warn_if_exposed(const dotenv_file& file, const std::filesystem::path& path) {
  if (!file.readable_by_others || !holds_password(file.variables)) return;
  logger()->warn(
      "{} holds a password and is readable by other users of this machine; "
      "make it private with chmod 600",
      sanitize(path.string()));
}

database_options from_file(const std::optional<dotenv_file>& file,
                           const std::filesystem::path& path) {
  auto variables = merged(process_environment(), file ? file->variables : variable_map{});
  auto options = database_options::from_variables(variables);
  if (file) warn_if_exposed(*file, path);
  return options;
}

// --- a URL ---

std::string joined(const std::vector<std::uint16_t>& ports) {
  std::string list;
  for (const auto each : ports) list.append(list.empty() ? "" : ",").append(amount(each));
  return list;
}

void use_ports(const std::vector<std::uint16_t>& ports, database_options& into) {
  if (ports.empty()) return;
  into.port = ports.front();
  const bool same = std::all_of(ports.begin(), ports.end(),
                                [&](std::uint16_t each) { return each == ports.front(); });
  if (!same) into.parameters["port"] = joined(ports);
}

void use_text(std::string& from, std::string& member) {
  if (from.empty()) return;
  if (has_control_character(from)) {
    throw config_error{url_variable, "has a control character in a part", text_form};
  }
  member = std::move(from);
}

void use_application_name(database_options& into) {
  const auto given = into.parameters.extract("application_name");
  if (!given) return;
  if (!is_application_name(given.mapped())) {
    throw config_error{url_variable, "has an application_name that is not accepted",
                       application_name_form};
  }
  into.application_name = given.mapped();
}

/// libpq's keyword, in seconds, counts only in its blocking connect, which is not used here.
void use_connect_timeout(database_options& into) {
  const auto given = into.parameters.extract("connect_timeout");
  if (!given) return;
  const auto longest = std::chrono::duration_cast<seconds>(pool_limits::connect_timeout.high);
  const auto value = whole_number(given.mapped());
  if (!value || *value < 1 || *value > longest.count()) {
    throw config_error{url_variable, "has a connect_timeout out of range",
                       "1 to " + amount(longest.count()) + " seconds"};
  }
  into.pool.connect_timeout = seconds{*value};
}

/// Texts are sent and read as UTF-8 whatever the URL says, so it may only say that.
void use_client_encoding(database_options& into) {
  const auto given = into.parameters.extract("client_encoding");
  if (!given) return;
  constexpr std::array<std::string_view, 4> accepted{"utf8", "UTF8", "utf-8", "UTF-8"};
  if (std::find(accepted.begin(), accepted.end(), given.mapped()) != accepted.end()) return;
  throw config_error{url_variable, "has another client_encoding than UTF8", "utf8"};
}

// --- checks of the members ---

/// Keywords that a member or the library itself sets: a second value would win over it unseen.
void require_parameter(const std::string& keyword, const std::string& value) {
  constexpr std::array<std::string_view, 7> taken{
      "host",           "dbname", "user", "password", "application_name", "connect_timeout",
      "client_encoding"};
  require_name("parameters", keyword);
  require_text("parameters", keyword, "libpq keywords that are no member of database_options",
               std::find(taken.begin(), taken.end(), keyword) == taken.end());
  require_no_nul("parameters." + sanitize(keyword, 64), value);
}

/// Poolers refuse the startup option, or ignore it: neither shall be found out at run time.
void require_no_startup_options(const database_options& all) {
  if (all.pooler == pooler_mode::none || all.parameters.count("options") == 0) return;
  throw config_error{"parameters.options", "cannot pass the pooler (SOUNDHASH_DB_POOLER)",
                     "none; give such settings to the role: ALTER ROLE … SET …"};
}

}  // namespace

database_options database_options::from_env() {
  const std::filesystem::path path = ".env";
  return from_file(read_dotenv(path), path);
}

database_options database_options::from_env(const std::filesystem::path& dotenv) {
  const auto file = read_dotenv(dotenv);
  if (!file) {
    throw config_error{sanitize(dotenv.string()), "does not exist", "the path of a .env file"};
  }
  return from_file(file, dotenv);
}

database_options database_options::from_variables(const variable_map& variables) {
  refuse_unknown_names(variables);
  const auto* url = value_of(variables, url_variable);
  auto options = url != nullptr ? from_url(*url) : database_options{};
  if (url == nullptr) read(connection_parts, variables, options);
  for (const auto group : read_always) read(group(), variables, options);
  return options;
}

database_options database_options::from_url(std::string_view url) {
  auto parts = parse_connection_url(url);
  database_options options;
  use_text(parts.host, options.host);
  use_text(parts.name, options.name);
  use_text(parts.user, options.user);
  options.password = secret{std::move(parts.password)};
  options.parameters = std::move(parts.parameters);
  use_ports(parts.ports, options);
  use_application_name(options);
  use_connect_timeout(options);
  use_client_encoding(options);
  return options;
}

void database_options::validate() const {
  require_name("host", host);
  require_within("port", port, port_bounds);
  require_name("name", name);
  require_text("user", user, text_form, !has_control_character(user));
  require_no_nul("password", password.reveal());
  for (const auto& [keyword, value] : parameters) require_parameter(keyword, value);
  require_no_startup_options(*this);
  require_text("schema", schema, schema_form, is_schema_name(schema));
  require_text("application_name", application_name, application_name_form,
               is_application_name(application_name));
  require_within("statement_timeout", statement_timeout, statement_timeout_bounds);
  require_within("slow_query", slow_query, slow_query_bounds);
  pool.validate();
  validate_cache(cache);
  if (std::find(interceptors.begin(), interceptors.end(), nullptr) != interceptors.end()) {
    throw config_error{"interceptors", "one of them is null", "pointers to interceptors"};
  }
}

}  // namespace soundhash::db
