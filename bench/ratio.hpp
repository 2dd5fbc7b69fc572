#pragma once

#include <cstddef>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include <soundhash/db/database_options.hpp>

#include "dataset.hpp"

/// What one side needed for one unit of work: medians over the rounds, microseconds.
struct cost {
  double p50_us = 0;
  double cpu_us = 0;             ///< of all threads of the process
  std::optional<double> p99_us;  ///< where the row is about a distribution
};

/// A row: our work through the public API beside the same by hand, measured alternately.
struct ratio_result {
  std::string name;
  std::string unit;
  cost ours;
  std::string baseline_name;     ///< empty: there is none
  std::optional<cost> baseline;  ///< likewise
  std::string verdict;           ///< each bar of the row, and whether it holds
  bool holds = true;
};

/// How a row is measured.
struct ratio_run {
  /// The servers to use; the cache is off, and a row that is about it turns it on.
  soundhash::db::database_options settings;
  int rounds = 9;
  /// What a row that needs data loads, unless another has done so.
  dataset_size size;
};

struct ratio_row {
  std::string name;
  std::function<ratio_result(const ratio_run&)> measure;
};

/// All rows, in the order of the table.
std::vector<ratio_row> ratio_rows();

/// One side of a comparison: does `units` units of work in all and returns their cost.
using competitor = std::function<cost()>;

/// Runs both in turn, A B, B A, …, and takes the medians.
void compete(int rounds, const competitor& ours, const competitor& baseline, ratio_result& into);

/// Where there is nothing to compete with.
void measure_alone(int rounds, const competitor& ours, ratio_result& into);

/// Runs `work(thread)` on so many threads at the same time; `units`: what all of them do together.
/// Wall time and CPU time of the process per unit.
cost time_threads(std::size_t threads, std::size_t units,
                  const std::function<void(std::size_t thread)>& work);

/// Adds "p50 0.93 (bar 1.00)" to the verdict.
void judge(ratio_result& row, const std::string& what, double value, double bar);

void print_table(const std::vector<ratio_result>& rows);
std::string to_json(const std::vector<ratio_result>& rows);
