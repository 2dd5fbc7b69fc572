#pragma once

#include <functional>
#include <memory>

#include <soundhash/db/core/deadline.hpp>
#include <soundhash/db/database_options.hpp>

#include "core/tag_listener.hpp"
#include "driver/connection.hpp"
#include "exec/engine.hpp"

namespace soundhash::db {

/// Who looks on besides what the options name.
struct engine_observers {
  std::shared_ptr<tag_listener> listener{};
  /// Called with each new session that is suitable, on a thread of the pool.
  std::function<void(driver::connection&, deadline)> on_session{};
};

/// The pool, interceptors and metrics that the options describe; connects to nothing yet.
[[nodiscard]] std::shared_ptr<engine> engine_from_options(const database_options& options,
                                                          engine_observers observers = {});

}  // namespace soundhash::db
