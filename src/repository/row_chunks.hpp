#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include <soundhash/db/exec/executor.hpp>

namespace soundhash::db {

/// How much one statement of a batch carries at most.
struct chunk_budget {
  std::size_t rows;
  std::size_t bytes;
};

/// The leading rows that fit the budget: at least one, when there is any. `size_of(row)` is the
/// row's weight in bytes.
template <class Row, class SizeOf>
std::size_t chunk_length(std::span<const Row> rows, const chunk_budget& budget, SizeOf&& size_of) {
  std::size_t weight = 0;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    weight += size_of(rows[i]);
    if (i == budget.rows || (i > 0 && weight > budget.bytes)) return i;
  }
  return rows.size();
}

/// Calls `use(chunk)` for consecutive chunks of `rows`.
template <class Row, class SizeOf, class Use>
void for_each_chunk(std::span<const Row> rows, const chunk_budget& budget, SizeOf&& size_of,
                    Use&& use) {
  while (!rows.empty()) {
    const auto length = chunk_length(rows, budget, size_of);
    use(rows.first(length));
    rows = rows.subspan(length);
  }
}

/// Inserts all rows or none and returns their ids in order. `insert(on, chunk, options)` gives the
/// ids of one chunk. A single chunk is one statement and needs no transaction of its own.
template <class Row, class SizeOf, class Insert>
std::vector<std::int32_t> insert_in_chunks(executor& on, std::span<const Row> rows,
                                           const chunk_budget& budget, SizeOf&& size_of,
                                           Insert&& insert, const call_options& options) {
  if (rows.empty()) return {};
  if (chunk_length(rows, budget, size_of) == rows.size()) return insert(on, rows, options);
  return on.atomically(
      [&](executor& inside) {
        std::vector<std::int32_t> ids;
        ids.reserve(rows.size());
        for_each_chunk(rows, budget, size_of, [&](std::span<const Row> chunk) {
          const auto made = insert(inside, chunk, options);
          ids.insert(ids.end(), made.begin(), made.end());
        });
        return ids;
      },
      options);
}

}  // namespace soundhash::db
