#pragma once

#include <span>

#include <soundhash/db/core/deadline.hpp>
#include <soundhash/db/exec/pipeline.hpp>

namespace soundhash::db {

class engine;

/// Sends these steps together on one connection, outside a transaction, and sets the answer or
/// failure of each.
/// Throws: as engine::run, when none was sent.
void run_together(engine& on, std::span<pipeline_step* const> steps, const call_options& options);

}  // namespace soundhash::db
