#pragma once

#include "ratio.hpp"

/// 1 000 000 rows of five columns through `stream`, decoded and checked, beside libpq's single-row
/// mode with the same decoding by hand.
ratio_result measure_stream(const ratio_run& run);

/// Ten independent reads of a video in one pipeline, beside ten reads one by one with libpq,
/// prepared, in text.
ratio_result measure_pipeline(const ratio_run& run);
