#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <soundhash/db/exec/executor.hpp>

namespace soundhash::db {
namespace {

/// A copy whose cells and names are its own.
result copy_of(const result& rows) {
  auto text = std::make_unique<std::string>();
  std::size_t size = 0;
  for (const auto& column : rows.columns()) size += column.name.size();
  for (std::size_t r = 0; r < rows.size(); ++r) {
    for (std::size_t c = 0; c < rows.columns().size(); ++c) size += rows[r][c].bytes().size();
  }
  text->reserve(size);  // so that nothing moves
  const auto keep = [&](std::string_view part) {
    const auto* const start = text->data() + text->size();
    text->append(part);
    return start;
  };
  std::vector<column_info> columns;
  for (const auto& column : rows.columns()) {
    columns.push_back({{keep(column.name), column.name.size()}, column.type});
  }
  std::vector<detail::cell> cells;
  for (std::size_t r = 0; r < rows.size(); ++r) {
    for (std::size_t c = 0; c < columns.size(); ++c) {
      const auto field = rows[r][c];
      const auto bytes = field.bytes();
      cells.push_back(
          {keep(bytes), field.is_null() ? -1 : static_cast<std::int32_t>(bytes.size())});
    }
  }
  return {
      rows.query_name(), std::move(columns), std::move(cells), rows.affected(),
      result::storage{text.release(), [](void* kept) { delete static_cast<std::string*>(kept); }}};
}

class kept_rows final : public row_source {
 public:
  explicit kept_rows(result rows) : rows_{std::move(rows)}, left_{!rows_.empty()} {}
  const result* next() override { return std::exchange(left_, false) ? &rows_ : nullptr; }
  void refuse(const error&) noexcept override {}

 private:
  result rows_;
  bool left_;
};

}  // namespace

executor::~executor() = default;
row_source::~row_source() = default;

std::uint64_t executor::execute(const query& statement, const params& values,
                                const call_options& options) {
  std::uint64_t touched = 0;
  run(statement, values, options, [&](const result& rows) { touched = rows.affected(); });
  return touched;
}

std::unique_ptr<row_source> executor::open_checked_stream(const query& statement,
                                                          const params& values,
                                                          const call_options& options) {
  if (statement.access() != access::read_only) {
    throw invalid_argument{"query \"" + std::string{statement.name()} + "\"",
                           "only a statement that is declared access::read_only can be streamed"};
  }
  return open_stream(statement, values, options);
}

std::unique_ptr<row_source> executor::open_stream(const query& statement, const params& values,
                                                  const call_options& options) {
  std::unique_ptr<row_source> kept;
  run(statement, values, options,
      [&](const result& rows) { kept = std::make_unique<kept_rows>(copy_of(rows)); });
  return kept;
}

void executor::execute(pipeline& batch, const call_options& options) {
  for (const auto& step : batch.steps_) {
    step->failure = {};
    step->answered = false;
  }
  run_pipeline(batch.steps_, options);
}

void executor::run_pipeline(std::span<const std::shared_ptr<pipeline_step>> steps,
                            const call_options& options) {
  for (const auto& step : steps) {
    try {
      run(step->statement, step->values, options, [&](const result& rows) { step->read(rows); });
    } catch (const error&) {
      step->failure = std::current_exception();
    }
    step->answered = true;
  }
}

void executor::run_cached(const query& statement, const params& values, const call_options& options,
                          const cached&, read_sink& into) {
  run(statement, values, options, [&](const result& rows) { into.read(rows); });
}

void executor::run_changing(std::string_view, const call_options&,
                            function_ref<void(executor&, tag_set&)> body) {
  tag_set nobody_asks{tag_set::mode::ignore};
  body(*this, nobody_asks);
}

}  // namespace soundhash::db
