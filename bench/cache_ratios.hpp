#pragma once

#include "ratio.hpp"

/// `find_by_video_id` answered by Redis and decoded, interceptors and metrics on, beside a GET of
/// the same bytes by hiredis, on as many threads with a connection each.
ratio_result measure_redis_hit(const ratio_run& run, std::size_t threads);

/// The same answered by the near cache, the struct returned; beside nothing.
ratio_result measure_near_hit(const ratio_run& run);
