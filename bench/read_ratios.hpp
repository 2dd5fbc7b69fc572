#pragma once

#include <cstddef>

#include "ratio.hpp"

/// `find_by_video_id` without a cache beside a prepared statement of libpq in text, a connection
/// for each thread.
ratio_result measure_point_read(const ratio_run& run, std::size_t threads);

/// `unprocessed(100)` beside libpq in binary.
ratio_result measure_rows_100(const ratio_run& run);

/// `find_by_hash_with_data` beside libpq in binary.
ratio_result measure_hash_lookup(const ratio_run& run);

/// `find_by_hashes` of 500 hashes beside the same statement by libpq in binary.
ratio_result measure_hash_batch(const ratio_run& run);

/// `match` of 120 hashes, a clip of 15 s, beside what one does by hand: a query for each hash, a
/// video for each hit, the votes counted in a map.
ratio_result measure_match_clip(const ratio_run& run);
