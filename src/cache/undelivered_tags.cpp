#include "cache/undelivered_tags.hpp"

#include <algorithm>
#include <utility>

namespace soundhash::db {
namespace {

/// Of a mark that stands for those of several changes: nobody settles it, it ends by itself.
constexpr std::uint64_t nobody = 0;

}  // namespace

undelivered_tags::parcel undelivered_tags::add(std::vector<tag_order> orders) {
  parcel made;
  made.orders_.reserve(orders.size());
  made.numbers_.reserve(orders.size());
  const std::lock_guard lock{mutex_};
  ++last_number_;
  for (auto& order : orders) put(std::move(order), made);
  if (orders_.size() > most) overflow();
  recount();
  return made;
}

void undelivered_tags::put(tag_order order, parcel& into) {
  if (order.act == tag_act::settle) {
    orders_.erase({order.tag, tag_act::mark, order.change});
    // After an overflow the global tag may have it.
    if (orders_.erase({std::string{global}, tag_act::mark, order.change}) != 0) {
      orders_[{std::string{global}, tag_act::settle, order.change}] = {last_number_, false};
    }
  }
  orders_[order] = {last_number_, true};
  into.orders_.push_back(std::move(order));
  into.numbers_.push_back(last_number_);
}

void undelivered_tags::overflow() {
  const bool marks = std::any_of(orders_.begin(), orders_.end(), [](const auto& entry) {
    return entry.first.act == tag_act::mark;
  });
  orders_.clear();
  orders_[{std::string{global}, tag_act::drop, nobody}] = {last_number_, false};
  if (marks) orders_[{std::string{global}, tag_act::mark, nobody}] = {last_number_, false};
}

undelivered_tags::parcel undelivered_tags::take_failed(std::size_t limit) {
  parcel taken;
  const std::lock_guard lock{mutex_};
  if (lost_) orders_[{std::string{global}, tag_act::drop, nobody}] = {++last_number_, false};
  lost_ = false;
  recount();
  for (auto& [order, at] : orders_) {
    if (taken.orders_.size() == limit) break;
    if (at.sending) continue;
    taken.orders_.push_back(order);
    taken.numbers_.push_back(at.number);
  }
  for (const auto& order : taken.orders_) orders_[order].sending = true;
  return taken;
}

void undelivered_tags::delivered(const parcel& sent) noexcept {
  const std::lock_guard lock{mutex_};
  for (std::size_t i = 0; i < sent.orders_.size(); ++i) {
    const auto at = orders_.find(sent.orders_[i]);
    // Added once more since: whoever did that sends it, after a later COMMIT.
    if (at != orders_.end() && at->second.number == sent.numbers_[i]) orders_.erase(at);
  }
  recount();
}

void undelivered_tags::failed(const parcel& sent) noexcept {
  const std::lock_guard lock{mutex_};
  for (std::size_t i = 0; i < sent.orders_.size(); ++i) {
    const auto at = orders_.find(sent.orders_[i]);
    if (at != orders_.end() && at->second.number == sent.numbers_[i]) at->second.sending = false;
  }
}

void undelivered_tags::lose() noexcept {
  const std::lock_guard lock{mutex_};
  lost_ = true;
  recount();
}

bool undelivered_tags::hold(std::span<const std::string_view> tags) const {
  if (empty()) return false;
  const std::lock_guard lock{mutex_};
  return lost_ || holds(global) ||
         std::any_of(tags.begin(), tags.end(), [&](std::string_view tag) { return holds(tag); });
}

bool undelivered_tags::holds(std::string_view tag) const {
  const auto at = orders_.lower_bound(tag_order{std::string{tag}, tag_act::drop, 0});
  return at != orders_.end() && at->first.tag == tag;
}

void undelivered_tags::recount() noexcept {
  count_.store(orders_.size() + (lost_ ? 1 : 0), std::memory_order_release);
}

}  // namespace soundhash::db
