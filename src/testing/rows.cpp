#include <memory>

#include <soundhash/db/core/error.hpp>
#include <soundhash/db/testing/rows.hpp>

namespace soundhash::db::testing {

rows::rows(std::initializer_list<std::string> column_names) {
  for (const auto& name : column_names) columns_.push_back({name, oid::unknown});
}

rows& rows::affected(std::uint64_t count) {
  affected_ = count;
  return *this;
}

void rows::begin_row(std::size_t values) const {
  if (values == columns_.size()) return;
  throw invalid_argument{"rows::add", std::to_string(values) + " values for " +
                                          std::to_string(columns_.size()) + " columns"};
}

void rows::put(std::uint32_t type, std::optional<std::string> cell) {
  columns_[cells_.size() % columns_.size()].type = type;
  cells_.push_back(std::move(cell));
}

result rows::build(std::string_view query_name) const {
  auto kept = std::make_unique<rows>(*this);
  std::vector<column_info> columns;
  for (const auto& column : kept->columns_) columns.push_back({column.name, column.type});
  std::vector<detail::cell> cells;
  for (const auto& cell : kept->cells_) {
    cells.push_back(cell ? detail::cell{cell->data(), static_cast<std::int32_t>(cell->size())}
                         : detail::cell{});
  }
  const auto row_count = columns.empty() ? 0 : cells.size() / columns.size();
  return {query_name, std::move(columns), std::move(cells), affected_.value_or(row_count),
          result::storage{kept.release(), [](void* object) { delete static_cast<rows*>(object); }}};
}

}  // namespace soundhash::db::testing
