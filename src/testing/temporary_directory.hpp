#pragma once

#include <filesystem>
#include <optional>
#include <string_view>

#include "testing/child_process.hpp"

namespace soundhash::db::testing {

/// A directory that only its user can enter, removed with everything in it.
class temporary_directory {
 public:
  /// Throws: std::system_error.
  temporary_directory(std::string_view prefix, const std::optional<unprivileged_user>& owner);
  ~temporary_directory();
  temporary_directory(const temporary_directory&) = delete;
  temporary_directory& operator=(const temporary_directory&) = delete;

  [[nodiscard]] const std::filesystem::path& path() const noexcept { return path_; }

 private:
  std::filesystem::path path_;
};

}  // namespace soundhash::db::testing
