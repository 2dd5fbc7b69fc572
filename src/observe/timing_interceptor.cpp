#include "observe/timing_interceptor.hpp"

namespace soundhash::db {

void timing_interceptor::on_finish(const statement_event& event) {
  registry_->record(event);
}

}  // namespace soundhash::db
