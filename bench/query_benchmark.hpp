#pragma once

#include <string>
#include <vector>

#include <soundhash/db.hpp>

#include "dataset.hpp"

/// One of the seven queries, measured.
struct query_timing {
  std::string name;
  std::string error;  ///< empty when every run succeeded
  int iterations = 0;
  std::size_t rows = 0;  ///< rows (or the answer) of the last run, which was checked
  double min_ms = 0;
  double avg_ms = 0;
  double median_ms = 0;
  double p95_ms = 0;
  double max_ms = 0;
};

/// The verdict of the application's performance targets: "PASS" below 100 ms at p95, "WARN" below
/// 200 ms, else "FAIL"; "ERROR" when it did not run.
[[nodiscard]] std::string verdict(const query_timing& timing);

/// The 95th percentile as the Python script computes it: by interpolation (the exclusive method)
/// from 20 samples, the 90th percentile from 10, else the maximum. Milliseconds in, sorted.
[[nodiscard]] double p95(const std::vector<double>& sorted);

/// Runs each of the seven queries `iterations` times through the repositories and checks what
/// comes back.
[[nodiscard]] std::vector<query_timing> run_queries(soundhash::db::database& db,
                                                    const dataset_keys& keys, int iterations);

void print_table(const std::vector<query_timing>& timings);
void print_metrics(const soundhash::db::metrics_snapshot& metrics);

/// {"queries":[…],"metrics":{…}}
[[nodiscard]] std::string to_json(const std::vector<query_timing>& timings,
                                  const soundhash::db::metrics_snapshot& metrics);
