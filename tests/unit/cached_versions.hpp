#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <soundhash/db/cache/cache_options.hpp>
#include <soundhash/db/core/cached.hpp>
#include <soundhash/db/testing/rows.hpp>

#include "cache/key_space.hpp"
#include "cache/near_cache.hpp"
#include "cache/read_through.hpp"
#include "support/fake_redis.hpp"

namespace soundhash::db::test {

inline constexpr query find_item{"item.find", "SELECT version FROM items WHERE id = $1",
                                 access::read_only};

/// A database of one table, whose rows have versions.
struct fake_items {
  std::map<int, std::int64_t> versions;
  int loads = 0;

  [[nodiscard]] result read(int id) {
    ++loads;
    testing::rows found{"version"};
    if (versions.contains(id)) found.add(versions[id]);
    return found.build(find_item.name());
  }
};

/// The wall clock of all processes.
struct wall {
  static inline std::atomic<std::int64_t> milliseconds{1'700'000'000'000};
  static std::chrono::system_clock::time_point now() noexcept {
    return std::chrono::system_clock::time_point{std::chrono::milliseconds{milliseconds.load()}};
  }
};

/// A process of a service: its cache, and its connection to Redis.
class process {
 public:
  struct setup {
    std::string name_space = "test";
    cache_strictness strict = cache_strictness::off;
    std::size_t near_entries = 0;
    std::size_t max_value_bytes = std::size_t{1} << 20U;
  };

  process(fake_store& redis, fake_items& items) : process{redis, items, setup{}} {}
  process(fake_store& redis, fake_items& items, const setup& with)
      : store_{redis}, items_{items}, link{std::make_shared<fake_redis>(redis)} {
    cache_options options;
    options.enabled = true;
    options.name_space = with.name_space;
    options.strict = with.strict;
    options.max_value_bytes = with.max_value_bytes;
    if (with.near_entries > 0) {
      near = std::make_shared<near_cache>(near_cache_options{.entries = with.near_entries});
      near->trust(near_cache::clock::now() + std::chrono::hours{1});
    }
    through = std::make_shared<read_through>(
        options, read_through::parts{.doubt_ttl = std::chrono::seconds{60},
                                     .open_session = [this](deadline) { return open(); },
                                     .near = near,
                                     .resend_pause = std::chrono::milliseconds{0},
                                     .now = &wall::now});
    through->attach(link);
  }

  static auto sink_of(std::optional<std::int64_t>& into) {
    const auto decode = [](const result& rows, std::optional<std::int64_t>& value) {
      value.reset();
      if (!rows.empty()) value = rows[0][0].as<std::int64_t>();
    };
    return detail::value_sink<std::optional<std::int64_t>, decltype(decode)>{into, decode};
  }

  /// Reads the item's version through the cache. `during` happens between the load's read of the
  /// database and the fill.
  std::optional<std::int64_t> read(int id, const std::function<void()>& during = {},
                                   const call_options& options = {}) {
    return read_by(id, options, [&] {
      auto rows = items_.read(id);
      if (during) during();
      return loaded{std::move(rows)};
    });
  }

  std::optional<std::int64_t> read_by(int id, const call_options& options,
                                      function_ref<loaded()> load) {
    std::optional<std::int64_t> found;
    auto sink = sink_of(found);
    const auto tags = [&](tag_set& into) { into.add_row("items", "id", id); };
    through->read(find_item, {id}, options, {.ttl = {}, .tags = tags}, sink, load);
    return found;
  }

  [[nodiscard]] static tag_set changes(int id) {
    tag_set changed{tag_set::mode::write};
    changed.add_any("items");
    changed.add_row("items", "id", id);
    return changed;
  }

  /// A write that commits, and says so.
  void write(int id, std::int64_t version) {
    items_.versions[id] = version;
    through->committed(changes(id));
  }

  [[nodiscard]] double figure_of(std::string_view name, std::string_view labels = {}) const {
    std::vector<figure> all;
    through->add_figures(all);
    for (const auto& each : all) {
      if (each.name == name && (labels.empty() || each.labels == labels)) return each.value;
    }
    return -1;
  }
  [[nodiscard]] double answers(std::string_view result) const {
    return figure_of("soundhash_cache_requests_total",
                     std::string{"result=\""}.append(result).append("\""));
  }

 private:
  std::unique_ptr<redis::caller> open() { return std::make_unique<fake_redis>(store_); }

  fake_store& store_;
  fake_items& items_;

 public:
  std::shared_ptr<fake_redis> link;
  std::shared_ptr<near_cache> near;
  std::shared_ptr<read_through> through;
};

[[nodiscard]] inline std::string item_key(int id, const std::string& name_space = "test") {
  return key_space{name_space}.rows(find_item, {id});
}
[[nodiscard]] inline std::string item_tag(int id, const std::string& name_space = "test") {
  return key_space{name_space}.tag(cache_tag::row("items", "id", id));
}

}  // namespace soundhash::db::test
