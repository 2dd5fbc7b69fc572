#pragma once

#include <chrono>
#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include <soundhash/db/core/cache_tag.hpp>
#include <soundhash/db/core/deadline.hpp>
#include <soundhash/db/core/function_ref.hpp>
#include <soundhash/db/export.hpp>

namespace soundhash::db {

class read_through;

/// The cache of a database for a service's own values, which are bytes under names of its own. It
/// is `database::cache()`. Without Redis (`REDIS_ENABLED=false`, or an outage) nothing is found and
/// nothing kept, and no call fails for that: code needs no other path.
///
/// Keys have 1 to 1024 bytes of any kind; under others nothing is found and nothing kept. They live
/// in a space of their own beside the rows that repositories cache.
/// Thread safety: safe for concurrent use. A handle: copies are the same cache. It may outlive its
/// database, also a closed one, and goes on as before.
class SOUNDHASH_DB_EXPORT cache {
 public:
  /// One that never keeps anything.
  cache() noexcept;
  /// Made by the database.
  explicit cache(std::shared_ptr<read_through> behind) noexcept;
  cache(const cache&);
  cache& operator=(const cache&);
  cache(cache&&) noexcept;
  cache& operator=(cache&&) noexcept;
  ~cache();

  /// Is there a cache at all? True during an outage too.
  [[nodiscard]] bool enabled() const noexcept;

  /// The value that `set` put under this key. One that `cached` keeps is found by `cached` alone,
  /// with the same tags.
  [[nodiscard]] std::optional<std::string> get(std::string_view key) const;
  /// The values of many keys, in their order, in one round trip.
  [[nodiscard]] std::vector<std::optional<std::string>> get(
      std::span<const std::string_view> keys) const;

  /// Keeps a value for `ttl` (±10 %, so that what is set together does not end together); zero:
  /// `cache_options::ttl`. False: it was not kept (Redis did not answer, or it has more than
  /// `cache_options::max_value_bytes`), and what was there before may still be. Nothing ties such a
  /// value to rows: to keep what was computed from rows, use `cached`.
  bool set(std::string_view key, std::string_view value, std::chrono::milliseconds ttl = {});
  /// Removes a value. False: Redis did not answer, and the value may still be there.
  bool del(std::string_view key);

  /// Forgets everything that this database cached, rows included, at once and in every process.
  /// False: Redis did not answer; this process forgets all the same.
  bool clear() noexcept;
  /// Deletes the values whose key (or, for rows, query name and parameters) matches a glob pattern
  /// as of Redis' SCAN: `*`, `?`, `[…]`, `\`. Slow (SCAN over all keys of the Redis database, on a
  /// connection of its own) but blocks nobody. Returns how many it deleted; nullopt: Redis did not
  /// answer everything by `until`, and some may be left.
  std::optional<std::size_t> clear(std::string_view pattern,
                                   deadline until = deadline::in(std::chrono::seconds{30}));

  /// Drops every value, of any process, that carries one of these tags: to be called after the
  /// commit of a write that this library did not make (`transaction::invalidate` is for those it
  /// did). False: Redis did not answer; this process does not use them, and tries again.
  bool invalidate(const tag_set& tags) noexcept;
  bool invalidate(cache_tag tag);

  /// The value of `key`, or what `load()` returns, which is kept for `ttl` (zero:
  /// `cache_options::ttl`) and dropped with any of the tags: those of all that `load` reads. `load`
  /// returns a std::string, or std::optional<std::string> whose absence is cached too, for
  /// `cache_options::negative_ttl`. It must read from the database itself, not in a transaction
  /// that began before. One caller of a process loads for all that ask meanwhile.
  /// Throws: what `load` throws.
  template <class F>
  auto cached(std::string_view key, const tag_set& tags, std::chrono::milliseconds ttl, F&& load,
              const call_options& options = {}) {
    using returned = std::remove_cvref_t<std::invoke_result_t<F&>>;
    auto value =
        run_cached(key, tags, ttl, options, [&]() -> std::optional<std::string> { return load(); });
    if constexpr (std::is_same_v<returned, std::optional<std::string>>) {
      return value;
    } else {
      return std::string{std::move(*value)};
    }
  }

 private:
  [[nodiscard]] std::optional<std::string> run_cached(
      std::string_view key, const tag_set& tags, std::chrono::milliseconds ttl,
      const call_options& options, function_ref<std::optional<std::string>()> load);

  std::shared_ptr<read_through> behind_;
};

}  // namespace soundhash::db
