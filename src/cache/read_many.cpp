#include <vector>

#include <soundhash/db/core/error.hpp>

#include "cache/read_through.hpp"
#include "cache/read_through_impl.hpp"

namespace soundhash::db {
namespace {

std::vector<loaded> load_all(std::span<const std::size_t> missed,
                             function_ref<std::vector<loaded>(std::span<const std::size_t>)> load) {
  auto found = load(missed);
  if (found.size() == missed.size()) return found;
  throw invalid_argument{"load", "returned " + std::to_string(found.size()) + " results for " +
                                     std::to_string(missed.size()) + " reads"};
}

}  // namespace

/// Reads of one call, those that the cache answers and those that must be loaded.
class read_through::batch {
 public:
  batch(impl& of, std::span<const request> requests, const call_options& options)
      : of_{of}, requests_{requests}, options_{options}, readings_(requests.size()) {}

  void ask_cache() {
    for (std::size_t i = 0; i < requests_.size(); ++i) prepare(i);
    ask_redis();
    for (std::size_t i = 0; i < requests_.size(); ++i) {
      if (!answered(i)) missed_.push_back(i);
    }
  }

  void load(function_ref<std::vector<loaded>(std::span<const std::size_t>)> load) {
    if (missed_.empty()) return;
    const auto began = of_.now();
    const auto start = std::chrono::steady_clock::now();
    const auto found = load_all(missed_, load);
    const auto each = std::chrono::duration_cast<std::chrono::microseconds>(
                          std::chrono::steady_clock::now() - start) /
                      static_cast<std::int64_t>(missed_.size());
    std::vector<redis::command> stores;
    for (std::size_t i = 0; i < missed_.size(); ++i) {
      store(missed_[i], found[i], {began, each}, stores);
    }
    if (!stores.empty()) of_.fill(stores);
    for (std::size_t i = 0; i < missed_.size(); ++i) deliver(missed_[i], found[i]);
  }

 private:
  struct one {
    std::optional<impl::reading> reading{};  // when Redis is to be asked
    cache_answer instead = cache_answer::bypass;
    bool done = false;
  };

  void prepare(std::size_t i) {
    const auto& wanted = requests_[i];
    const auto* const keys = of_.server.keys();
    if (options_.cache == cache_use::bypass || keys == nullptr) return;
    auto key = keys->rows(wanted.statement, wanted.values);
    if (options_.cache == cache_use::standard && of_.near && of_.near->find(key, wanted.into)) {
      of_.counters.answers.count(cache_answer::near_hit);
      readings_[i].done = true;
      return;
    }
    if (key.size() > impl::most_key_bytes || of_.server.available() == nullptr) return;
    auto reading = of_.begin(wanted.statement, std::move(key), wanted.how, wanted.into);
    of_.take_place(reading);
    if (of_.delivery_of_tags.must_bypass(reading.about.tags.texts())) return;
    readings_[i].reading.emplace(std::move(reading));
  }

  void ask_redis() {
    std::vector<inquiry*> about;
    for (auto& each : readings_) {
      if (each.reading) about.push_back(&each.reading->about);
    }
    auto* const to = of_.server.available();
    if (about.empty()) return;
    const auto what =
        options_.cache == cache_use::refresh ? ask_for::stamps : ask_for::values_and_stamps;
    if (to != nullptr && ask(about, what, of_.row_tag_life, *to, options_.until)) return;
    for (auto& each : readings_) {
      if (each.reading) each.instead = cache_answer::error;
      each.reading.reset();
    }
  }

  bool answered(std::size_t i) {
    auto& each = readings_[i];
    if (each.done) return true;
    if (each.reading && !each.reading->about.usable) each.reading.reset();
    if (each.reading) {
      if (options_.cache == cache_use::standard) each.instead = cache_answer::miss;
      if (of_.try_hit(*each.reading, each.instead, [] { return false; })) return true;
    }
    of_.counters.answers.count(each.instead);
    return false;
  }

  void store(std::size_t i, const loaded& found, const impl::load_times& times,
             std::vector<redis::command>& out) {
    const auto& reading = readings_[i].reading;
    if (!reading || !found.from_primary) return;
    std::size_t size = 0;
    auto set = of_.store(reading->about, reading->life, found.rows, times, size);
    if (set) out.push_back(std::move(*set));
  }

  void deliver(std::size_t i, const loaded& found) {
    requests_[i].into.read(found.rows);
    const auto& reading = readings_[i].reading;
    if (!reading || !found.from_primary) return;
    of_.keep_near(*reading, of_.life_of(found.rows, reading->life));
  }

  impl& of_;
  std::span<const request> requests_;
  const call_options& options_;
  std::vector<one> readings_;
  std::vector<std::size_t> missed_;
};

void read_through::read_many(std::span<const request> requests, const call_options& options,
                             function_ref<std::vector<loaded>(std::span<const std::size_t>)> load) {
  batch all{*impl_, requests, options};
  all.ask_cache();
  all.load(load);
}

}  // namespace soundhash::db
