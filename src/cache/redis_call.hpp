#pragma once

#include <cstdint>
#include <initializer_list>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <soundhash/db/core/deadline.hpp>

namespace soundhash::db::redis {

/// One command as it travels (RESP, https://redis.io/docs/reference/protocol-spec/): an array of
/// binary-safe arguments.
class command {
 public:
  command(std::initializer_list<std::string_view> arguments);
  /// Adds an argument.
  command& operator<<(std::string_view argument);
  command& operator<<(std::int64_t argument);

  [[nodiscard]] std::size_t size() const noexcept { return count_; }
  /// Appends the command to what is sent.
  void append_to(std::string& out) const;
  /// The arguments, for those who answer in Redis' place in tests.
  [[nodiscard]] std::vector<std::string> arguments() const;

 private:
  std::string body_;  // "$3\r\nGET\r\n…", without the array header
  std::size_t count_ = 0;
};

/// One answer, owned.
struct reply {
  enum class kind : unsigned char { nil, status, error, integer, text, array };
  kind what = kind::nil;
  std::string text{};  ///< of status, error ("WRONGPASS …") and text
  std::int64_t integer = 0;
  std::vector<reply> items{};

  [[nodiscard]] bool is_nil() const noexcept { return what == kind::nil; }
  [[nodiscard]] bool is_error() const noexcept { return what == kind::error; }
};

/// Something that answers commands: a client of a server, or a fake.
/// Thread safety: safe for concurrent use.
class caller {
 public:
  virtual ~caller() = default;

  /// False while the breaker is open: a call would answer nothing. Costs nanoseconds.
  [[nodiscard]] virtual bool available() const noexcept = 0;

  /// Sends the commands together, in order, and returns as many answers, in order. nullopt: no
  /// answer by `until` or within the client's budget, and some of the commands may have happened.
  /// Answers of the kind `error` are answers.
  [[nodiscard]] virtual std::optional<std::vector<reply>> call(std::span<const command> commands,
                                                               deadline until) = 0;

 protected:
  caller() = default;
  caller(const caller&) = default;
  caller& operator=(const caller&) = default;
};

}  // namespace soundhash::db::redis
