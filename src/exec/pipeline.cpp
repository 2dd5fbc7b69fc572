#include <soundhash/db/exec/pipeline.hpp>

namespace soundhash::db {

pipeline_step::~pipeline_step() = default;

void pipeline_step::require_answer() const {
  if (failure) std::rethrow_exception(failure);
  if (!answered) {
    throw invalid_argument{"query \"" + std::string{statement.name()} + "\"",
                           "its pipeline has not been executed"};
  }
}

pipeline::pipeline() = default;
pipeline::~pipeline() = default;
pipeline::pipeline(pipeline&&) noexcept = default;
pipeline& pipeline::operator=(pipeline&&) noexcept = default;

pipelined<std::uint64_t> pipeline::execute(const query& statement, params values) {
  return add<std::uint64_t>(
      statement, std::move(values),
      [](const result& rows, std::optional<std::uint64_t>& to) { to.emplace(rows.affected()); });
}

}  // namespace soundhash::db
