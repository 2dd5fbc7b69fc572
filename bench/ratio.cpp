#include "ratio.hpp"

#include <algorithm>
#include <atomic>
#include <barrier>
#include <chrono>
#include <cstdio>
#include <ctime>
#include <thread>
#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace {

double cpu_seconds() {
  timespec used{};
  ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
  return static_cast<double>(used.tv_sec) + static_cast<double>(used.tv_nsec) / 1e9;
}

double median(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

cost medians(const std::vector<cost>& rounds) {
  const auto of = [&](auto read) {
    std::vector<double> values;
    for (const auto& each : rounds) values.push_back(read(each));
    return median(std::move(values));
  };
  cost all{of([](const cost& c) { return c.p50_us; }), of([](const cost& c) { return c.cpu_us; }),
           std::nullopt};
  if (rounds.front().p99_us) all.p99_us = of([](const cost& c) { return c.p99_us.value_or(0); });
  return all;
}

nlohmann::ordered_json to_object(const cost& measured) {
  nlohmann::ordered_json object{{"p50_us", measured.p50_us}, {"cpu_us", measured.cpu_us}};
  if (measured.p99_us) object["p99_us"] = *measured.p99_us;
  return object;
}

/// nullopt: there is no baseline.
std::optional<double> ratio(const ratio_result& row, double cost::*figure) {
  if (!row.baseline) return std::nullopt;
  return row.ours.*figure / (*row.baseline).*figure;
}

}  // namespace

void compete(int rounds, const competitor& ours, const competitor& baseline, ratio_result& into) {
  std::vector<cost> of_ours;
  std::vector<cost> of_baseline;
  for (int round = 0; round < rounds; ++round) {
    if (round % 2 == 0) {
      of_ours.push_back(ours());
      of_baseline.push_back(baseline());
    } else {
      of_baseline.push_back(baseline());
      of_ours.push_back(ours());
    }
  }
  into.ours = medians(of_ours);
  into.baseline = medians(of_baseline);
}

void measure_alone(int rounds, const competitor& ours, ratio_result& into) {
  std::vector<cost> of_ours;
  for (int round = 0; round < rounds; ++round) of_ours.push_back(ours());
  into.ours = medians(of_ours);
}

cost time_threads(std::size_t threads, std::size_t units,
                  const std::function<void(std::size_t thread)>& work) {
  using clock = std::chrono::steady_clock;
  clock::time_point began;
  double cpu_before = 0;
  const auto mark_start = [&]() noexcept {
    cpu_before = cpu_seconds();
    began = clock::now();
  };
  std::barrier start{static_cast<std::ptrdiff_t>(threads), mark_start};
  std::vector<std::thread> running;
  for (std::size_t i = 0; i < threads; ++i) {
    running.emplace_back([&, i] {
      start.arrive_and_wait();
      work(i);
    });
  }
  for (auto& each : running) each.join();
  const std::chrono::duration<double, std::micro> wall = clock::now() - began;
  const double cpu = (cpu_seconds() - cpu_before) * 1e6;
  const auto count = static_cast<double>(units);
  return {wall.count() / count, cpu / count, std::nullopt};
}

void judge(ratio_result& row, const std::string& what, double value, double bar) {
  const bool within = value <= bar;
  row.holds = row.holds && within;
  if (!row.verdict.empty()) row.verdict += ", ";
  row.verdict += fmt::format("{} {:.2f} {} {:.2f}", what, value, within ? "≤" : "ABOVE", bar);
}

void print_table(const std::vector<ratio_result>& rows) {
  fmt::print("{:<16} {:>12} {:>12} {:>12} {:>12} {:>7} {:>7}  {}\n", "row", "ours µs", "base µs",
             "ours cpu", "base cpu", "p50", "cpu", "bars");
  const auto cell = [](const std::optional<double>& value, int digits) {
    return value ? fmt::format("{:.{}f}", *value, digits) : std::string{"-"};
  };
  for (const auto& row : rows) {
    const auto base = [&](double cost::*figure) {
      return row.baseline ? std::optional{(*row.baseline).*figure} : std::nullopt;
    };
    fmt::print("{:<16} {:>11.4f} {:>11} {:>12.4f} {:>12} {:>7} {:>7}  {}\n", row.name,
               row.ours.p50_us, cell(base(&cost::p50_us), 4), row.ours.cpu_us,
               cell(base(&cost::cpu_us), 4), cell(ratio(row, &cost::p50_us), 2),
               cell(ratio(row, &cost::cpu_us), 2), row.verdict);
  }
}

std::string to_json(const std::vector<ratio_result>& rows) {
  nlohmann::ordered_json results = nlohmann::ordered_json::array();
  for (const auto& row : rows) {
    nlohmann::ordered_json object{
        {"name", row.name}, {"unit", row.unit}, {"ours", to_object(row.ours)}};
    if (row.baseline) {
      object["baseline"] = to_object(*row.baseline);
      object["baseline"]["name"] = row.baseline_name;
      object["ratio_p50"] = *ratio(row, &cost::p50_us);
      object["ratio_cpu"] = *ratio(row, &cost::cpu_us);
      if (row.ours.p99_us && row.baseline->p99_us) {
        object["ratio_p99"] = *row.ours.p99_us / *row.baseline->p99_us;
      }
    }
    object["verdict"] = row.verdict;
    object["holds"] = row.holds;
    results.push_back(std::move(object));
  }
  return nlohmann::ordered_json{{"results", results}}.dump(2);
}
