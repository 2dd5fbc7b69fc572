#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <soundhash/db/cache/cache_options.hpp>

namespace soundhash::db::test {

/// Answers like a Redis server what it is told to, byte by byte: for what a real one never says.
/// Thread safety: safe for concurrent use.
class scripted_redis {
 public:
  using arguments = std::vector<std::string>;
  /// Bytes to answer a command with; empty: silence; nullopt: hang up. Called on a thread for each
  /// connection.
  using script = std::function<std::optional<std::string>(const arguments&)>;

  explicit scripted_redis(script say);
  ~scripted_redis();
  scripted_redis(const scripted_redis&) = delete;
  scripted_redis& operator=(const scripted_redis&) = delete;

  [[nodiscard]] cache_options options() const;
  /// All commands so far, their arguments joined by blanks.
  [[nodiscard]] std::vector<std::string> heard() const;

  /// What a master says while a client introduces itself; nullopt: this is no such command.
  [[nodiscard]] static std::optional<std::string> greeting(const arguments& said);

 private:
  struct impl;
  std::unique_ptr<impl> state_;
};

}  // namespace soundhash::db::test
