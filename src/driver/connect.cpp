#include "driver/connect.hpp"

#include <algorithm>
#include <cstddef>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <poll.h>

#include <soundhash/db/core/error.hpp>
#include <soundhash/db/core/sqlstate.hpp>

#include "core/resolve.hpp"
#include "driver/wait.hpp"

namespace soundhash::db::driver {
namespace {

struct endpoint {
  std::string host;     // for messages, Kerberos and certificate checks
  std::string address;  // numeric, or empty for a socket directory
  std::string port;
};

std::vector<std::string> split_list(const std::string& text) {
  std::vector<std::string> parts;
  for (std::size_t start = 0;;) {
    const auto comma = text.find(',', start);
    parts.push_back(text.substr(start, comma - start));
    if (comma == std::string::npos) return parts;
    start = comma + 1;
  }
}

bool is_socket_directory(const std::string& host) {
  return host.empty() || host.front() == '/' || host.front() == '@';
}

/// The n-th of `total` equal shares of what is left until the deadline.
deadline share_of(deadline until, std::size_t remaining_tries) {
  if (until.is_never()) return until;
  return deadline::in(until.remaining() /
                      static_cast<long>(std::max<std::size_t>(remaining_tries, 1)));
}

/// Session settings as the startup packet's `options`: spaces and backslashes are escaped.
std::string startup_options(const conninfo& where) {
  std::string text;
  for (const auto& [name, value] : where.settings) {
    text.append(text.empty() ? "-c " : " -c ").append(name).push_back('=');
    for (const char c : value) {
      if (c == ' ' || c == '\\') text.push_back('\\');
      text.push_back(c);
    }
  }
  return text;
}

/// The SQLSTATE inside a verbose message, "FATAL:  28P01: password …": libpq 15 offers no other way
/// to learn it when a connect fails. Empty when the message is libpq's own.
std::string_view sqlstate_in(std::string_view message) {
  const auto is_code = [](std::string_view code) {
    return std::all_of(code.begin(), code.end(),
                       [](char c) { return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z'); });
  };
  for (auto at = message.find(":  "); at != std::string_view::npos;
       at = message.find(":  ", at + 1)) {
    const auto code = message.substr(at + 3, 5);
    if (code.size() == 5 && message.substr(at + 8, 2) == ": " && is_code(code)) return code;
  }
  return {};
}

/// First lines of libpq's message, without DETAIL and LOCATION, on one line.
std::string readable(std::string_view message) {
  if (const auto location = message.find("\nLOCATION:"); location != std::string_view::npos) {
    message = message.substr(0, location);
  }
  while (!message.empty() && message.back() == '\n') message.remove_suffix(1);
  std::string line;
  for (const char c : message) {
    if (c == '\n') {
      line.append(" ");
    } else if (c != '\t') {
      line.push_back(c);
    }
  }
  return sanitize(line, 500);
}

/// A pooler has one SQLSTATE for all that it says itself.
/// Source: PgBouncer 1.18, the texts of disconnect_client() in src/client.c and src/objects.c.
errc code_of_pooler(std::string_view message) {
  const auto says = [message](std::string_view words) {
    return message.find(words) != std::string_view::npos;
  };
  if (says("unsupported startup parameter")) return errc::refused_behind_pooler;
  if (says("authentication failed") || says("no such user")) return errc::authentication;
  if (says("no such database") || says("does not exist")) return errc::configuration;
  if (says("no more connections allowed")) return errc::too_many_connections;
  if (says("SSL required")) return errc::tls;
  return errc::not_ready;  // it cannot reach the server, or had no free session in time
}

errc code_of_state(std::string_view state, std::string_view message) {
  if (state.starts_with("28")) return errc::authentication;
  if (state == sqlstate::cannot_connect_now || state == sqlstate::admin_shutdown) {
    return errc::not_ready;
  }
  if (state == sqlstate::too_many_connections) return errc::too_many_connections;
  if (state == sqlstate::protocol_violation) return code_of_pooler(message);
  return errc::configuration;
}

errc classify(PGconn* handle, std::string_view message) {
  if (const auto state = sqlstate_in(message); !state.empty()) return code_of_state(state, message);
  if (PQconnectionNeedsPassword(handle) != 0) return errc::authentication;
  for (const std::string_view word : {"SSL", "certificate", "GSSAPI"}) {
    if (message.find(word) != std::string_view::npos) return errc::tls;
  }
  if (PQsocket(handle) < 0 && message.find("invalid") != std::string_view::npos) {
    return errc::configuration;
  }
  return errc::refused;
}

bool passes_by_itself(errc code) {
  return code == errc::refused || code == errc::not_ready || code == errc::too_many_connections ||
         code == errc::connect_timeout || code == errc::name_resolution;
}

std::string_view advice(errc code) {
  switch (code) {
    case errc::authentication:
      return "; check DATABASE_USER, DATABASE_PASSWORD and the server's pg_hba.conf";
    case errc::configuration:
      return "; check DATABASE_NAME and the connection options";
    case errc::tls:
      return "; check sslmode and the certificates";
    case errc::too_many_connections:
      return "; lower DATABASE_POOL_SIZE and DATABASE_MAX_OVERFLOW or raise max_connections";
    case errc::refused_behind_pooler:
      return "; behind a pooler such as PgBouncer set SOUNDHASH_DB_POOLER=transaction, and no "
             "options in DATABASE_URL or PGOPTIONS";
    default:
      return "; check DATABASE_HOST, DATABASE_PORT and that the server runs";
  }
}

[[noreturn]] void throw_connect_error(const conninfo& where, const endpoint& at, errc code,
                                      std::string_view state, const std::string& why) {
  std::string text = "cannot connect to ";
  text.append(at.host.empty() ? "local socket" : sanitize(at.host, 255))
      .append(":")
      .append(at.port);
  text.append(" as \"").append(sanitize(where.get("user"), 63)).append("\" to database \"");
  text.append(sanitize(where.get("dbname"), 63)).append("\": ").append(why).append(advice(code));
  throw connection_error{text,
                         {.code = code,
                          .retryable = passes_by_itself(code),
                          .connection_usable = false,
                          .sqlstate = std::string{state}}};
}

class keyword_array {
 public:
  explicit keyword_array(const conninfo& where, const endpoint& at) : values_{where.keywords} {
    values_["host"] = at.host;
    values_["port"] = at.port;
    if (!at.address.empty()) values_["hostaddr"] = at.address;
    if (const auto options = startup_options(where); !options.empty() && !where.pooled) {
      auto& own = values_["options"];
      own.append(own.empty() ? "" : " ").append(options);
    }
    for (const auto& [name, value] : values_) {
      names_c_.push_back(name.c_str());
      values_c_.push_back(value.c_str());
    }
    names_c_.push_back(nullptr);
    values_c_.push_back(nullptr);
  }
  [[nodiscard]] handle start() const {
    return handle{PQconnectStartParams(names_c_.data(), values_c_.data(), 0)};
  }

 private:
  std::map<std::string, std::string> values_;
  std::vector<const char*> names_c_;
  std::vector<const char*> values_c_;
};

void ignore_notice(void*, const PGresult*) {}

handle connect_one(const conninfo& where, const endpoint& at, deadline until) {
  const keyword_array keywords{where, at};
  auto session = keywords.start();
  if (!session) throw std::bad_alloc{};
  PQsetErrorVerbosity(session.get(), PQERRORS_VERBOSE);
  PQsetNoticeReceiver(session.get(), ignore_notice, nullptr);
  const stop_signal no_stop{{}};
  auto step =
      PQstatus(session.get()) == CONNECTION_BAD ? PGRES_POLLING_FAILED : PGRES_POLLING_WRITING;
  while (step == PGRES_POLLING_READING || step == PGRES_POLLING_WRITING) {
    const short events = step == PGRES_POLLING_READING ? POLLIN : POLLOUT;
    if (wait_for(PQsocket(session.get()), events, until, no_stop) == wake::timed_out) {
      throw_connect_error(where, at, errc::connect_timeout, {},
                          "the server did not answer in time");
    }
    step = PQconnectPoll(session.get());
  }
  if (step == PGRES_POLLING_FAILED) {
    const std::string_view message = PQerrorMessage(session.get());
    throw_connect_error(where, at, classify(session.get(), message), sqlstate_in(message),
                        readable(message));
  }
  PQsetErrorVerbosity(session.get(), PQERRORS_DEFAULT);
  PQsetnonblocking(session.get(), 1);
  return session;
}

std::vector<endpoint> endpoints_of(const conninfo& where, std::size_t host_index, deadline until) {
  const auto hosts = split_list(where.get("host"));
  const auto ports = split_list(where.get("port"));
  const auto& host = hosts[host_index];
  auto port = ports.size() == 1 ? ports.front() : ports[std::min(host_index, ports.size() - 1)];
  if (port.empty()) port = "5432";
  if (is_socket_directory(host)) return {{host, {}, port}};
  if (const auto given = where.get("hostaddr"); !given.empty()) {
    const auto addresses = split_list(given);
    return {{host, addresses[std::min(host_index, addresses.size() - 1)], port}};
  }
  std::vector<endpoint> found;
  for (auto& address : resolve(host, until)) found.push_back({host, std::move(address), port});
  return found;
}

/// The failure of the last host, with those of the hosts before it.
[[noreturn]] void throw_last(const connection_error& failure, const std::string& before) {
  throw connection_error{std::string{failure.what()} + "; tried before: " + before,
                         {.code = failure.code(),
                          .retryable = failure.retryable(),
                          .connection_usable = false,
                          .sqlstate = std::string{failure.sqlstate()}}};
}

/// A wrong password stays wrong on the next address; a refused connection may not.
bool try_next_address(const connection_error& failure) {
  return failure.retryable();
}

/// Tries the addresses of one host, each with its share of the time.
handle connect_host(const conninfo& where, std::size_t host_index, deadline until) {
  const auto candidates = endpoints_of(where, host_index, until);
  for (std::size_t i = 0;; ++i) {
    try {
      return connect_one(where, candidates[i], share_of(until, candidates.size() - i));
    } catch (const connection_error& failure) {
      if (i + 1 == candidates.size() || !try_next_address(failure)) throw;
    }
  }
}

}  // namespace

handle connect(const conninfo& where, deadline until) {
  const auto hosts = split_list(where.get("host"));
  std::string failed;
  for (std::size_t h = 0; h < hosts.size(); ++h) {
    try {
      return connect_host(where, h, share_of(until, hosts.size() - h));
    } catch (const connection_error& failure) {
      if (h + 1 == hosts.size() && failed.empty()) throw;
      if (h + 1 == hosts.size()) throw_last(failure, failed);
      failed.append(failed.empty() ? "" : ", ").append(sanitize(hosts[h], 255));
      failed.append(" (").append(to_string(failure.code())).append(")");
    }
  }
  throw_connect_error(where, {}, errc::configuration, {}, "no host is configured");
}

}  // namespace soundhash::db::driver
