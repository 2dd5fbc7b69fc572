#include <soundhash/db/observe/interceptor.hpp>

namespace soundhash::db {

interceptor::~interceptor() = default;

std::string_view to_string(statement_kind kind) noexcept {
  switch (kind) {
    case statement_kind::user:
      return "user";
    case statement_kind::transaction:
      return "transaction";
    case statement_kind::ping:
      return "ping";
    case statement_kind::migration:
      return "migration";
  }
  return "unknown";
}

}  // namespace soundhash::db
