#include "observe/interceptor_chain.hpp"

#include <algorithm>
#include <ranges>
#include <utility>

#include <soundhash/db/core/error.hpp>

namespace soundhash::db {

interceptor_chain::interceptor_chain(std::vector<std::shared_ptr<interceptor>> members,
                                     metrics& registry)
    : members_{std::move(members)}, registry_{&registry} {
  if (std::find(members_.begin(), members_.end(), nullptr) != members_.end()) {
    throw config_error{"interceptors", "one of them is null", "non-null interceptors"};
  }
}

void interceptor_chain::on_start(const statement_event& event) const noexcept {
  for (const auto& member : members_) {
    try {
      member->on_start(event);
    } catch (...) {
      registry_->interceptor_failed();
    }
  }
}

void interceptor_chain::on_finish(const statement_event& event) const noexcept {
  for (const auto& member : members_ | std::views::reverse) {
    try {
      member->on_finish(event);
    } catch (...) {
      registry_->interceptor_failed();
    }
  }
}

}  // namespace soundhash::db
