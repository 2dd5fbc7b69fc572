#include "cache_ratios.hpp"
#include "cost_ratios.hpp"
#include "pool_ratios.hpp"
#include "ratio.hpp"
#include "read_ratios.hpp"
#include "stream_ratios.hpp"
#include "write_ratios.hpp"

std::vector<ratio_row> ratio_rows() {
  // Those that need the whole data come first: a row loads what is not there.
  return {
      {"point_read_1t", [](const ratio_run& run) { return measure_point_read(run, 1); }},
      {"point_read_4t", [](const ratio_run& run) { return measure_point_read(run, 4); }},
      {"pipeline_10", measure_pipeline},
      {"rows_100", measure_rows_100},
      {"hash_lookup", measure_hash_lookup},
      {"hash_batch_500", measure_hash_batch},
      {"match_clip", measure_match_clip},
      {"insert_batch_10k", measure_insert_batch},
      {"insert_lean_10k", measure_insert_lean},
      {"job_claim_50", measure_job_claim},
      {"pool_cycle_1t", [](const ratio_run& run) { return measure_pool_cycle(run, 1); }},
      {"pool_cycle_8t", [](const ratio_run& run) { return measure_pool_cycle(run, 8); }},
      {"pool_fairness", measure_pool_fairness},
      {"interceptor_1t", [](const ratio_run& run) { return measure_interceptor(run, 1); }},
      {"interceptor_8t", [](const ratio_run& run) { return measure_interceptor(run, 8); }},
      {"redis_hit_1t", [](const ratio_run& run) { return measure_redis_hit(run, 1); }},
      {"redis_hit_8t", [](const ratio_run& run) { return measure_redis_hit(run, 8); }},
      {"near_hit", measure_near_hit},
      {"stream_1m", measure_stream},
      {"header_cost", measure_header_cost},
  };
}
