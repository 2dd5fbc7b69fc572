#include <algorithm>
#include <string>
#include <vector>

#include "cache/pattern_clear.hpp"
#include "cache/read_through.hpp"
#include "cache/read_through_impl.hpp"

// What a service keeps under names of its own: rows of one cell, or of none when it is known that
// there is nothing.
namespace soundhash::db {
namespace {

constexpr query named_value{"cache.value", "bytes that a service named", access::read_only};
constexpr std::size_t most_name_bytes = 1024;

bool is_name(std::string_view key) {
  return !key.empty() && key.size() <= most_name_bytes;
}

result rows_of(std::optional<std::string> value) {
  auto keep = std::make_unique<std::string>(value ? std::move(*value) : std::string{});
  std::vector<detail::cell> cells;
  if (value) cells.push_back({keep->data(), static_cast<std::int32_t>(keep->size())});
  return {
      named_value.name(), std::vector<column_info>{{"value", oid::bytea}}, std::move(cells), 0,
      result::storage{keep.release(), [](void* kept) { delete static_cast<std::string*>(kept); }}};
}

/// Takes the bytes out of what rows_of made.
class bytes_sink final : public read_sink {
 public:
  explicit bytes_sink(std::optional<std::string>& into) : into_{&into} {}
  void read(const result& rows) override {
    into_->reset();
    if (!rows.empty()) into_->emplace(rows[0][0].bytes());
  }
  // Named values stay out of the near cache.
  void copy(const void*) override {}
  [[nodiscard]] std::shared_ptr<const void> share() const override { return nullptr; }
  [[nodiscard]] const void* type() const noexcept override { return nullptr; }

 private:
  std::optional<std::string>* into_;
};

constexpr auto no_tags = [](tag_set&) {};

}  // namespace

std::vector<std::optional<std::string>> read_through::get(std::span<const std::string_view> keys) {
  std::vector<std::optional<std::string>> values(keys.size());
  std::vector<bytes_sink> sinks;
  for (auto& value : values) sinks.emplace_back(value);
  std::vector<impl::reading> readings;
  const auto* const names = impl_->server.keys();
  auto* const to = impl_->server.available();
  if (to == nullptr) return values;
  for (std::size_t i = 0; i < keys.size(); ++i) {
    if (!is_name(keys[i])) continue;
    readings.push_back(
        impl_->begin(named_value, names->named(keys[i]), {.ttl = {}, .tags = no_tags}, sinks[i]));
    readings.back().in_near = false;
  }
  std::vector<inquiry*> about;
  for (auto& each : readings) about.push_back(&each.about);
  if (about.empty() || impl_->delivery_of_tags.must_bypass(about[0]->tags.texts())) return values;
  if (!ask(about, ask_for::values_and_stamps, impl_->row_tag_life, *to, {})) return values;
  for (auto& each : readings) {
    auto instead = cache_answer::miss;
    if (!each.about.usable || !impl_->try_hit(each, instead, [] { return false; })) {
      impl_->counters.answers.count(instead);
    }
  }
  return values;
}

bool read_through::set(std::string_view key, std::string_view value,
                       std::chrono::milliseconds ttl) {
  auto* const to = impl_->server.available();
  if (to == nullptr || !is_name(key)) return false;
  std::optional<std::string> unused;
  bytes_sink sink{unused};
  auto of = impl_->begin(named_value, impl_->server.keys()->named(key),
                         {.ttl = ttl, .tags = no_tags}, sink);
  auto* const about = &of.about;
  if (impl_->delivery_of_tags.must_bypass(about->tags.texts())) return false;
  if (!ask({&about, 1}, ask_for::stamps, impl_->row_tag_life, *to, {}) || !about->usable) {
    return false;
  }
  std::size_t size = 0;
  const auto store =
      impl_->store(*about, of.life, rows_of(std::string{value}), {impl_->now(), {}}, size);
  return store && impl_->fill({&*store, 1}) == 1;
}

bool read_through::del(std::string_view key) {
  auto* const to = impl_->server.available();
  if (to == nullptr || !is_name(key)) return false;
  const redis::command unlink{"UNLINK", impl_->server.keys()->named(key)};
  const auto answers = to->call({&unlink, 1}, {});
  // Who asks from here on does not join a load that began before.
  impl_->generation.fetch_add(1, std::memory_order_acq_rel);
  return answers && answers->size() == 1 && !answers->front().is_error();
}

bool read_through::clear() noexcept {
  return impl_->tell(nullptr, [&] { return impl_->delivery_of_tags.drop_all(); });
}

std::optional<std::size_t> read_through::clear(std::string_view pattern, deadline until) {
  const auto* const keys = impl_->server.keys();
  if (keys == nullptr || !impl_->open_session) return std::nullopt;
  const auto session = impl_->open_session(until);
  if (session == nullptr || !session->available()) return std::nullopt;
  const auto deleted = clear_pattern(*session, *keys, pattern, until);
  impl_->forget_near(nullptr);
  impl_->generation.fetch_add(1, std::memory_order_acq_rel);
  return deleted;
}

std::optional<std::string> read_through::wrapped(std::string_view key, const tag_set& tags,
                                                 std::chrono::milliseconds ttl,
                                                 const call_options& options,
                                                 function_ref<std::optional<std::string>()> load) {
  const auto begun = impl_->begin_now();
  if (options.cache == cache_use::bypass || !is_name(key) || impl_->server.available() == nullptr) {
    impl_->counters.answers.count(cache_answer::bypass);
    return load();
  }
  std::optional<std::string> value;
  bytes_sink sink{value};
  const auto depends = [&](tag_set& into) { into.add(tags); };
  auto of = impl_->begin(named_value, impl_->server.keys()->named(key),
                         {.ttl = ttl, .tags = depends}, sink);
  of.in_near = false;
  impl_->read(of, options, begun, [&] { return loaded{rows_of(load())}; });
  return value;
}

}  // namespace soundhash::db
