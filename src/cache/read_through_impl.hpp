#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>

#include "cache/cache_counters.hpp"
#include "cache/cache_server.hpp"
#include "cache/envelope.hpp"
#include "cache/inquiry.hpp"
#include "cache/near_cache.hpp"
#include "cache/read_through.hpp"
#include "cache/single_flight.hpp"
#include "cache/tag_delivery.hpp"

namespace soundhash::db {

struct read_through::impl {
  using milliseconds = std::chrono::milliseconds;

  /// Longer ones are not worth it, and their reads do without the cache.
  static constexpr std::size_t most_key_bytes = 4096;

  /// A read under way.
  struct reading {
    inquiry about;
    milliseconds life;
    read_sink& into;
    bool in_near = false;  // may the near cache have it?
    near_cache::place place{};
  };
  /// When a load began, by the clock of the values' lifetimes, and how long it took. What it read
  /// may have been changed since it began, so lifetimes count from there.
  struct load_times {
    std::chrono::system_clock::time_point began;
    std::chrono::microseconds took;
  };
  /// What holds for a read since it began.
  struct beginning {
    std::uint64_t generation;
    single_flight<loaded>::moment landings;
  };

  impl(const cache_options& wanted, parts with)
      : options{wanted},
        open_session{std::move(with.open_session)},
        near{std::move(with.near)},
        now{with.now},
        row_tag_life{life_of_row_tags(wanted)},
        delivery_of_tags{server, counters, with.doubt_ttl, with.resend_pause} {
    if (!options.name_space.empty()) server.name(options.name_space);
  }

  // --- reading

  void read(reading& of, const call_options& call, const beginning& begun,
            function_ref<loaded()> load);
  void load_only(read_sink& into, cache_answer why, function_ref<loaded()> load);
  [[nodiscard]] reading begin(const query& statement, std::string key, const cached& how,
                              read_sink& into) const;
  void take_place(reading& of) const;
  [[nodiscard]] bool try_hit(reading& of, cache_answer& instead, function_ref<bool()> refresh_now);
  [[nodiscard]] bool read_hit(reading& of, const unsealed& found);
  [[nodiscard]] bool refresh(reading& of, const beginning& begun, function_ref<loaded()> load);
  [[nodiscard]] flown<loaded> load_and_fill(const reading& of, function_ref<loaded()> load);
  [[nodiscard]] std::string flight_name(const reading& of, const beginning& begun) const;

  // --- storing

  [[nodiscard]] std::optional<redis::command> store(const inquiry& about, milliseconds life,
                                                    const result& rows, const load_times& times,
                                                    std::size_t& size);
  std::size_t fill(std::span<const redis::command> stores);
  void keep_near(const reading& of, milliseconds life);
  [[nodiscard]] milliseconds life_of(const result& rows, milliseconds wanted) const;
  [[nodiscard]] static milliseconds life_of_row_tags(const cache_options& options);

  // --- writing

  /// Whatever happens, the writer's next read must see its write.
  bool tell(const tag_set* changed, function_ref<bool()> say) noexcept;
  void forget_near(const tag_set* changed) noexcept;

  [[nodiscard]] beginning begin_now() const noexcept {
    return {generation.load(std::memory_order_acquire), flights.now()};
  }

  cache_options options;
  std::function<std::unique_ptr<redis::caller>(deadline)> open_session;
  std::shared_ptr<near_cache> near;
  wall_clock now;
  milliseconds row_tag_life;
  cache_counters counters;
  single_flight<loaded> flights;
  /// Moves with every write, so that nobody joins a load that began before its own write.
  std::atomic<std::uint64_t> generation{0};
  cache_server server;  // its threads use what is above, and what is below only by calls
  tag_delivery delivery_of_tags;
};

}  // namespace soundhash::db
