#include <new>
#include <utility>

#include <soundhash/db/pool/pooled_connection.hpp>

#include "pool/connection_pool.hpp"

namespace soundhash::db {

static_assert(sizeof(pooled_connection::impl) <= sizeof(pooled_connection));
static_assert(alignof(pooled_connection::impl) <= alignof(pooled_connection));

pooled_connection::impl& pooled_connection::leased() noexcept {
  return *std::launder(reinterpret_cast<impl*>(storage_.data()));
}
const pooled_connection::impl& pooled_connection::leased() const noexcept {
  return *std::launder(reinterpret_cast<const impl*>(storage_.data()));
}

pooled_connection::pooled_connection(impl&& leased) {
  new (storage_.data()) impl{std::move(leased)};
}
pooled_connection::~pooled_connection() {
  leased().~impl();
}
pooled_connection::pooled_connection(pooled_connection&& other) noexcept
    : pooled_connection{std::move(other.leased())} {}
pooled_connection& pooled_connection::operator=(pooled_connection&& other) noexcept {
  leased() = std::move(other.leased());
  return *this;
}

int pooled_connection::backend_pid() const {
  return leased().lease->backend_pid();
}
void pooled_connection::discard() noexcept {
  leased().lease.discard();
}
void pooled_connection::guard(deadline until) {
  leased().lease.guard(until);
}
void* pooled_connection::native_handle() {
  return leased().lease->native();
}

}  // namespace soundhash::db
