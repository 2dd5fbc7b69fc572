#include "driver/pg_result.hpp"

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <utility>
#include <vector>

namespace soundhash::db::driver {
namespace {

std::uint64_t affected_rows(PGresult* rows) {
  const char* text = PQcmdTuples(rows);
  return text == nullptr ? 0 : std::strtoull(text, nullptr, 10);
}

}  // namespace

result to_result(std::string_view name, pg_result rows) {
  const auto width = static_cast<std::size_t>(PQnfields(rows.get()));
  const auto height = static_cast<std::size_t>(PQntuples(rows.get()));
  std::vector<column_info> columns(width);
  for (std::size_t c = 0; c < width; ++c) {
    const int at = static_cast<int>(c);
    columns[c] = {PQfname(rows.get(), at), PQftype(rows.get(), at)};
  }
  std::vector<detail::cell> cells;
  cells.reserve(width * height);
  for (std::size_t r = 0; r < height; ++r) {
    for (std::size_t c = 0; c < width; ++c) {
      const int row = static_cast<int>(r);
      const int column = static_cast<int>(c);
      const bool null = PQgetisnull(rows.get(), row, column) != 0;
      cells.push_back(
          {PQgetvalue(rows.get(), row, column), null ? -1 : PQgetlength(rows.get(), row, column)});
    }
  }
  const auto touched = affected_rows(rows.get());
  return {
      name, std::move(columns), std::move(cells), touched,
      result::storage{rows.release(), [](void* kept) { PQclear(static_cast<PGresult*>(kept)); }}};
}

}  // namespace soundhash::db::driver
