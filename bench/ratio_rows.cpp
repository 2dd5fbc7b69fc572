#include "cache_ratios.hpp"
#include "pool_ratios.hpp"
#include "ratio.hpp"
#include "read_ratios.hpp"

std::vector<ratio_row> ratio_rows() {
  return {
      {"pool_cycle_1t", [](const ratio_run& run) { return measure_pool_cycle(run, 1); }},
      {"pool_cycle_8t", [](const ratio_run& run) { return measure_pool_cycle(run, 8); }},
      {"pool_fairness", measure_pool_fairness},
      {"redis_hit_1t", [](const ratio_run& run) { return measure_redis_hit(run, 1); }},
      {"redis_hit_8t", [](const ratio_run& run) { return measure_redis_hit(run, 8); }},
      {"near_hit", measure_near_hit},
      {"stream_1m", measure_stream},
      {"pipeline_10", measure_pipeline},
  };
}
