#include "driver/pg_result.hpp"

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>
#include <utility>
#include <vector>

namespace soundhash::db::driver {
namespace {

std::uint64_t affected_rows(PGresult* rows) {
  const char* text = PQcmdTuples(rows);
  return text == nullptr ? 0 : std::strtoull(text, nullptr, 10);
}

void fill(const PGresult* rows, std::span<detail::cell> cells) {
  const int width = PQnfields(rows);
  const int height = PQntuples(rows);
  auto cell = cells.begin();
  for (int row = 0; row < height; ++row) {
    for (int column = 0; column < width; ++column, ++cell) {
      const int size = PQgetlength(rows, row, column);
      const bool null = size == 0 && PQgetisnull(rows, row, column) != 0;
      *cell = {PQgetvalue(rows, row, column), null ? -1 : size};
    }
  }
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
  std::vector<detail::cell> cells(width * height);
  fill(rows.get(), cells);
  const auto touched = affected_rows(rows.get());
  return {
      name, std::move(columns), std::move(cells), touched,
      result::storage{rows.release(), [](void* kept) { PQclear(static_cast<PGresult*>(kept)); }}};
}

result columns_of(std::string_view name, const PGresult* rows) {
  return to_result(name, pg_result{PQcopyResult(rows, PG_COPYRES_ATTRS)});
}

void point_to(const PGresult* rows, result& into) {
  fill(rows, into.refill(static_cast<std::size_t>(PQntuples(rows))));
}

}  // namespace soundhash::db::driver
