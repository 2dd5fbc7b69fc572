#pragma once

#include <memory>
#include <string_view>

#include <libpq-fe.h>

#include <soundhash/db/core/result.hpp>

namespace soundhash::db::driver {

struct clear_result {
  void operator()(PGresult* rows) const noexcept { PQclear(rows); }
};
using pg_result = std::unique_ptr<PGresult, clear_result>;

/// Takes over a PGresult: the cells of the result point into its memory.
result to_result(std::string_view name, pg_result rows);

}  // namespace soundhash::db::driver
