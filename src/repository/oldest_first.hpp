#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <tuple>

#include <soundhash/db/core/page.hpp>
#include <soundhash/db/core/param.hpp>
#include <soundhash/db/core/timestamp.hpp>

#include "repository/list_cursor.hpp"

// Lists by (created_at, id), at whose end are the rows without a created_at.

/// The page after the row with the keys $2, $3, of at most $1 rows; `t` is "t." or "". The rows
/// without a created_at are read only when the others do not fill it. Their order names created_at
/// too, so that the index on it serves both parts: by id alone, the planner would walk the table
/// from the lowest id on.
#define SOUNDHASH_DB_OLDEST_FIRST_PAGE(select, t, which)                           \
  "WITH dated AS MATERIALIZED (" select "WHERE " which " AND (" t "created_at, " t \
  "id) > ($2::timestamp, $3) ORDER BY " t "created_at, " t                         \
  "id LIMIT $1) SELECT * FROM dated UNION ALL (" select "WHERE " which " AND " t   \
  "created_at IS NULL AND ($2::timestamp IS NOT NULL OR " t                        \
  "id > $3) AND (SELECT count(*) FROM dated) < $1 ORDER BY " t "created_at, " t    \
  "id LIMIT $1) ORDER BY created_at, id LIMIT $1"

namespace soundhash::db {

/// Its first three parameters; the beginning is before the earliest that a timestamp can be.
inline params oldest_first_params(const list_scope& list, const cursor& after, int limit) {
  constexpr timestamp earliest = std::chrono::sys_days{std::chrono::year{1} / 1 / 1};
  const auto from = list.open<std::optional<timestamp>, std::int32_t>(after);
  const auto [created_at, id] = from.value_or(std::tuple{std::optional{earliest}, 0});
  return {limit, created_at, id};
}

}  // namespace soundhash::db
