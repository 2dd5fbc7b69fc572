#pragma once

#include <cstddef>

#include "ratio.hpp"

/// What timing and the metrics of one statement cost beside the two clock reads that they need.
ratio_result measure_interceptor(const ratio_run& run, std::size_t threads);

/// To compile a file that includes <soundhash/db.hpp> beside one that includes the headers of the
/// standard library that it needs.
ratio_result measure_header_cost(const ratio_run& run);
