#include "cache/redis_link.hpp"

#include <array>
#include <cerrno>
#include <system_error>
#include <utility>

#include <sys/socket.h>
#include <unistd.h>

#include "core/poll_until.hpp"

namespace soundhash::db::redis {
namespace {

bool would_block(int code) noexcept {
  return code == EAGAIN || code == EWOULDBLOCK;
}

[[noreturn]] void throw_lost(int code) {
  throw link_error{"connection lost: " + std::generic_category().message(code)};
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

void link::flush() {
  while (sent_ < output_.size()) {
    const auto count =
        ::send(socket_, output_.data() + sent_, output_.size() - sent_, MSG_NOSIGNAL);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0 && would_block(errno)) return;
    if (count < 0) throw_lost(errno);
    sent_ += static_cast<std::size_t>(count);
  }
  output_.clear();
  sent_ = 0;
}

bool link::wait(deadline until) {
  return wait_for(output_.empty() ? POLLIN : POLLIN | POLLOUT, until);
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
  if (count > 0) return reader_.feed({input_.get(), static_cast<std::size_t>(count)});
  if (count == 0) throw link_error{"the server closed the connection"};
  if (!would_block(errno) && errno != EINTR) throw_lost(errno);
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
  for (flush(); !output_.empty(); flush()) {
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
