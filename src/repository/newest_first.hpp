#pragma once

#include <cstdint>
#include <optional>

#include <soundhash/db/core/page.hpp>
#include <soundhash/db/core/param.hpp>
#include <soundhash/db/core/query.hpp>
#include <soundhash/db/core/timestamp.hpp>

#include "repository/list_cursor.hpp"

namespace soundhash::db {

/// The queries of a list by (time, id), the newest first, before which are the rows without a time:
/// DESC puts NULLs first, which is an index with NULLs last read backwards.
struct newest_first {
  const query& first;
  const query& after_date;     ///< its last parameters are time and id of a row
  const query& after_undated;  ///< its last parameter is the id of a row without a time

  /// The one that goes on after `place`, whose keys are added to `values`.
  [[nodiscard]] const query& at(const list_scope& list, const cursor& place, params& values) const {
    const auto from = list.open<std::optional<timestamp>, std::int32_t>(place);
    if (!from) return first;
    const auto& [time, id] = *from;
    if (time) values.append(*time);
    values.append(id);
    return time ? after_date : after_undated;
  }
};

}  // namespace soundhash::db
