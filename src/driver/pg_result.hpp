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
/// A result without rows that has the columns of this one.
result columns_of(std::string_view name, const PGresult* rows);
/// Lets the cells of a result with the same columns point into these rows.
void point_to(const PGresult* rows, result& into);

}  // namespace soundhash::db::driver
