#pragma once

#include <span>
#include <string_view>

namespace soundhash::db::migrate {

struct embedded_file {
  std::string_view name;
  std::string_view text;
};

/// The folder `migrations/` at build time; defined by a generated file, see
/// cmake/embed_migrations.cmake. Lives for ever.
std::span<const embedded_file> embedded_files() noexcept;

}  // namespace soundhash::db::migrate
