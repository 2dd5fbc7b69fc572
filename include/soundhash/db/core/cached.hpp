#pragma once

#include <chrono>
#include <memory>

#include <soundhash/db/core/cache_tag.hpp>
#include <soundhash/db/core/function_ref.hpp>
#include <soundhash/db/core/result.hpp>

namespace soundhash::db {

/// How one read may be answered from the cache.
struct cached {
  /// Lifetime of the value; zero: `cache_options::ttl`.
  std::chrono::milliseconds ttl{0};
  /// Adds the tags of what the statement reads, which its arguments must determine: absent rows
  /// are cached too. Called only when the cache is asked. Every table that is read needs a tag.
  function_ref<void(tag_set&)> tags;
};

/// Where the outcome of a cached read goes: as rows, or as a value that a cache has kept decoded.
class read_sink {
 public:
  /// Decodes rows into the destination. Throws: decode_error, cardinality_error.
  virtual void read(const result& rows) = 0;
  /// Copies a value that `share()` of a sink with the same `type()` gave.
  virtual void copy(const void* value) = 0;
  /// A copy of the destination, after `read`.
  [[nodiscard]] virtual std::shared_ptr<const void> share() const = 0;
  /// Identifies the C++ type of the destination.
  [[nodiscard]] virtual const void* type() const noexcept = 0;

 protected:
  read_sink() = default;
  ~read_sink() = default;
  read_sink(const read_sink&) = default;
  read_sink& operator=(const read_sink&) = default;
};

namespace detail {

template <class Value>
inline constexpr char type_mark{};

/// Fills `into`; `decode(rows, into)` reads rows.
template <class Value, class Decode>
class value_sink final : public read_sink {
 public:
  value_sink(Value& into, Decode decode) : into_{&into}, decode_{decode} {}
  void read(const result& rows) override { decode_(rows, *into_); }
  void copy(const void* value) override { *into_ = *static_cast<const Value*>(value); }
  [[nodiscard]] std::shared_ptr<const void> share() const override {
    return std::make_shared<const Value>(*into_);
  }
  [[nodiscard]] const void* type() const noexcept override { return &type_mark<Value>; }

 private:
  Value* into_;
  Decode decode_;
};

}  // namespace detail
}  // namespace soundhash::db
