#pragma once

#include <vector>

#include "driver/connection.hpp"

namespace soundhash::db::driver {

/// libpq's name for the binary format of a value or a result.
inline constexpr int binary_format = 1;

/// The values of a statement as libpq's three parallel arrays. Lifetime: that of the values.
class bound_values {
 public:
  /// Throws: invalid_argument when there are more than the protocol can count.
  explicit bound_values(const statement& of);

  [[nodiscard]] int count() const noexcept { return static_cast<int>(data_.size()); }
  [[nodiscard]] const char* const* data() const noexcept { return data_.data(); }
  [[nodiscard]] const int* sizes() const noexcept { return sizes_.data(); }
  [[nodiscard]] const int* formats() const noexcept { return formats_.data(); }

 private:
  std::vector<const char*> data_;
  std::vector<int> sizes_;
  std::vector<int> formats_;
};

}  // namespace soundhash::db::driver
