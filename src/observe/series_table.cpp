#include "observe/series_table.hpp"

#include <cstdint>

namespace soundhash::db {
namespace {

std::size_t index_of(statement_kind kind) noexcept {
  return static_cast<std::size_t>(kind);
}

// Fibonacci hashing: the multiplier is 2^64 divided by the golden ratio; the high bits are good.
std::size_t hash_of(const char* address) noexcept {
  const auto bits = static_cast<std::uint64_t>(reinterpret_cast<std::uintptr_t>(address));
  return static_cast<std::size_t>((bits * 0x9E3779B97F4A7C15U) >> 40);
}

}  // namespace

series_table::series_table(std::size_t max_series) : max_series_{max_series} {
  for (std::size_t i = 0; i < kind_count; ++i) {
    overflow_[i] = std::make_unique<series>("(other)", static_cast<statement_kind>(i));
  }
}

series& series_table::find(statement_kind kind, std::string_view name) noexcept {
  const auto* seen = slots_[probe(kind, name)].load(std::memory_order_acquire);
  if (seen != nullptr) return *seen->target;
  try {
    const std::lock_guard hold{mutex_};
    return find_or_make(kind, name);
  } catch (...) {
    return overflow(kind);
  }
}

std::vector<const series*> series_table::all() const {
  const std::lock_guard hold{mutex_};
  std::vector<const series*> found;
  for (const auto& of_kind : series_) {
    for (const auto& [name, one] : of_kind) found.push_back(one.get());
  }
  for (const auto& one : overflow_) found.push_back(one.get());
  return found;
}

// The slot of the name, or the free one where it would go. There is always a free one: at most
// half of the slots are ever taken.
std::size_t series_table::probe(statement_kind kind, std::string_view name) const noexcept {
  auto slot = hash_of(name.data()) % slot_count;
  for (;; slot = (slot + 1) % slot_count) {
    const auto* seen = slots_[slot].load(std::memory_order_acquire);
    if (seen == nullptr || seen->is_of(kind, name)) return slot;
  }
}

series& series_table::find_or_make(statement_kind kind, std::string_view name) {
  const auto slot = probe(kind, name);
  // Another thread may have been here between our look and our lock.
  if (const auto* seen = slots_[slot].load(std::memory_order_relaxed)) return *seen->target;
  auto& target = made(kind, name);
  if (sightings_.size() < max_sightings) {
    sightings_.push_back({name.data(), std::string{name}, &target});
    slots_[slot].store(&sightings_.back(), std::memory_order_release);
  }
  return target;
}

series& series_table::made(statement_kind kind, std::string_view name) {
  auto& of_kind = series_[index_of(kind)];
  if (const auto known = of_kind.find(name); known != of_kind.end()) return *known->second;
  if (made_ == max_series_) return overflow(kind);
  auto one = std::make_unique<series>(std::string{name}, kind);
  auto& result = *of_kind.emplace(name, std::move(one)).first->second;
  ++made_;
  return result;
}

series& series_table::overflow(statement_kind kind) noexcept {
  return *overflow_[index_of(kind)];
}

}  // namespace soundhash::db
