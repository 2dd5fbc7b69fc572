#include "testing/temporary_directory.hpp"

#include <cerrno>
#include <cstdlib>
#include <string>
#include <system_error>

#include <unistd.h>

namespace soundhash::db::testing {

temporary_directory::temporary_directory(std::string_view prefix,
                                         const std::optional<unprivileged_user>& owner) {
  auto name = (std::filesystem::temp_directory_path() / prefix).string() + "XXXXXX";
  if (mkdtemp(name.data()) == nullptr) {
    throw std::system_error{errno, std::generic_category(), "cannot make " + name};
  }
  path_ = name;
  if (owner && chown(name.c_str(), owner->uid, owner->gid) != 0) {
    throw std::system_error{errno, std::generic_category(), "cannot give away " + name};
  }
}

temporary_directory::~temporary_directory() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

}  // namespace soundhash::db::testing
