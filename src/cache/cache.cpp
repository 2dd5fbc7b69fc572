#include <soundhash/db/cache/cache.hpp>

#include "cache/read_through.hpp"

namespace soundhash::db {

cache::cache() noexcept = default;
cache::cache(std::shared_ptr<read_through> behind) noexcept : behind_{std::move(behind)} {}
cache::cache(const cache&) = default;
cache& cache::operator=(const cache&) = default;
cache::cache(cache&&) noexcept = default;
cache& cache::operator=(cache&&) noexcept = default;
cache::~cache() = default;

bool cache::enabled() const noexcept {
  return behind_ != nullptr;
}

std::optional<std::string> cache::get(std::string_view key) const {
  return std::move(get(std::span{&key, 1}).front());
}

std::vector<std::optional<std::string>> cache::get(std::span<const std::string_view> keys) const {
  return enabled() ? behind_->get(keys) : std::vector<std::optional<std::string>>(keys.size());
}

bool cache::set(std::string_view key, std::string_view value, std::chrono::milliseconds ttl) {
  return enabled() && behind_->set(key, value, ttl);
}

bool cache::del(std::string_view key) {
  return enabled() && behind_->del(key);
}

bool cache::clear() noexcept {
  return enabled() && behind_->clear();
}

std::optional<std::size_t> cache::clear(std::string_view pattern, deadline until) {
  return enabled() ? behind_->clear(pattern, until) : 0;
}

bool cache::invalidate(const tag_set& tags) noexcept {
  return enabled() && behind_->drop(tags);
}

bool cache::invalidate(cache_tag tag) {
  tag_set tags{tag_set::mode::write};
  tags.add(std::move(tag));
  return invalidate(tags);
}

std::optional<std::string> cache::run_cached(std::string_view key, const tag_set& tags,
                                             std::chrono::milliseconds ttl,
                                             const call_options& options,
                                             function_ref<std::optional<std::string>()> load) {
  return enabled() ? behind_->wrapped(key, tags, ttl, options, load) : load();
}

}  // namespace soundhash::db
