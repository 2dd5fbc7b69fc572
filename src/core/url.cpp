#include "core/url.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <utility>

#include <soundhash/db/core/error.hpp>

namespace soundhash::db {
namespace {

constexpr std::array<std::string_view, 4> schemes{
    "postgresql://", "postgres://", "postgresql+psycopg2://", "postgresql+psycopg://"};
constexpr std::uint16_t default_port = 5432;

[[noreturn]] void refuse(std::string_view problem) {
  throw config_error{"DATABASE_URL", problem,
                     "postgresql://user:password@host:port/name?sslmode=require, with reserved "
                     "characters of each part percent-encoded (@ is %40, / is %2F, % is %25)"};
}

/// The text before the first `separator` and the text after it; all of it and "" without one.
std::pair<std::string_view, std::string_view> split(std::string_view text,
                                                    std::string_view separators) {
  const auto at = text.find_first_of(separators);
  if (at == std::string_view::npos) return {text, {}};
  return {text.substr(0, at), text.substr(at + 1)};
}

/// Calls `visit` with each element of a list separated by commas.
template <class F>
void for_each_element(std::string_view list, F visit) {
  for (std::size_t at = 0; at <= list.size();) {
    const auto end = std::min(list.find(',', at), list.size());
    visit(list.substr(at, end - at));
    at = end + 1;
  }
}

/// The byte of two hexadecimal digits; 0 when they are none, since no NUL is accepted anyway.
unsigned char hexadecimal(std::string_view digits) {
  unsigned char byte = 0;
  const auto* end = digits.data() + digits.size();
  const auto [stop, failure] = std::from_chars(digits.data(), end, byte, 16);
  return failure == std::errc{} && stop == end && digits.size() == 2 ? byte : 0;
}

std::string decoded(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      out.push_back(text[i]);
      continue;
    }
    const auto byte = hexadecimal(text.substr(i + 1, 2));
    if (byte == 0) refuse("has a % that is not followed by two hexadecimal digits other than 00");
    out.push_back(static_cast<char>(byte));
    i += 2;
  }
  return out;
}

std::uint16_t port_of(std::string_view text) {
  std::uint16_t port = 0;
  const auto* end = text.data() + text.size();
  const auto [stop, failure] = std::from_chars(text.data(), end, port);
  if (failure != std::errc{} || stop != end || port == 0) {
    refuse("has a port that is not a number from 1 to 65535 (an IPv6 address needs brackets)");
  }
  return port;
}

std::string_view without_scheme(std::string_view url) {
  for (const auto scheme : schemes) {
    if (url.substr(0, scheme.size()) == scheme) return url.substr(scheme.size());
  }
  refuse(
      "does not begin with postgresql://, postgres://, postgresql+psycopg2:// or "
      "postgresql+psycopg://");
}

/// "[address]" and what follows it, or "name" and ":port".
std::pair<std::string_view, std::string_view> host_and_rest(std::string_view text) {
  if (text.substr(0, 1) != "[") {
    const auto end = std::min(text.find(':'), text.size());
    return {text.substr(0, end), text.substr(end)};
  }
  const auto end = text.find(']');
  if (end == std::string_view::npos) refuse("has a [ without its ]");
  return {text.substr(1, end - 1), text.substr(end + 1)};
}

void read_host(std::string_view text, connection_url& url) {
  const auto [host, rest] = host_and_rest(text);
  if (host.empty()) refuse("has a port or a comma without a host");
  if (!rest.empty() && rest.front() != ':') refuse("has text between its ] and its port");
  url.host.append(url.host.empty() ? "" : ",").append(decoded(host));
  url.ports.push_back(rest.size() > 1 ? port_of(rest.substr(1)) : default_port);
}

void read_ports(std::string_view list, connection_url& url) {
  url.ports.clear();
  for_each_element(list, [&](std::string_view port) { url.ports.push_back(port_of(port)); });
}

void read_authority(std::string_view text, connection_url& url) {
  const auto at = text.find('@');
  if (at != std::string_view::npos) {
    const auto [user, password] = split(text.substr(0, at), ":");
    url.user = decoded(user);
    url.password = decoded(password);
    text.remove_prefix(at + 1);
  }
  if (text.empty()) return;
  for_each_element(text, [&](std::string_view host) { read_host(host, url); });
}

bool is_keyword(std::string_view text) {
  constexpr std::string_view letters = "abcdefghijklmnopqrstuvwxyz_";
  return !text.empty() && text.find_first_not_of(letters) == std::string_view::npos;
}

void read_parameter(std::string_view text, connection_url& url) {
  const auto [key, value] = split(text, "=");
  if (!is_keyword(key) || key.size() == text.size()) {
    refuse("has a parameter that is not of the form keyword=value");
  }
  if (!url.parameters.emplace(key, decoded(value)).second) refuse("has a parameter twice");
}

/// Moves a parameter that is a member of its own there.
void move_parameter(connection_url& url, const std::string& key, std::string& member) {
  if (auto node = url.parameters.extract(key)) member = std::move(node.mapped());
}

void read_query(std::string_view text, connection_url& url) {
  while (!text.empty()) {
    const auto [parameter, rest] = split(text, "&");
    read_parameter(parameter, url);
    text = rest;
  }
  move_parameter(url, "host", url.host);
  move_parameter(url, "dbname", url.name);
  move_parameter(url, "user", url.user);
  move_parameter(url, "password", url.password);
  if (const auto node = url.parameters.extract("port")) read_ports(node.mapped(), url);
}

void refuse_unencoded(std::string_view url) {
  const auto unprintable = [](unsigned char c) { return c <= 0x20 || c == 0x7F; };
  if (std::any_of(url.begin(), url.end(), unprintable)) {
    refuse("has a space or a control character");
  }
}

/// libpq: one port is for all hosts, several are one for each.
void refuse_uneven_ports(const connection_url& url) {
  const auto hosts =
      static_cast<std::size_t>(std::count(url.host.begin(), url.host.end(), ',')) + 1;
  if (url.ports.size() > 1 && url.ports.size() != hosts) refuse("has other ports than hosts");
}

}  // namespace

connection_url parse_connection_url(std::string_view url) {
  const auto rest = without_scheme(url);
  refuse_unencoded(rest);
  const auto authority = rest.substr(0, rest.find_first_of("/?"));
  const auto [path, query] = split(rest.substr(authority.size()), "?");
  // A password with an unencoded "/" or "@" would otherwise be taken for other parts in silence.
  const auto at = rest.find('@');
  if (at != std::string_view::npos &&
      (at > authority.size() || rest.find('@', at + 1) != rest.npos)) {
    refuse("has an @ that does not end the user and password");
  }
  if (path.rfind('/') != path.find('/')) refuse("has a / in its database name");
  connection_url out;
  read_authority(authority, out);
  if (!path.empty()) out.name = decoded(path.substr(1));
  read_query(query, out);
  refuse_uneven_ports(out);
  return out;
}

}  // namespace soundhash::db
