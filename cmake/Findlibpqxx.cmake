# Finds libpqxx 6.4 or later and defines libpqxx::pqxx, as libpqxx 8 does itself. Debian ships a
# pkg-config file only, and it names no libpq.
find_package(libpqxx ${libpqxx_FIND_VERSION} CONFIG QUIET)
if(TARGET libpqxx::pqxx)
  set(libpqxx_FOUND TRUE)
  return()
endif()

find_package(PkgConfig QUIET)
if(PkgConfig_FOUND)
  pkg_check_modules(PC_libpqxx QUIET libpqxx)
endif()
find_path(libpqxx_INCLUDE_DIR pqxx/pqxx HINTS ${PC_libpqxx_INCLUDE_DIRS})
find_library(libpqxx_LIBRARY NAMES pqxx HINTS ${PC_libpqxx_LIBRARY_DIRS})
set(libpqxx_VERSION ${PC_libpqxx_VERSION})

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(
  libpqxx
  REQUIRED_VARS libpqxx_LIBRARY libpqxx_INCLUDE_DIR
  VERSION_VAR libpqxx_VERSION)
mark_as_advanced(libpqxx_INCLUDE_DIR libpqxx_LIBRARY)

if(libpqxx_FOUND)
  find_package(PostgreSQL REQUIRED)
  add_library(libpqxx::pqxx UNKNOWN IMPORTED)
  set_target_properties(
    libpqxx::pqxx
    PROPERTIES IMPORTED_LOCATION "${libpqxx_LIBRARY}"
               INTERFACE_INCLUDE_DIRECTORIES "${libpqxx_INCLUDE_DIR}"
               INTERFACE_LINK_LIBRARIES PostgreSQL::PostgreSQL)
endif()
