#pragma once

#include <soundhash/db/observe/interceptor.hpp>
#include <soundhash/db/observe/metrics.hpp>

namespace soundhash::db {

/// Feeds the registry with every finished statement.
/// Thread safety: safe for concurrent use. Lifetime: the registry must outlive it.
class timing_interceptor final : public interceptor {
 public:
  explicit timing_interceptor(metrics& registry) noexcept : registry_{&registry} {}

  void on_finish(const statement_event& event) override;

 private:
  metrics* registry_;
};

}  // namespace soundhash::db
