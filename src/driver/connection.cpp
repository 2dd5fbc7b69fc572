#include "driver/connection.hpp"

#include <cstdint>
#include <string>
#include <utility>

#include <poll.h>

#include <soundhash/db/core/error.hpp>

#include "driver/connection_impl.hpp"

namespace soundhash::db::driver {

std::unique_ptr<connection> connection::open(const conninfo& where, deadline until) {
  return std::unique_ptr<connection>{
      new connection{std::make_unique<impl>(connect(where, until), where)}};
}

connection::connection(std::unique_ptr<impl> state) : state_{std::move(state)} {}
connection::~connection() = default;

result connection::run(const statement& what, timing* cost) {
  return state_->run(what, cost);
}

std::string connection::command(std::string_view sql, deadline until) {
  return state_->command(sql, until);
}

std::vector<std::string> connection::notifications(deadline until, const std::stop_token& stop) {
  const stop_signal signal{stop};
  return state_->wire.notifications(until, signal);
}

bool connection::ping(deadline until) noexcept {
  try {
    state_->command("", until);
    return state_->status() == transaction_status::idle;
  } catch (const std::exception&) {
    state_->wire.abort();
    return false;
  }
}

bool connection::quiet() const noexcept {
  pollfd watched{PQsocket(state_->raw()), POLLIN | POLLRDHUP, 0};
  return ::poll(&watched, 1, 0) == 0;
}

bool connection::usable() const noexcept {
  return state_->wire.usable();
}
transaction_status connection::status() const noexcept {
  return state_->status();
}
void connection::abort() noexcept {
  state_->wire.abort();
}
void connection::cut() noexcept {
  state_->wire.cut();
}
int connection::backend_pid() const noexcept {
  return PQbackendPID(state_->raw());
}
bool connection::is_behind_pooler(deadline until) {
  const auto rows = run(
      {.name = {}, .sql = "SELECT pg_backend_pid()", .access = access::read_only, .until = until});
  return rows[0][0].as<std::int32_t>() != backend_pid();
}
int connection::server_version() const noexcept {
  return PQserverVersion(state_->raw());
}
std::string connection::parameter(const char* name) const {
  return state_->parameter(name);
}
void* connection::native() noexcept {
  PQsetnonblocking(state_->raw(), 0);  // what libpqxx expects
  return public_face(*state_->adopted);
}

}  // namespace soundhash::db::driver
