#include "core/json.hpp"

#include <soundhash/db/observe/metrics.hpp>

namespace soundhash::db {
namespace {

std::string counts_by_name(const std::map<std::string, std::uint64_t>& counts) {
  json_object object;
  for (const auto& [name, count] : counts) object.count(name, count);
  return std::move(object).close();
}

std::string describe(const query_metrics& one) {
  json_object object;
  object.string("name", one.name)
      .string("kind", to_string(one.kind))
      .count("count", one.count)
      .count("errors", one.errors)
      .count("slow", one.slow)
      .count("rows", one.rows)
      .number("total_duration", one.total_duration)
      .number("p50", one.p50)
      .number("p95", one.p95)
      .number("p99", one.p99)
      .number("max", one.max)
      .number("wait_duration", one.wait_duration)
      .member("errors_by_sqlstate", counts_by_name(one.errors_by_sqlstate))
      .member("buckets",
              json_array(one.buckets, [](std::uint64_t count) { return std::to_string(count); }));
  return std::move(object).close();
}

std::string describe(const figure& one) {
  json_object object;
  object.string("name", one.name)
      .string("labels", one.labels)
      .number("value", one.value)
      .string("type", one.counter ? "counter" : "gauge")
      .string("help", one.help);
  return std::move(object).close();
}

}  // namespace

std::string to_json(const metrics_snapshot& snapshot) {
  const auto each = [](const auto& one) { return describe(one); };
  json_object object;
  object.count("total_queries", snapshot.total_queries)
      .count("slow_queries", snapshot.slow_queries)
      .number("total_duration", snapshot.total_duration)
      .number("average_duration", snapshot.average_duration)
      .number("slow_query_percentage", snapshot.slow_query_percentage)
      .count("errors", snapshot.errors)
      .count("interceptor_failures", snapshot.interceptor_failures)
      .member("bucket_bounds", json_array(metrics::bucket_bounds, json_number))
      .member("queries", json_array(snapshot.queries, each))
      .member("figures", json_array(snapshot.figures, each));
  return std::move(object).close();
}

}  // namespace soundhash::db
