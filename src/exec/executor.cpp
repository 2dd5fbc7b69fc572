#include <soundhash/db/exec/executor.hpp>

namespace soundhash::db {

executor::~executor() = default;

std::uint64_t executor::execute(const query& statement, const params& values,
                                const call_options& options) {
  std::uint64_t touched = 0;
  run(statement, values, options, [&](const result& rows) { touched = rows.affected(); });
  return touched;
}

}  // namespace soundhash::db
