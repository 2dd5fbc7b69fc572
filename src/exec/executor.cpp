#include <soundhash/db/exec/executor.hpp>

namespace soundhash::db {

executor::~executor() = default;

std::uint64_t executor::execute(const query& statement, const params& values,
                                const call_options& options) {
  std::uint64_t touched = 0;
  run(statement, values, options, [&](const result& rows) { touched = rows.affected(); });
  return touched;
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
