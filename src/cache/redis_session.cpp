#include "cache/redis_session.hpp"

#include <utility>

#include "cache/redis_connect.hpp"
#include "cache/redis_link.hpp"

namespace soundhash::db::redis {

session session::open(const cache_options& options, deadline until, const interruption* stop) {
  try {
    return session{establish(options, locate(options, until, stop), until, stop)};
  } catch (const link_error& failure) {
    return session{std::string{failure.what()}};
  }
}

session::session(std::unique_ptr<link> established) : link_{std::move(established)} {}
session::session(std::string failure) : failure_{std::move(failure)} {}
session::~session() = default;
session::session(session&&) noexcept = default;
session& session::operator=(session&&) noexcept = default;

bool session::available() const noexcept {
  return link_ != nullptr;
}

std::optional<std::vector<reply>> session::call(std::span<const command> commands, deadline until) {
  if (!link_) return std::nullopt;
  try {
    return link_->exchange(commands, until);
  } catch (const link_error& failure) {
    fail(failure.what());
    return std::nullopt;
  }
}

bool session::post(std::span<const command> commands, deadline until) {
  if (!link_) return false;
  try {
    link_->send(commands, until);
    return true;
  } catch (const link_error& failure) {
    fail(failure.what());
    return false;
  }
}

std::optional<reply> session::next_push(deadline until) {
  if (!link_) return std::nullopt;
  try {
    return link_->read(until);
  } catch (const link_error& failure) {
    fail(failure.what());
    return std::nullopt;
  }
}

std::unique_ptr<link> session::release() {
  return std::exchange(link_, nullptr);
}

void session::fail(std::string why) noexcept {
  link_.reset();
  failure_ = std::move(why);
}

}  // namespace soundhash::db::redis
