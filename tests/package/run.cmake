# Builds, installs and moves the library, then builds and runs a program that uses it.
#   KIND       shared, static: installed as such; subdirectory: by add_subdirectory, and without the
#              Redis client, so that this build is tried too and costs none of its own
#   SOURCE     the library's source tree
#   BUILD      a static build of it, which `static` installs instead of building once more
#   WORK       build trees go here and are used again the next time
#   GENERATOR, COMPILER, LAUNCHER, BUILD_TYPE, FLAGS, WERROR   those of BUILD: with the same flags a
#              compiler cache has most objects already
cmake_minimum_required(VERSION 3.25)

function(run)
  execute_process(COMMAND ${ARGN} COMMAND_ERROR_IS_FATAL ANY)
endfunction()

set(toolchain -G "${GENERATOR}" "-DCMAKE_CXX_COMPILER=${COMPILER}"
              "-DCMAKE_CXX_COMPILER_LAUNCHER=${LAUNCHER}"
              "-DCMAKE_BUILD_TYPE=${BUILD_TYPE}" "-DCMAKE_CXX_FLAGS_${BUILD_TYPE}=${FLAGS}"
              "-DSOUNDHASH_DB_WARNINGS_AS_ERRORS=${WERROR}")
set(consumer_source "${CMAKE_CURRENT_LIST_DIR}")
set(consumer "${WORK}/consumer")
# A dependent setting of an earlier run must not hide that find_package fails now.
file(REMOVE "${consumer}/CMakeCache.txt")

# Installs into one place and moves to another; sets `prefix`.
function(install_and_move)
  set(library "${BUILD}")
  if(KIND STREQUAL "shared")
    set(library "${WORK}/library")
    run("${CMAKE_COMMAND}" -S "${SOURCE}" -B "${library}" ${toolchain} -DBUILD_SHARED_LIBS=ON
        -DSOUNDHASH_DB_BUILD_TESTS=OFF -DSOUNDHASH_DB_BUILD_BENCH=OFF)
    run("${CMAKE_COMMAND}" --build "${library}" --parallel 2)
  endif()
  file(REMOVE_RECURSE "${WORK}/installed" "${WORK}/moved")
  run("${CMAKE_COMMAND}" --install "${library}" --prefix "${WORK}/installed")
  file(RENAME "${WORK}/installed" "${WORK}/moved")
  set(prefix "${WORK}/moved" PARENT_SCOPE)
endfunction()

function(require_relocatable prefix)
  file(GLOB_RECURSE texts "${prefix}/*.cmake" "${prefix}/*.pc" "${prefix}/*.hpp")
  foreach(file IN LISTS texts)
    file(READ "${file}" text)
    foreach(path IN ITEMS "${WORK}" "${SOURCE}")
      string(FIND "${text}" "${path}" at)
      if(NOT at EQUAL -1)
        message(FATAL_ERROR "${file} names ${path}")
      endif()
    endforeach()
  endforeach()
endfunction()

# The same program by pkg-config, as a Makefile would have it.
function(build_with_pkg_config prefix)
  find_program(pkg_config NAMES pkg-config REQUIRED)
  file(GLOB_RECURSE pc "${prefix}/*.pc")
  cmake_path(GET pc PARENT_PATH pc_dir)
  set(ENV{PKG_CONFIG_PATH} "${pc_dir}")
  execute_process(
    COMMAND "${pkg_config}" --cflags --libs soundhash-db
    OUTPUT_VARIABLE flags
    COMMAND_ERROR_IS_FATAL ANY)
  separate_arguments(flags UNIX_COMMAND "${flags}")
  cmake_path(GET pc_dir PARENT_PATH lib_dir)
  run("${COMPILER}" -std=c++20 "-I${consumer}" "${consumer_source}/main.cpp" ${flags}
      -lsoundhash-db-testing "-Wl,-rpath,${lib_dir}" -o "${WORK}/by_pkg_config")
  run("${WORK}/by_pkg_config")
endfunction()

if(KIND STREQUAL "subdirectory")
  run("${CMAKE_COMMAND}" -S "${consumer_source}" -B "${consumer}" ${toolchain}
      "-DLIBRARY_SOURCE=${SOURCE}" -DSOUNDHASH_DB_REDIS=OFF)
else()
  install_and_move()
  require_relocatable("${prefix}")
  run("${CMAKE_COMMAND}" -S "${consumer_source}" -B "${consumer}" ${toolchain}
      "-DCMAKE_PREFIX_PATH=${prefix}")
endif()
run("${CMAKE_COMMAND}" --build "${consumer}" --parallel 2)
run("${consumer}/consumer")

if(KIND STREQUAL "shared")
  build_with_pkg_config("${prefix}")
  run("${prefix}/bin/soundhash-db" --version)
elseif(KIND STREQUAL "subdirectory")
  file(REMOVE_RECURSE "${WORK}/installed")
  run("${CMAKE_COMMAND}" --install "${consumer}" --prefix "${WORK}/installed")
  file(GLOB_RECURSE installed RELATIVE "${WORK}/installed" "${WORK}/installed/*")
  if(NOT installed STREQUAL "bin/consumer")
    message(FATAL_ERROR "the library installs itself with its parent: ${installed}")
  endif()
endif()
