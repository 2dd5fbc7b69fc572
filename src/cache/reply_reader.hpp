#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <string_view>

#include "cache/redis_call.hpp"

struct redisReader;  // hiredis' NOLINT(readability-identifier-naming)

namespace soundhash::db::redis {

/// How much of one answer is believed. A server that says more is not ours.
struct reply_limits {
  /// Of a single text: the largest value that may be cached, and its header.
  std::size_t text_bytes = (std::size_t{64} << 20U) + (std::size_t{64} << 10U);
  /// Of all texts of an answer together.
  std::size_t total_bytes = std::size_t{256} << 20U;
  /// Elements of all arrays of an answer together.
  std::size_t elements = std::size_t{1} << 20U;
};

/// Answers out of bytes, by hiredis' parser. Memory grows with the bytes that came, never with what
/// they announce; arrays nest at most seven deep.
/// Thread safety: one thread at a time.
class reply_reader {
 public:
  explicit reply_reader(reply_limits limits = {});
  ~reply_reader();
  reply_reader(const reply_reader&) = delete;
  reply_reader& operator=(const reply_reader&) = delete;

  void feed(std::string_view bytes);
  /// The next answer; nullopt: more bytes are needed.
  /// Throws: link_error when the bytes are no answer, or too large a one; also at each later call.
  [[nodiscard]] std::optional<reply> next();

 private:
  struct under_way;
  struct freed {
    void operator()(redisReader* reader) const noexcept;
  };
  [[noreturn]] void refuse() const;

  std::unique_ptr<under_way> under_way_;
  std::unique_ptr<redisReader, freed> reader_;
};

}  // namespace soundhash::db::redis
