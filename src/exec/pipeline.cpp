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

}  // namespace soundhash::db
