#pragma once

#include <chrono>
#include <map>
#include <string>
#include <vector>

namespace soundhash::db::driver {

/// libpq's connection keywords as a key/value array: no string ever holds a password beside others.
struct conninfo {
  std::map<std::string, std::string> keywords;  ///< host, port, dbname, user, password, sslmode, …
  /// Session settings sent in the startup packet: statement_timeout, search_path, …
  std::map<std::string, std::string> settings;
  /// A pooler is in between that may give each transaction another session. The settings go ahead
  /// of each transaction then, local to it, and statements have no names on the server.
  bool pooled = false;

  /// "host:port" for messages; several hosts as given.
  [[nodiscard]] std::string endpoint() const;
  [[nodiscard]] std::string get(const std::string& keyword) const;
};

}  // namespace soundhash::db::driver
