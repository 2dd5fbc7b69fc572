#include <algorithm>
#include <cmath>
#include <cstddef>
#include <iterator>
#include <utility>

#include <soundhash/db/observe/metrics.hpp>

#include "core/json.hpp"

namespace soundhash::db {
namespace {

std::string number(double value) {
  if (std::isnan(value)) return "NaN";
  if (std::isinf(value)) return value > 0 ? "+Inf" : "-Inf";
  return json_number(value);
}

// Quotes are escaped in label values only; help texts have none to escape.
std::string escaped(std::string_view text, bool quotes) {
  std::string out;
  for (const char c : text) {
    if (c == '\n') {
      out += "\\n";
      continue;
    }
    if (c == '\\' || (quotes && c == '"')) out += '\\';
    out += c;
  }
  return out;
}

std::string label(std::string_view name, std::string_view value) {
  return std::string{name}.append("=\"").append(escaped(value, true)).append("\"");
}

std::string labels_of(const query_metrics& one) {
  return label("db_system_name", "postgresql") + "," + label("db_query_name", one.name) + "," +
         label("statement_kind", to_string(one.kind));
}

/// The text as it grows, in format 0.0.4.
/// Source: https://prometheus.io/docs/instrumenting/exposition_formats/
class exposition {
 public:
  void family(std::string_view name, std::string_view type, std::string_view help) {
    text_.append("# HELP ").append(name).append(" ").append(escaped(help, false)).append("\n");
    text_.append("# TYPE ").append(name).append(" ").append(type).append("\n");
  }

  void sample(std::string_view name, std::string_view labels, const std::string& value) {
    text_.append(name);
    if (!labels.empty()) text_.append("{").append(labels).append("}");
    text_.append(" ").append(value).append("\n");
  }

  [[nodiscard]] std::string text() && { return std::move(text_); }

 private:
  std::string text_;
};

void add_durations(exposition& out, const std::vector<query_metrics>& queries) {
  constexpr std::string_view name = "db_client_operation_duration_seconds";
  const auto bucket = std::string{name}.append("_bucket");
  out.family(name, "histogram",
             "Time from sending a statement to its complete answer, failed ones included.");
  for (const auto& one : queries) {
    const auto labels = labels_of(one);
    for (std::size_t i = 0; i < one.buckets.size(); ++i) {
      const auto bounded = i < std::size(metrics::bucket_bounds);
      const auto bound = bounded ? number(metrics::bucket_bounds[i]) : "+Inf";
      out.sample(bucket, labels + "," + label("le", bound), std::to_string(one.buckets[i]));
    }
    out.sample(std::string{name}.append("_sum"), labels, number(one.total_duration));
    out.sample(std::string{name}.append("_count"), labels, std::to_string(one.count));
  }
}

void add_errors(exposition& out, const std::vector<query_metrics>& queries) {
  constexpr std::string_view name = "db_client_operation_errors_total";
  out.family(name, "counter", "Failed statements by SQLSTATE; none: no answer of the server.");
  for (const auto& one : queries) {
    for (const auto& [state, count] : one.errors_by_sqlstate) {
      const auto code = label("db_response_status_code", state.empty() ? "none" : state);
      out.sample(name, labels_of(one) + "," + code, std::to_string(count));
    }
  }
}

template <class Value>
void add_per_query(exposition& out, const std::vector<query_metrics>& queries,
                   std::string_view name, std::string_view help, Value value) {
  out.family(name, "counter", help);
  for (const auto& one : queries) out.sample(name, labels_of(one), value(one));
}

void add_counters(exposition& out, const std::vector<query_metrics>& queries) {
  add_per_query(out, queries, "db_client_operation_rows_total",
                "Rows returned or touched by statements.",
                [](const query_metrics& one) { return std::to_string(one.rows); });
  add_per_query(out, queries, "db_client_operation_slow_total",
                "Statements slower than the threshold.",
                [](const query_metrics& one) { return std::to_string(one.slow); });
  add_per_query(out, queries, "db_client_operation_wait_seconds_total",
                "Time that statements waited for a connection.",
                [](const query_metrics& one) { return number(one.wait_duration); });
}

void add_family(exposition& out, const figure& one) {
  out.family(one.name, one.counter ? "counter" : "gauge", one.help);
}

// All samples of a family must stand together, in whatever order the collectors gave them.
void add_figures(exposition& out, std::vector<figure> figures) {
  std::stable_sort(figures.begin(), figures.end(),
                   [](const figure& a, const figure& b) { return a.name < b.name; });
  std::string_view family;
  for (const auto& one : figures) {
    if (one.name != family) add_family(out, one);
    family = one.name;
    out.sample(one.name, one.labels, number(one.value));
  }
}

std::vector<figure> overall(const metrics_snapshot& all) {
  const auto counter = [](std::string name, std::uint64_t value, std::string help) {
    return figure{std::move(name), "", static_cast<double>(value), true, std::move(help)};
  };
  return {
      counter("soundhash_db_queries_total", all.total_queries, "Statements of user queries."),
      counter("soundhash_db_slow_queries_total", all.slow_queries,
              "Statements of user queries slower than the threshold."),
      counter("soundhash_db_query_errors_total", all.errors, "Failed statements of user queries."),
      {"soundhash_db_query_duration_seconds_total", "", all.total_duration, true,
       "Execution time of all statements of user queries."},
      {"soundhash_db_query_average_duration_seconds", "", all.average_duration, false,
       "Mean execution time of the statements of user queries."},
      {"soundhash_db_slow_query_percentage", "", all.slow_query_percentage, false,
       "Slow statements among those of user queries, 0 to 100."},
      counter("soundhash_db_interceptor_failures_total", all.interceptor_failures,
              "Interceptors that threw."),
  };
}

}  // namespace

std::string prometheus_text(const metrics_snapshot& snapshot) {
  exposition out;
  add_durations(out, snapshot.queries);
  add_errors(out, snapshot.queries);
  add_counters(out, snapshot.queries);
  add_figures(out, overall(snapshot));
  add_figures(out, snapshot.figures);
  return std::move(out).text();
}

}  // namespace soundhash::db
