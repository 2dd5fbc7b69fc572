#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "migrate/session.hpp"

namespace soundhash::db::migrate {

/// What a set of Alembic revisions amounts to here.
struct alembic_state {
  std::int64_t version = 0;  ///< of our files, 0 for none
  bool tenants = false;      ///< tenant_id was added (3008b188cd54)
};

/// All rows of the table alembic_version, sorted; there may be several heads. None when there is no
/// such table.
std::vector<std::string> read_alembic_revisions(session& on);

/// The state after these revisions and everything that goes before them, by a copy of the
/// revision graph of the Python services.
/// Throws: migration_error{migration_mismatch} for an unknown revision.
alembic_state resolve_alembic(const std::vector<std::string>& revisions);

}  // namespace soundhash::db::migrate
