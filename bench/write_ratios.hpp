#pragma once

#include "ratio.hpp"

/// `claim` of 50 jobs with a lease beside the same statement by libpq without one.
ratio_result measure_job_claim(const ratio_run& run);

/// `create_batch` of 10 000 fingerprints with their ids beside a binary COPY by libpq, which gives
/// none, both with the indexes of the Python services.
ratio_result measure_insert_batch(const ratio_run& run);

/// The same with the indexes of the optional migration `lean_fingerprint_indexes`, beside the COPY
/// with all of them.
ratio_result measure_insert_lean(const ratio_run& run);
