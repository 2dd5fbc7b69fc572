#include "cache/near_cache_feed.hpp"

#include <random>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include <poll.h>
#include <spdlog/logger.h>

#include <soundhash/db/core/deadline.hpp>
#include <soundhash/db/observe/logger.hpp>

#include "cache/near_cache.hpp"
#include "core/backoff.hpp"
#include "core/poll_until.hpp"

namespace soundhash::db {
namespace {

using clock = deadline::clock;
using redis::command;
using redis::reply;

constexpr std::string_view channel = "__redis__:invalidate";

constexpr std::size_t most_text = 200;  // of the server's in our log

bool is_pong(const reply& push) {
  return push.what == reply::kind::array && !push.items.empty() && push.items[0].text == "pong";
}

/// RESP2: [message, channel, [key, …]], the keys nil for FLUSHALL; or [pong, ""]. False for
/// anything else.
bool take(const reply& push, near_cache& near) {
  if (is_pong(push)) return true;
  const auto& parts = push.items;
  if (parts.size() != 3 || parts[0].text != "message" || parts[1].text != channel) return false;
  if (parts[2].is_nil()) near.flush();
  for (const auto& tag : parts[2].items) near.drop(tag.text);
  return true;
}

bool stopped_within(const redis::interruption& stop, clock::duration span) {
  pollfd watched{stop.fd(), POLLIN, 0};
  return poll_until(std::span{&watched, 1}, deadline::in(span));
}

}  // namespace

near_cache_feed::near_cache_feed(cache_options options, std::string tag_prefix, near_cache& into)
    : options_{std::move(options)},
      tag_prefix_{std::move(tag_prefix)},
      near_{into},
      thread_{std::make_unique<std::thread>([this] { run(); })} {}

near_cache_feed::~near_cache_feed() {
  if (fork_.crossed()) {
    static_cast<void>(thread_.release());
    return;
  }
  stop_.ring();
  thread_->join();
}

void near_cache_feed::run() {
  backoff pauses{std::random_device{}()};
  auto pause = clock::duration::zero();
  while (!stopped_within(stop_, pause)) {
    const auto before = connections_.load();
    const auto why = listen();
    near_.distrust();
    if (connections_.load() != before) pauses.reset();
    pause = pauses.next();
    if (!stopped_within(stop_, clock::duration::zero())) note_change(false, why);
  }
}

std::string near_cache_feed::listen() {
  auto server = redis::session::open(options_, deadline::in(options_.connect_timeout), &stop_);
  const auto asked = clock::now();
  auto refused = subscribe(server);
  if (!refused.empty()) return refused;
  note_change(true, {});
  return follow(server, asked);
}

std::string near_cache_feed::subscribe(redis::session& to) const {
  const auto until = deadline::in(pong_within);
  const command who[] = {{"CLIENT", "ID"}};
  const auto id = to.call(who, until);
  if (!id) return to.failure();
  const auto self = std::to_string(id->front().integer);
  const command track[] = {
      {"CLIENT", "TRACKING", "ON", "REDIRECT", self, "BCAST", "PREFIX", tag_prefix_},
      {"SUBSCRIBE", channel}};
  const auto tracked = to.call(track, until);
  if (!tracked) return to.failure();
  for (const auto& answer : *tracked) {
    if (answer.is_error()) return answer.text.substr(0, most_text);
  }
  return {};
}

std::string near_cache_feed::follow(redis::session& server, clock::time_point asked) {
  // What was dropped before the tags were tracked is not known.
  near_.flush();
  near_.trust(asked + bound);
  ++connections_;
  const command ping[] = {{"PING"}};
  for (bool pong_due = false; server.available();) {
    const auto next = asked + (pong_due ? pong_within : ping_every);
    const auto now = clock::now();
    if (now < next) {
      const auto push = server.next_push(deadline{next});
      if (!push) continue;
      if (!take(*push, near_)) return "an answer that is none of a subscription";
      if (!is_pong(*push)) continue;
      near_.trust(asked + bound);
      pong_due = false;
    } else if (pong_due) {
      return "no answer to PING";
    } else {
      server.post(ping, deadline{now + pong_within});
      asked = now;
      pong_due = true;
    }
  }
  return server.failure();
}

void near_cache_feed::note_change(bool listening, std::string_view why) {
  if (listening != complained_) return;
  complained_ = !listening;
  if (listening) {
    logger()->info("near cache: Redis tells again what others change");
  } else {
    logger()->warn("near cache: not used until Redis tells again what others change: {}", why);
  }
}

}  // namespace soundhash::db
