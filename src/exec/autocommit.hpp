#pragma once

#include <string_view>

#include <soundhash/db/core/function_ref.hpp>
#include <soundhash/db/exec/executor.hpp>

namespace soundhash::db {

class engine;

/// Runs a body that writes to `table` outside a transaction, and tells the engine's listener what
/// came of it. In strict mode the body runs in a transaction, since a change must be announced
/// before it is committed.
/// Throws: what the body throws.
void change_autocommitted(engine& shared, std::string_view table, const call_options& options,
                          function_ref<void(executor&, tag_set&)> body);

}  // namespace soundhash::db
