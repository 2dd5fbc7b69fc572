#pragma once

#include <string>
#include <utility>

namespace soundhash::db {

/// Text that must not appear in any output: there is no operator<< and no formatter.
class secret {
 public:
  secret() = default;
  explicit secret(std::string value) : value_{std::move(value)} {}
  /// The text itself; never log it.
  [[nodiscard]] const std::string& reveal() const noexcept { return value_; }
  [[nodiscard]] bool empty() const noexcept { return value_.empty(); }

 private:
  std::string value_;
};

}  // namespace soundhash::db
