#include "cache/tag_delivery.hpp"

#include <string>
#include <utility>

namespace soundhash::db {
namespace {

/// What a change in doubt that nobody ever resolves leaves here. Those forgotten leave marks that
/// end by themselves.
constexpr std::size_t most_marked = 4096;
/// What a read or write sends again on the side.
constexpr std::size_t most_resent = 200;

std::vector<tag_order> orders_for(const tag_set& tags, tag_act act, std::uint64_t change) {
  std::vector<tag_order> orders;
  orders.reserve(tags.size() + 1);
  std::string_view table;
  for (const auto& tag : tags.tags()) {
    // Every write to a table drops its lists, also when only rows are named.
    if (tag.table() != table) {
      table = tag.table();
      orders.push_back({cache_tag::any_of(table).text(), act, change});
    }
    if (tag != cache_tag::any_of(table)) orders.push_back({tag.text(), act, change});
  }
  return orders;
}

}  // namespace

bool tag_delivery::announce(const tag_set& changed) {
  remember_mark(changed.change());
  return execute(orders_for(changed, tag_act::mark, changed.change()), to_.available(), {});
}

bool tag_delivery::committed(const tag_set& changed) {
  const auto change = changed.change();
  return take_mark(change) ? deliver(orders_for(changed, tag_act::settle, change))
                           : deliver(orders_for(changed, tag_act::drop, 0));
}

bool tag_delivery::in_doubt(const tag_set& changed) {
  remember_mark(changed.change());
  return deliver(orders_for(changed, tag_act::mark, changed.change()));
}

bool tag_delivery::rolled_back(const tag_set& changed) {
  const auto change = changed.change();
  return !take_mark(change) ||
         execute(orders_for(changed, tag_act::settle, change), to_.available(), {});
}

bool tag_delivery::drop(const tag_set& tags) {
  auto orders = orders_for(tags, tag_act::drop, 0);
  // In a set of reads, the lists of a table may stand for many of its rows.
  for (const auto& tag : tags.tags()) {
    if (tags.change() == 0 && tag == cache_tag::any_of(tag.table())) {
      orders.push_back({cache_tag::all_of(tag.table()).text(), tag_act::drop, 0});
    }
  }
  return deliver(std::move(orders));
}

bool tag_delivery::drop_all() {
  return deliver({{std::string{undelivered_tags::global}, tag_act::drop, 0}});
}

bool tag_delivery::must_bypass(std::span<const std::string_view> tags) {
  if (undelivered_.empty()) return false;
  resend_when_due();
  return undelivered_.hold(tags);
}

bool tag_delivery::resend(redis::caller& over, deadline until) {
  return send(undelivered_.take_failed(undelivered_tags::most), &over, until);
}

void tag_delivery::resume() {
  resumes_.fetch_add(1);
  resend_all();
}

/// Until Redis acknowledges, this process does without the tags.
bool tag_delivery::deliver(std::vector<tag_order> orders) {
  const auto count = orders.size();
  const auto resumes = resumes_.load();
  const bool done = send(undelivered_.add(std::move(orders)), to_.available(), {});
  counters_.invalidations.count(done ? delivery::delivered : delivery::undelivered);
  if (done) {
    resend_when_due();
  } else {
    counters_.lost.fetch_add(count, std::memory_order_relaxed);
    // They went down with a connection of before, perhaps after resume() had looked for them.
    if (resumes_.load() != resumes) resend_all();
  }
  return done;
}

bool tag_delivery::send(const undelivered_tags::parcel& orders, redis::caller* over,
                        deadline until) {
  bool done = false;
  try {
    done = orders.empty() || execute(orders.orders(), over, until);
  } catch (...) {
    undelivered_.failed(orders);
    throw;
  }
  if (done) {
    undelivered_.delivered(orders);
  } else {
    undelivered_.failed(orders);
    next_resend_.store((clock::now() + pause_).time_since_epoch().count());
  }
  return done;
}

bool tag_delivery::execute(std::span<const tag_order> orders, redis::caller* over, deadline until) {
  const auto* const keys = to_.keys();
  return over != nullptr && keys != nullptr && commands_.execute(orders, *keys, *over, until);
}

void tag_delivery::resend_all() {
  if (auto* const over = to_.available()) {
    (void)send(undelivered_.take_failed(undelivered_tags::most), over, {});
  }
}

void tag_delivery::resend_when_due() {
  auto* const over = to_.available();
  if (undelivered_.empty() || over == nullptr) return;
  const auto now = clock::now();
  auto due = next_resend_.load();
  const auto next = (now + pause_).time_since_epoch().count();
  if (now.time_since_epoch().count() < due || !next_resend_.compare_exchange_strong(due, next)) {
    return;
  }
  (void)send(undelivered_.take_failed(most_resent), over, {});
}

void tag_delivery::remember_mark(std::uint64_t change) {
  const std::lock_guard lock{mutex_};
  if (marked_.size() >= most_marked) marked_.erase(marked_.begin());
  marked_.insert(change);
}

bool tag_delivery::take_mark(std::uint64_t change) {
  const std::lock_guard lock{mutex_};
  return marked_.erase(change) != 0;
}

}  // namespace soundhash::db
