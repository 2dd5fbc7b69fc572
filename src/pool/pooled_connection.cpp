#include <utility>

#include <soundhash/db/pool/pooled_connection.hpp>

#include "pool/connection_pool.hpp"

namespace soundhash::db {

pooled_connection::pooled_connection(std::unique_ptr<impl> state) : state_{std::move(state)} {}
pooled_connection::~pooled_connection() = default;
pooled_connection::pooled_connection(pooled_connection&&) noexcept = default;
pooled_connection& pooled_connection::operator=(pooled_connection&&) noexcept = default;

int pooled_connection::backend_pid() const noexcept {
  return state_->lease->backend_pid();
}
void pooled_connection::discard() noexcept {
  state_->lease.discard();
}
void* pooled_connection::native_handle() noexcept {
  return state_->lease->native();
}

}  // namespace soundhash::db
