#include "cache/read_through.hpp"

#include <algorithm>
#include <cmath>
#include <random>
#include <vector>

#include "cache/early_refresh.hpp"
#include "cache/lifetime.hpp"
#include "cache/read_through_impl.hpp"
#include "cache/server_run.hpp"

namespace soundhash::db {
namespace {

using std::chrono::milliseconds;

constexpr int row_tags_outlive_values = 2;

/// Uniform in (0, 1]. Spreads load, decides nothing.
double random_share() {
  thread_local std::minstd_rand engine{std::random_device{}()};
  return 1.0 - std::generate_canonical<double, 24>(engine);
}

/// `life` ±10 %.
milliseconds jittered(milliseconds life) {
  const auto wanted = static_cast<double>(life.count()) * (0.9 + 0.2 * random_share());
  return milliseconds{std::max<std::int64_t>(1, std::llround(wanted))};
}

value_times::point to_milliseconds(std::chrono::system_clock::time_point at) {
  return std::chrono::floor<milliseconds>(at);
}

}  // namespace

// --- reading -------------------------------------------------------------------------------------

read_through::impl::reading read_through::impl::begin(const query& statement, std::string key,
                                                      const cached& how, read_sink& into) const {
  tag_set tags{tag_set::mode::read};
  how.tags(tags);
  const auto life = how.ttl > milliseconds{0} ? how.ttl : shortest_lifetime(options, tags);
  return {{statement, std::move(key), *server.keys(), tags}, life, into, near != nullptr};
}

/// Before anything is asked: what is dropped from here on takes the place away.
void read_through::impl::take_place(reading& of) const {
  if (!of.in_near) return;
  std::vector<std::string> tags;
  for (std::size_t i = 0; i < of.about.tags.size(); ++i) tags.emplace_back(of.about.tags.key(i));
  tags.push_back(server.keys()->value_tag(of.about.key));
  of.place = near->begin(tags);
}

void read_through::impl::load_only(read_sink& into, cache_answer why, function_ref<loaded()> load) {
  counters.answers.count(why);
  into.read(load().rows);
}

void read_through::impl::read(reading& of, const call_options& call, const beginning& begun,
                              function_ref<loaded()> load) {
  take_place(of);
  if (delivery_of_tags.must_bypass(of.about.tags.texts())) {
    return load_only(of.into, cache_answer::bypass, load);
  }
  const bool fresh = call.cache == cache_use::refresh;
  auto* const to = server.available();
  if (to == nullptr) return load_only(of.into, cache_answer::bypass, load);
  auto* const about = &of.about;
  if (!ask({&about, 1}, fresh ? ask_for::stamps : ask_for::values_and_stamps, row_tag_life, *to,
           call.until)) {
    return load_only(of.into, cache_answer::error, load);
  }
  if (!of.about.usable) return load_only(of.into, cache_answer::bypass, load);
  auto answer = fresh ? cache_answer::bypass : cache_answer::miss;
  if (try_hit(of, answer, [&] { return refresh(of, begun, load); })) return;
  counters.answers.count(answer);
  const auto fly = [&] { return load_and_fill(of, load); };
  const auto found =
      fresh ? fly().value : flights.run(flight_name(of, begun), begun.landings, call, fly);
  of.into.read(found->rows);
  if (found->from_primary) keep_near(of, life_of(found->rows, of.life));
}

/// False: it must be loaded, and `instead` says why.
bool read_through::impl::try_hit(reading& of, cache_answer& instead,
                                 function_ref<bool()> refresh_now) {
  if (!of.about.stored) return false;
  instead = cache_answer::stale_stamp;
  if (of.about.cold) return false;
  const auto size = of.about.stored->size();
  const auto found = size <= options.max_value_bytes
                         ? unseal(of.about.label(), std::move(*of.about.stored))
                         : unsealed{};
  if (found.outcome == unsealing::stale) return false;
  instead = cache_answer::miss;
  if (found.outcome == unsealing::malformed) {
    counters.decode_errors.fetch_add(1, std::memory_order_relaxed);
    return false;
  }
  const auto at = to_milliseconds(now());
  if (at >= found.times.expires) return false;
  if (refresh_early(at, found.times.expires, found.times.load, random_share()) && refresh_now()) {
    return true;
  }
  if (!read_hit(of, found)) return false;
  counters.saved(size, found.times.load);
  keep_near(of, found.times.expires - at);
  return true;
}

bool read_through::impl::read_hit(reading& of, const unsealed& found) {
  try {
    of.into.read(found.rows);
  } catch (const decode_error&) {
    // Another version of this library, or another struct, has put it there.
    counters.decode_errors.fetch_add(1, std::memory_order_relaxed);
    return false;
  }
  counters.answers.count(found.rows.empty() ? cache_answer::negative_hit : cache_answer::hit);
  return true;
}

/// One caller at a time loads a value anew that is still good; when it cannot, the value is.
bool read_through::impl::refresh(reading& of, const beginning& begun, function_ref<loaded()> load) {
  std::shared_ptr<const loaded> found;
  try {
    found = flights.run_alone(flight_name(of, begun), [&] { return load_and_fill(of, load); });
  } catch (const error&) {
    return false;
  }
  if (found == nullptr) return false;
  counters.early_refreshes.fetch_add(1, std::memory_order_relaxed);
  counters.answers.count(found->rows.empty() ? cache_answer::negative_hit : cache_answer::hit);
  of.into.read(found->rows);
  if (found->from_primary) keep_near(of, life_of(found->rows, of.life));
  return true;
}

std::string read_through::impl::flight_name(const reading& of, const beginning& begun) const {
  auto name = of.about.key;
  for (const auto& each : of.about.stamps) name.append(each.bytes());
  return name.append(std::to_string(begun.generation));
}

/// The stamps were taken before: the load must see all that was committed when they were.
flown<loaded> read_through::impl::load_and_fill(const reading& of, function_ref<loaded()> load) {
  const auto began = now();
  const auto start = std::chrono::steady_clock::now();
  const auto found = std::make_shared<const loaded>(load());
  const auto took = std::chrono::duration_cast<std::chrono::microseconds>(
      std::chrono::steady_clock::now() - start);
  if (!found->from_primary) return {found, 0, false};
  std::size_t size = 0;
  const auto set = store(of.about, of.life, found->rows, {began, took}, size);
  if (set) fill({&*set, 1});
  return {found, size, true};
}

// --- storing -------------------------------------------------------------------------------------

milliseconds read_through::impl::life_of_row_tags(const cache_options& options) {
  const milliseconds longest =
      std::max({options.ttl, options.channel_ttl, options.video_ttl, options.match_ttl});
  return row_tags_outlive_values * longest * 11 / 10;
}

milliseconds read_through::impl::life_of(const result& rows, milliseconds wanted) const {
  return rows.empty() ? std::min(options.negative_ttl, wanted) : wanted;
}

std::optional<redis::command> read_through::impl::store(const inquiry& about, milliseconds life,
                                                        const result& rows, const load_times& times,
                                                        std::size_t& size) {
  const auto lives = jittered(life_of(rows, life));
  const auto at = to_milliseconds(times.began);
  const auto sealed = seal(about.label(), {at, at + lives, times.took}, rows);
  size = sealed.size();
  if (size > options.max_value_bytes) {
    counters.fills.count(fill_end::too_large);
    return std::nullopt;
  }
  redis::command set{"SET", about.key, sealed, "PX"};
  return set << std::int64_t{lives.count()};
}

/// Returns how many were stored.
std::size_t read_through::impl::fill(std::span<const redis::command> stores) {
  auto* const to = server.available();
  const auto answers = to != nullptr ? to->call(stores, {}) : std::nullopt;
  std::size_t count = 0;
  for (std::size_t i = 0; i < stores.size(); ++i) {
    const bool stored = answers && i < answers->size() && !(*answers)[i].is_error();
    counters.fills.count(stored ? fill_end::stored : fill_end::failed);
    count += stored ? 1U : 0U;
  }
  return count;
}

void read_through::impl::keep_near(const reading& of, milliseconds life) {
  if (of.in_near) near->fill(of.about.key, of.place, of.into, life);
}

// --- writing -------------------------------------------------------------------------------------

bool read_through::impl::tell(const tag_set* changed, function_ref<bool()> say) noexcept {
  bool done = false;
  try {
    done = say();
  } catch (...) {
    delivery_of_tags.lose();
    changed = nullptr;
  }
  forget_near(changed);
  generation.fetch_add(1, std::memory_order_acq_rel);
  return done;
}

/// All, when it is not known what changed.
void read_through::impl::forget_near(const tag_set* changed) noexcept {
  if (near == nullptr) return;
  try {
    const auto* const keys = server.keys();
    if (changed == nullptr || keys == nullptr) return near->flush();
    for (const auto& tag : changed->tags()) near->drop(keys->tag(tag));
  } catch (...) {
    near->flush();
  }
}

// --- the class -----------------------------------------------------------------------------------

read_through::read_through(const cache_options& options, parts with)
    : impl_{std::make_unique<impl>(options, std::move(with))} {}
read_through::~read_through() {
  impl_->server.close();
}

void read_through::name_space(std::string_view name) {
  impl_->server.name(name);
}

void read_through::attach(std::shared_ptr<redis::caller> server) {
  impl_->server.attach(std::move(server));
}

bool read_through::before_use(redis::caller& session, deadline until) {
  const auto* const keys = impl_->server.keys();
  return keys != nullptr && meet_server(session, *keys, until) &&
         impl_->delivery_of_tags.resend(session, until);
}

void read_through::resume() noexcept {
  try {
    impl_->delivery_of_tags.resume();
  } catch (...) {
    // No memory now: the next use sends again.
  }
}

void read_through::read(const query& statement, const params& values, const call_options& options,
                        const cached& how, read_sink& into, function_ref<loaded()> load) {
  const auto* const keys = impl_->server.keys();
  if (options.cache == cache_use::bypass || keys == nullptr) {
    return impl_->load_only(into, cache_answer::bypass, load);
  }
  const auto begun = impl_->begin_now();
  auto key = keys->rows(statement, values);
  if (options.cache == cache_use::standard && impl_->near != nullptr &&
      impl_->near->find(key, into)) {
    return impl_->counters.answers.count(cache_answer::near_hit);
  }
  if (key.size() > impl::most_key_bytes || impl_->server.available() == nullptr) {
    return impl_->load_only(into, cache_answer::bypass, load);
  }
  auto reading = impl_->begin(statement, std::move(key), how, into);
  impl_->read(reading, options, begun, load);
}

bool read_through::strict() const noexcept {
  return impl_->options.strict != cache_strictness::off;
}

bool read_through::announce(const tag_set& changed) noexcept {
  bool done = false;
  try {
    done = impl_->delivery_of_tags.announce(changed);
  } catch (...) {
    done = false;  // no memory: not announced
  }
  return done || impl_->options.strict != cache_strictness::fail_closed;
}

void read_through::committed(const tag_set& changed) noexcept {
  if (changed.empty()) return;
  impl_->tell(&changed, [&] { return impl_->delivery_of_tags.committed(changed); });
}

void read_through::in_doubt(const tag_set& changed) noexcept {
  if (changed.empty()) return;
  impl_->tell(&changed, [&] { return impl_->delivery_of_tags.in_doubt(changed); });
}

void read_through::rolled_back(const tag_set& changed) noexcept {
  try {
    (void)impl_->delivery_of_tags.rolled_back(changed);
  } catch (...) {
    // No memory: the marks end by themselves.
  }
}

bool read_through::drop(const tag_set& tags) noexcept {
  if (tags.empty()) return true;
  return impl_->tell(&tags, [&] { return impl_->delivery_of_tags.drop(tags); });
}

void read_through::add_figures(std::vector<figure>& out) const {
  impl_->counters.add_figures(out);
  out.push_back({"soundhash_cache_single_flight_joins_total", "",
                 static_cast<double>(impl_->flights.joins()), true,
                 "Reads that waited for the load of another"});
  out.push_back({"soundhash_cache_undelivered_tags", "",
                 static_cast<double>(impl_->delivery_of_tags.undelivered()), false,
                 "Tags whose invalidation Redis has not acknowledged"});
}

}  // namespace soundhash::db
