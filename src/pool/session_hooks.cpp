#include <soundhash/db/pool/session_hooks.hpp>

#include "driver/connection.hpp"

namespace soundhash::db {

void hooked_session::execute(const query& statement, const params& values) {
  session_.run({.name = statement.name(),
                .sql = statement.sql(),
                .values = &values,
                .access = statement.access(),
                .until = until_});
}

int hooked_session::backend_pid() const noexcept {
  return session_.backend_pid();
}

std::string hooked_session::parameter(const std::string& name) const {
  return session_.parameter(name.c_str());
}

}  // namespace soundhash::db
