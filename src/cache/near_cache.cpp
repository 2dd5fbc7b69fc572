#include "cache/near_cache.hpp"

#include <algorithm>
#include <ctime>
#include <deque>
#include <functional>
#include <limits>
#include <mutex>
#include <unordered_map>
#include <utility>

namespace soundhash::db {
namespace {

constexpr std::size_t counters = std::size_t{1} << 15U;
constexpr std::size_t most_shards = 16;
/// Fewer would let an unlucky spread of the keys evict early.
constexpr std::size_t least_entries_per_shard = 64;

std::size_t hash_of(std::string_view text) noexcept {
  return std::hash<std::string_view>{}(text);
}

std::uint32_t counter_of(std::string_view tag) noexcept {
  return static_cast<std::uint32_t>(hash_of(tag) % counters);
}

/// A key that is hashed once, for the choice of the shard and within it.
struct hashed_key {
  std::string_view text;
  std::size_t hash;

  friend bool operator==(const hashed_key& a, const hashed_key& b) noexcept {
    return a.text == b.text;
  }
};

struct known_hash {
  std::size_t operator()(const hashed_key& key) const noexcept { return key.hash; }
};

}  // namespace

struct near_cache::entry {
  std::string key;
  std::size_t hash = 0;
  const void* type = nullptr;
  std::shared_ptr<const void> value;
  place at;
  clock::time_point expires;
  bool used = false;  // since the hand of the clock came by

  [[nodiscard]] hashed_key name() const noexcept { return {key, hash}; }
};

/// A part of the entries, with second chance (CLOCK) for those that are used.
class near_cache::shard {
 public:
  explicit shard(std::size_t most) noexcept : most_{most} {}

  template <class Valid>
  [[nodiscard]] std::shared_ptr<const void> find(const hashed_key& key, const void* type,
                                                 Valid valid) {
    const std::lock_guard lock{mutex_};
    const auto found = index_.find(key);
    if (found == index_.end()) return nullptr;
    auto& kept = *found->second;
    if (kept.type != type || !valid(kept)) return nullptr;
    kept.used = true;
    ++hits_;
    return kept.value;
  }

  /// What had to go is left in `fresh`, to be destroyed without the lock.
  template <class Valid>
  void put(entry& fresh, Valid valid) {
    const std::lock_guard lock{mutex_};
    auto& slot = slot_for(fresh.name(), valid);
    index_.erase(slot.name());
    std::swap(slot, fresh);
    index_.emplace(slot.name(), &slot);
    ++fills_;
  }

  void add_to(figures& sums) const {
    const std::lock_guard lock{mutex_};
    sums.hits += hits_;
    sums.fills += fills_;
    sums.evictions += evictions_;
    sums.entries += index_.size();
  }

 private:
  template <class Valid>
  [[nodiscard]] entry& slot_for(const hashed_key& key, Valid valid) {
    const auto found = index_.find(key);
    if (found != index_.end()) return *found->second;
    if (slots_.size() < most_) return slots_.emplace_back();
    for (;;) {
      auto& slot = slots_[hand_];
      hand_ = (hand_ + 1) % slots_.size();
      const bool still_valid = valid(slot);
      if (still_valid && std::exchange(slot.used, false)) continue;
      evictions_ += still_valid ? 1U : 0U;
      return slot;
    }
  }

  mutable std::mutex mutex_;
  std::size_t most_;
  std::deque<entry> slots_;  // which do not move: the index points to them and into their keys
  std::unordered_map<hashed_key, entry*, known_hash> index_;
  std::size_t hand_ = 0;
  std::uint64_t hits_ = 0;
  std::uint64_t fills_ = 0;
  std::uint64_t evictions_ = 0;
};

near_cache::clock::time_point near_cache::coarse_now() noexcept {
  timespec tick{};
  ::clock_gettime(CLOCK_MONOTONIC_COARSE, &tick);
  return clock::time_point{std::chrono::seconds{tick.tv_sec} +
                           std::chrono::nanoseconds{tick.tv_nsec}};
}

near_cache::near_cache(const near_cache_options& options, now_function now)
    : now_{now}, ttl_{options.ttl}, dropped_(counters) {
  const auto count =
      std::clamp(options.entries / least_entries_per_shard, std::size_t{1}, most_shards);
  for (std::size_t i = 0; i < count; ++i) {
    const auto most = options.entries / count + (i < options.entries % count ? 1U : 0U);
    shards_.push_back(std::make_unique<shard>(most));
  }
}

near_cache::~near_cache() = default;

bool near_cache::find(std::string_view key, read_sink& into) {
  const auto now = now_();
  if (!trusted(now)) return false;
  const hashed_key wanted{key, hash_of(key)};
  const auto value = shard_of(wanted.hash).find(wanted, into.type(), [&](const entry& kept) {
    return valid(kept, now);
  });
  if (value == nullptr) return false;
  into.copy(value.get());
  return true;
}

near_cache::place near_cache::begin(std::span<const std::string> tags) const {
  place at;
  at.began_ = now_();
  at.open_ = trusted(at.began_);
  if (!at.open_) return at;
  at.flushes_ = flushes_.load(std::memory_order_acquire);
  at.tags_.reserve(tags.size());
  for (const auto& tag : tags) {
    const auto counter = counter_of(tag);
    at.tags_.push_back({counter, dropped_[counter].load(std::memory_order_acquire)});
  }
  return at;
}

void near_cache::fill(std::string_view key, const place& at, const read_sink& from,
                      std::chrono::milliseconds life) noexcept {
  const auto now = now_();
  const auto expires = std::min(at.began_ + ttl_, now + life);
  if (!at.open_ || expires <= now || !unchanged(at)) return;
  try {
    entry fresh{std::string{key}, hash_of(key), from.type(), from.share(), at, expires};
    shard_of(fresh.hash).put(fresh, [&](const entry& kept) { return valid(kept, now); });
  } catch (...) {
    // No memory: the value is not kept, and the read has its answer all the same.
  }
}

void near_cache::drop(std::string_view tag) noexcept {
  dropped_[counter_of(tag)].fetch_add(1, std::memory_order_release);
  drops_.fetch_add(1, std::memory_order_relaxed);
}

void near_cache::drop(std::span<const std::string> tags) noexcept {
  for (const auto& tag : tags) drop(tag);
}

void near_cache::flush() noexcept {
  flushes_.fetch_add(1, std::memory_order_release);
}

void near_cache::trust(clock::time_point until) noexcept {
  trusted_until_.store(until.time_since_epoch().count(), std::memory_order_release);
}

void near_cache::distrust() noexcept {
  trusted_until_.store(clock::rep{}, std::memory_order_release);
  flush();
}

near_cache::figures near_cache::stats() const {
  figures sums;
  if (fork_.crossed()) return sums;  // the locks may be held by threads that are not here
  for (const auto& each : shards_) each->add_to(sums);
  sums.drops = drops_.load(std::memory_order_relaxed);
  sums.flushes = flushes_.load(std::memory_order_relaxed);
  return sums;
}

bool near_cache::trusted(clock::time_point now) const noexcept {
  return now.time_since_epoch().count() < trusted_until_.load(std::memory_order_acquire) &&
         !fork_.crossed();
}

bool near_cache::valid(const entry& kept, clock::time_point now) const noexcept {
  return now < kept.expires && unchanged(kept.at);
}

bool near_cache::unchanged(const place& at) const noexcept {
  return at.flushes_ == flushes_.load(std::memory_order_acquire) &&
         std::all_of(at.tags_.begin(), at.tags_.end(), [&](const place::counted& tag) {
           return tag.drops == dropped_[tag.counter].load(std::memory_order_acquire);
         });
}

near_cache::shard& near_cache::shard_of(std::size_t hash) noexcept {
  // Not by the low bits: they choose the bucket within the shard.
  constexpr auto half = std::numeric_limits<std::size_t>::digits / 2;
  return *shards_[(hash >> half) % shards_.size()];
}

}  // namespace soundhash::db
