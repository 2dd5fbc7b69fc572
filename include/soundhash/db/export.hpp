#pragma once

/// What the shared library shows of itself; all else is hidden. A static build says the same, so
/// that one compilation serves both kinds.
#if defined(__GNUC__)
#define SOUNDHASH_DB_EXPORT __attribute__((visibility("default")))
#else
#define SOUNDHASH_DB_EXPORT
#endif
