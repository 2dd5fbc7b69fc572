#include <utility>

#include <soundhash/db/core/error.hpp>
#include <soundhash/db/core/result.hpp>
#include <soundhash/db/core/row_traits.hpp>

namespace soundhash::db {

result::result(std::string_view query_name, std::vector<column_info> columns,
               std::vector<detail::cell> cells, std::uint64_t affected, storage keep)
    : query_name_{query_name},
      columns_{std::move(columns)},
      cells_{std::move(cells)},
      affected_{affected},
      keep_{std::move(keep)} {}

result::result() : keep_{nullptr, [](void*) {}} {}
result::result(result&&) noexcept = default;
result& result::operator=(result&&) noexcept = default;
result::~result() = default;

std::optional<std::size_t> result::index_of(std::string_view column) const noexcept {
  for (std::size_t i = 0; i < columns_.size(); ++i) {
    if (columns_[i].name == column) return i;
  }
  return std::nullopt;
}

namespace detail {
namespace {

bool is_concatenation(std::string_view whole, std::string_view prefix, std::string_view name) {
  return whole.size() == prefix.size() + name.size() && whole.starts_with(prefix) &&
         whole.ends_with(name);
}

}  // namespace

void throw_decode_error(std::string_view query_name, const column_info& column,
                        std::string_view cpp_type, std::string_view problem) {
  throw decode_error{query_name, column.name, sql_type_name(column.type), cpp_type, problem};
}

std::size_t find_column(const result& rows, std::string_view prefix, std::string_view name,
                        std::size_t hint, std::string_view cpp_type) {
  const auto& columns = rows.columns();
  if (hint < columns.size() && is_concatenation(columns[hint].name, prefix, name)) return hint;
  for (std::size_t i = 0; i < columns.size(); ++i) {
    if (is_concatenation(columns[i].name, prefix, name)) return i;
  }
  throw decode_error{rows.query_name(), std::string{prefix}.append(name), "absent", cpp_type,
                     "the result has no such column; add it to the SELECT list"};
}

}  // namespace detail
}  // namespace soundhash::db
