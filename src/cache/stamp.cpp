#include "cache/stamp.hpp"

#include <cerrno>
#include <cstring>
#include <system_error>

#include <unistd.h>

namespace soundhash::db {

stamp stamp::random() {
  stamp made;
  if (::getentropy(made.bytes_.data(), size) != 0) {
    throw std::system_error{errno, std::generic_category(), "no random bytes for the cache"};
  }
  return made;
}

std::optional<stamp> stamp::from(std::string_view bytes) noexcept {
  if (bytes.size() != size) return std::nullopt;
  stamp read;
  std::memcpy(read.bytes_.data(), bytes.data(), size);
  return read;
}

}  // namespace soundhash::db
