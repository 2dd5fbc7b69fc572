#include "cache/redis_link.hpp"

#include <array>
#include <cerrno>
#include <system_error>
#include <utility>

#include <sys/socket.h>
#include <unistd.h>

#include <soundhash/db/core/error.hpp>

#include "cache/redis_tls.hpp"
#include "core/poll_until.hpp"

namespace soundhash::db::redis {
namespace {

bool would_block(int code) noexcept {
  return code == EAGAIN || code == EWOULDBLOCK;
}

[[noreturn]] void throw_lost(int code) {
  throw link_lost{"connection lost: " + std::generic_category().message(code)};
}

[[noreturn]] void throw_closed() {
  throw link_lost{"the server closed the connection"};
}

}  // namespace

link::link(int socket, const interruption* stop, reply_limits limits)
    : socket_{socket},
      stop_{stop},
      reader_{limits},
      input_{std::make_unique_for_overwrite<char[]>(read_bytes)} {}

link::~link() {
  ::close(socket_);
}

void link::wait_connected(deadline until) {
  if (!wait_for(POLLOUT, until)) throw link_error{"cannot connect: no answer in time"};
  int code = 0;
  socklen_t size = sizeof code;
  ::getsockopt(socket_, SOL_SOCKET, SO_ERROR, &code, &size);
  if (code != 0) throw link_error{"cannot connect: " + std::generic_category().message(code)};
}

void link::secure(const tls_context& context, const std::string& host, deadline until) {
  tls_ = std::make_unique<tls_session>(context, host);
  const auto failed = [&](const std::string& why) {
    return "TLS with " + sanitize(host, 255) + ": " + why +
           "; perhaps the server does not speak TLS at this port";
  };
  try {
    if (!shake_hands(until)) throw link_error{failed("no answer in time")};
  } catch (const link_lost&) {
    throw link_lost{failed("the server hung up during the handshake")};
  }
}

bool link::shake_hands(deadline until) {
  tls_->move_records_to(records_);
  for (flush(); !tls_->established(); flush()) {
    if (until.passed() || !wait(until)) return false;
    receive();
  }
  return true;
}

void link::flush() {
  if (tls_) return flush_records();
  send_now(output_);
}

/// A slice at a time, so that a large value is not there twice.
void link::flush_records() {
  while (send_now(records_) && sealed_ < output_.size()) {
    const auto slice = std::string_view{output_}.substr(sealed_, slice_bytes);
    tls_->write(slice);
    tls_->move_records_to(records_);
    sealed_ += slice.size();
  }
  if (sealed_ < output_.size()) return;
  output_.clear();
  sealed_ = 0;
}

/// Sends what the socket takes of `bytes`; true when that was all.
bool link::send_now(std::string& bytes) {
  while (sent_ < bytes.size()) {
    const auto count = ::send(socket_, bytes.data() + sent_, bytes.size() - sent_, MSG_NOSIGNAL);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0 && would_block(errno)) return false;
    if (count < 0) lose(errno);
    sent_ += static_cast<std::size_t>(count);
  }
  bytes.clear();
  sent_ = 0;
  return true;
}

/// A server that refuses our certificate says so and hangs up, while we go on sending.
void link::lose(int code) {
  for (ssize_t count = 1; tls_ && count > 0;) {
    count = ::recv(socket_, input_.get(), read_bytes, 0);
    if (count > 0) take({input_.get(), static_cast<std::size_t>(count)});
  }
  throw_lost(code);
}

bool link::wait(deadline until) {
  if (tls_ && tls_->closed()) throw_closed();
  return wait_for(flushed() ? POLLIN : POLLIN | POLLOUT, until);
}

bool link::wait_for(short events, deadline until) {
  std::array<pollfd, 2> watched{
      {{socket_, events, 0}, {stop_ != nullptr ? stop_->fd() : -1, POLLIN, 0}}};
  const std::size_t count = stop_ != nullptr ? 2 : 1;
  const bool ready = poll_until({watched.data(), count}, until);
  if (watched[1].revents != 0) throw link_error{"interrupted"};
  return ready;
}

void link::receive() {
  const auto count = ::recv(socket_, input_.get(), read_bytes, 0);
  if (count > 0) return take({input_.get(), static_cast<std::size_t>(count)});
  if (count == 0 && tls_ && !tls_->closed()) {
    throw link_lost{"connection lost: it ended without the close_notify of TLS"};
  }
  if (count == 0) throw_closed();
  if (!would_block(errno) && errno != EINTR) throw_lost(errno);
}

void link::take(std::string_view bytes) {
  if (!tls_) return reader_.feed(bytes);
  tls_->take(bytes);
  for (auto plain = tls_->read(); !plain.empty(); plain = tls_->read()) reader_.feed(plain);
  tls_->move_records_to(records_);
}

std::vector<reply> link::exchange(std::span<const command> commands, deadline until) {
  for (const auto& each : commands) each.append_to(output_);
  flush();
  std::vector<reply> answers;
  answers.reserve(commands.size());
  while (answers.size() < commands.size()) {
    auto answer = read(until);
    if (!answer) throw link_error{"no answer in time"};
    answers.push_back(std::move(*answer));
  }
  return answers;
}

void link::send(std::span<const command> commands, deadline until) {
  for (const auto& each : commands) each.append_to(output_);
  for (flush(); !flushed(); flush()) {
    if (until.passed() || !wait(until)) throw link_error{"the server reads nothing"};
    receive();
  }
}

std::optional<reply> link::read(deadline until) {
  for (bool last = false; !last;) {
    if (auto answer = next()) return answer;
    last = until.passed();  // bytes that keep coming do not move the deadline
    if (!wait(until)) return std::nullopt;
    flush();
    receive();
  }
  return next();
}

}  // namespace soundhash::db::redis
