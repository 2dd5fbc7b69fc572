#include <soundhash/db/core/error.hpp>
#include <soundhash/db/core/param.hpp>

namespace soundhash::db {
namespace {

/// What one field of PostgreSQL can hold (MaxAllocSize, src/include/utils/memutils.h).
constexpr std::size_t most_bytes = 0x3FFFFFFF;

}  // namespace

void params::require_size(std::size_t start) {
  if (buffer_.size() - start <= most_bytes) return;
  buffer_.resize(start);
  throw invalid_argument{"$" + std::to_string(slots_.size() + 1),
                         "the value has 1 GiB or more, which PostgreSQL cannot take"};
}

void params::finish_text(std::size_t start, form as) {
  require_size(start);
  const auto size = buffer_.size() - start;
  // The server would silently cut the value at the NUL.
  if (buffer_.find('\0', start) != std::string::npos) {
    buffer_.resize(start);
    throw invalid_argument{"$" + std::to_string(slots_.size() + 1),
                           "the text has a NUL byte, which PostgreSQL cannot store"};
  }
  buffer_.push_back('\0');
  slots_.push_back({start, size, as});
}

}  // namespace soundhash::db
