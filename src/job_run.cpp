#include <string>
#include <utility>

#include <soundhash/db/core/error.hpp>
#include <soundhash/db/job_run.hpp>
#include <soundhash/db/repository/job_repository.hpp>

namespace soundhash::db {

job_unrecoverable::~job_unrecoverable() = default;

job_run::job_run(leased_job claimed, executor& on, std::stop_source stop)
    : claimed_{std::move(claimed)}, on_{&on}, stop_{std::move(stop)} {}

bool job_run::set_progress(double progress, std::string_view step, const call_options& options) {
  if (job_repository{*on_}.set_progress(lease(), progress, step, options)) return true;
  stop_.request_stop();
  return false;
}

void job_run::complete(executor& inside, const call_options& options) {
  completed_ = !job_repository{inside}.complete({lease()}, options).empty();
  if (completed_) return;
  stop_.request_stop();
  throw cancelled{"job " + std::to_string(job().id) +
                      " is not held any more: its lease was lost, or it was cancelled",
                  {.code = errc::cancelled, .sent = sent::yes}};
}

}  // namespace soundhash::db
