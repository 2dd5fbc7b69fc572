#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace soundhash::db {

/// The parts of a connection URL, percent-decoded; an absent part is empty. `host`, `port`,
/// `dbname`, `user` and `password` of the query part stand in their members and win over the same
/// part before it, as in libpq.
struct connection_url {
  std::string host;  ///< several are separated by commas; an IPv6 address has no brackets
  /// One for all hosts or one for each; empty: absent.
  std::vector<std::uint16_t> ports;
  std::string name;
  std::string user;
  std::string password;
  std::map<std::string, std::string> parameters;  ///< the rest of the query part
};

/// Parses "postgresql://user:password@host:port/name?key=value&…" (RFC 3986 as libpq reads it; "+"
/// is a plus sign everywhere), with the scheme postgresql, postgres, postgresql+psycopg2 or
/// postgresql+psycopg.
/// Throws: config_error for DATABASE_URL; no text of the URL is repeated, since a character that
/// was not percent-encoded can move a piece of the password anywhere.
[[nodiscard]] connection_url parse_connection_url(std::string_view url);

}  // namespace soundhash::db
