#pragma once

#include <memory>
#include <vector>

#include <soundhash/db/observe/interceptor.hpp>
#include <soundhash/db/observe/metrics.hpp>

namespace soundhash::db {

/// The interceptors that every statement passes: started in order, finished in reverse. One that
/// throws is counted and breaks neither the statement nor the others.
/// Thread safety: safe for concurrent use. Lifetime: the registry must outlive it.
class interceptor_chain {
 public:
  /// Throws: config_error when one of them is null.
  interceptor_chain(std::vector<std::shared_ptr<interceptor>> members, metrics& registry);

  void on_start(const statement_event& event) const noexcept;
  /// `event` must be the object that on_start got.
  void on_finish(const statement_event& event) const noexcept;

 private:
  std::vector<std::shared_ptr<interceptor>> members_;
  metrics* registry_;
};

}  // namespace soundhash::db
