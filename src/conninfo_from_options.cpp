#include "conninfo_from_options.hpp"

namespace soundhash::db {

driver::conninfo session_conninfo(const database_options& options) {
  driver::conninfo where;
  where.keywords = {
      {"host", options.host},
      {"port", std::to_string(options.port)},
      {"dbname", options.name},
      {"application_name", options.application_name},
      {"client_encoding", "UTF8"},
      // Find a vanished peer: without these a lost network is noticed after hours, or never.
      {"keepalives_idle", "30"},
      {"keepalives_interval", "10"},
      {"keepalives_count", "3"},
      {"tcp_user_timeout", "15000"},
  };
  if (!options.user.empty()) where.keywords["user"] = options.user;
  if (!options.password.empty()) where.keywords["password"] = options.password.reveal();
  for (const auto& [keyword, value] : options.parameters) where.keywords[keyword] = value;

  where.settings = {
      {"statement_timeout", std::to_string(options.statement_timeout.count())},
      // pg_catalog is searched first by itself; named here, CREATE TABLE would go there.
      {"search_path", options.schema + ", pg_temp"},
      // A session whose client gave up ends on the server too, also in the middle of a statement.
      {"client_connection_check_interval", "2000"},
  };
  where.pooled = options.pooler != pooler_mode::none;
  return where;
}

}  // namespace soundhash::db
