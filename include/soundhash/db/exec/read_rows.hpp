#pragma once

#include <cstddef>
#include <optional>
#include <vector>

#include <soundhash/db/core/error.hpp>
#include <soundhash/db/core/result.hpp>
#include <soundhash/db/core/row_traits.hpp>

namespace soundhash::db::detail {

/// How `one`, `maybe` and `all` read a result. Throws: decode_error, cardinality_error.
template <class T>
void read_one(const result& rows, std::optional<T>& found) {
  if (rows.size() != 1) throw cardinality_error{rows.query_name(), rows.size()};
  found.emplace(row_reader<T>{rows}(0));
}

template <class T>
void read_maybe(const result& rows, std::optional<T>& found) {
  if (rows.size() > 1) throw cardinality_error{rows.query_name(), rows.size()};
  found.reset();
  if (!rows.empty()) found.emplace(row_reader<T>{rows}(0));
}

template <class T>
void read_all(const result& rows, std::vector<T>& found) {
  const row_reader<T> read{rows};
  found.clear();
  found.reserve(rows.size());
  for (std::size_t i = 0; i < rows.size(); ++i) found.push_back(read(i));
}

}  // namespace soundhash::db::detail
