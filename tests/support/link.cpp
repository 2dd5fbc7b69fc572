#include "support/link.hpp"

#include <algorithm>
#include <utility>

#include <sys/socket.h>

namespace soundhash::db::test {

link::link(descriptor client, descriptor server)
    : client_{std::move(client)},
      server_{std::move(server)},
      flows_{flow{&client_, &server_}, flow{&server_, &client_}} {
  send_at_once(client_);
}

int link::source(direction way) const noexcept {
  const auto& along = flows_[static_cast<std::size_t>(way)];
  return along.open ? along.from->get() : -1;
}

void link::expect(const link_fault& fault) {
  of(fault.on).fault = fault;
}

bool link::arrived(direction way, std::string data, const pace& speed) {
  if (!passes_) return false;
  auto& through = of(way);
  auto& fault = through.fault;
  const bool flips = fault && fault->what == effect::flip;
  // The byte to flip must be here; an end comes as soon as the count is complete.
  const bool strikes = fault && (flips ? fault->after < data.size() : fault->after <= data.size());
  if (strikes && flips) {
    auto& victim = data[fault->after];
    victim = static_cast<char>(victim ^ (1 << fault->bit));
  } else if (strikes) {
    data.resize(fault->after);
  } else if (fault) {
    fault->after -= data.size();
  }
  pass(through, data, speed);
  if (!strikes) return false;
  const auto what = fault->what;
  fault.reset();
  if (!flips) end(what);
  return true;
}

void link::pass(flow& through, std::string_view data, const pace& speed) {
  const auto size = speed.slice == 0 ? data.size() : speed.slice;
  auto due = through.waiting.empty() ? deadline::in({}) : through.waiting.back().due;
  while (!data.empty()) {
    due = deadline{due.at() + speed.delay};
    through.waiting.push_back({due, std::string{data.substr(0, size)}});
    data.remove_prefix(std::min(size, data.size()));
  }
  send_due();
}

void link::send_due() {
  for (auto& way : flows_) {
    while (!way.waiting.empty() && way.waiting.front().due.passed()) {
      send_all(*way.to, way.waiting.front().data);  // a peer that is gone shows when it is read
      way.waiting.pop_front();
    }
  }
}

deadline link::next_due() const {
  deadline next;
  for (const auto& way : flows_) {
    if (!way.waiting.empty()) next = std::min(next, way.waiting.front().due);
  }
  return next;
}

void link::send_all_waiting() {
  for (auto& way : flows_) {
    for (auto& each : way.waiting) each.due = deadline::in({});
  }
  send_due();
}

void link::end(effect how) {
  passes_ = false;
  if (how == effect::silence) return;
  send_all_waiting();
  if (how == effect::rst) {
    reset_when_closed(client_);
    for (auto& way : flows_) way.open = false;
  } else {
    ::shutdown(client_.get(), SHUT_WR);
    ::shutdown(server_.get(), SHUT_WR);
  }
}

void link::hung_up(direction way) {
  of(way).open = false;
  if (!passes_) return;  // the other one is not told, or was already
  end(effect::fin);
}

bool link::over() const noexcept {
  return !flows_[0].open && !flows_[1].open;
}

}  // namespace soundhash::db::test
