#pragma once

#include <soundhash/db/observe/interceptor.hpp>

namespace soundhash::db {

/// Logs every statement at level info: name, time, rows or SQLSTATE, and SQL; never a value.
/// Making one lowers the level of the default logger to info, so that the lines are seen; a logger
/// of the application keeps its own level.
/// Thread safety: safe for concurrent use.
class echo_log final : public interceptor {
 public:
  echo_log();

  void on_finish(const statement_event& event) override;
};

}  // namespace soundhash::db
