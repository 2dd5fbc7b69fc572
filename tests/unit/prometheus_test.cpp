#include <cctype>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <limits>
#include <map>
#include <set>
#include <sstream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include <gtest/gtest.h>

#include <soundhash/db/core/error.hpp>
#include <soundhash/db/observe/metrics.hpp>

namespace soundhash::db {
namespace {

using namespace std::chrono_literals;

using labels = std::map<std::string, std::string>;

struct sample {
  std::string name;
  labels of;
  std::string value;
};

struct family {
  std::string type;
  std::string help;
  std::vector<sample> samples;
};

/// Reads the text format strictly: families announced once, samples under their own family, no
/// sample twice. Throws std::runtime_error with the offending line.
class exposition_reader {
 public:
  std::map<std::string, family> read(const std::string& text) {
    if (text.empty() || text.back() != '\n') fail("no newline at the end");
    std::istringstream lines{text};
    while (std::getline(lines, line_)) {
      at_ = 0;
      line_.rfind("# ", 0) == 0 ? comment() : one_sample();
    }
    return families_;
  }

 private:
  [[noreturn]] void fail(const std::string& problem) const {
    throw std::runtime_error{problem + " in: " + line_};
  }

  void expect(std::string_view text) {
    if (line_.compare(at_, text.size(), text) != 0) fail("expected " + std::string{text});
    at_ += text.size();
  }

  std::string name() {
    const auto begin = at_;
    while (at_ < line_.size() && (std::isalnum(line_[at_]) != 0 || line_[at_] == '_')) ++at_;
    if (at_ == begin || std::isdigit(line_[begin]) != 0) fail("expected a name");
    return line_.substr(begin, at_ - begin);
  }

  std::string quoted() {
    expect("\"");
    std::string value;
    for (; at_ < line_.size() && line_[at_] != '"'; ++at_) {
      if (line_[at_] != '\\') {
        value += line_[at_];
        continue;
      }
      const char c = line_.at(++at_);
      if (c != 'n' && c != '\\' && c != '"') fail("unknown escape");
      value += c == 'n' ? '\n' : c;
    }
    expect("\"");
    return value;
  }

  void comment() {
    expect("# ");
    const auto keyword = name();
    expect(" ");
    const auto of = name();
    expect(" ");
    const auto rest = line_.substr(at_);
    if (keyword == "HELP") {
      if (!families_.emplace(of, family{"", rest, {}}).second) fail("second HELP");
      current_ = of;
    } else {
      if (keyword != "TYPE" || of != current_ || !families_[of].type.empty()) fail("wrong TYPE");
      families_[of].type = rest;
    }
  }

  labels label_set() {
    labels found;
    if (line_[at_] != '{') return found;
    for (expect("{"); line_[at_] != '}'; line_[at_] == ',' ? expect(",") : void()) {
      const auto key = name();
      expect("=");
      if (!found.emplace(key, quoted()).second) fail("label twice");
    }
    expect("}");
    return found;
  }

  void one_sample() {
    sample one{name(), {}, {}};
    one.of = label_set();
    expect(" ");
    one.value = line_.substr(at_);
    char* end = nullptr;
    std::strtod(one.value.c_str(), &end);
    if (one.value.empty() || *end != '\0') fail("no number");
    auto& mine = families_[current_];
    if (!belongs(one.name, mine.type)) fail("sample outside its family");
    if (!seen_.emplace(one.name, one.of).second) fail("sample twice");
    mine.samples.push_back(std::move(one));
  }

  bool belongs(const std::string& sample_name, const std::string& type) const {
    if (type != "histogram") return sample_name == current_;
    return sample_name == current_ + "_bucket" || sample_name == current_ + "_sum" ||
           sample_name == current_ + "_count";
  }

  std::string line_;
  std::size_t at_ = 0;
  std::string current_;
  std::map<std::string, family> families_;
  std::set<std::pair<std::string, labels>> seen_;
};

std::map<std::string, family> families_of(const metrics_snapshot& snapshot) {
  return exposition_reader{}.read(prometheus_text(snapshot));
}

void record(metrics& registry, std::string_view name, std::chrono::nanoseconds execute) {
  statement_event event;
  event.name = name;
  event.sql = "SELECT secret_column FROM videos";
  event.execute = execute;
  event.acquire = 250ms;
  event.rows = 7;
  registry.record(event);
}

void record_failure(metrics& registry, std::string_view name, std::string_view sqlstate) {
  const query_error refusal{"refused", {.code = errc::server_error}};
  statement_event event;
  event.name = name;
  event.failure = &refusal;
  event.sqlstate = sqlstate;
  registry.record(event);
}

TEST(prometheus, an_empty_snapshot_is_valid) {
  const auto families = families_of(metrics_snapshot{});
  EXPECT_EQ(families.at("soundhash_db_queries_total").samples.at(0).value, "0");
  EXPECT_TRUE(families.at("db_client_operation_duration_seconds").samples.empty());
}

TEST(prometheus, durations_are_a_cumulative_histogram) {
  metrics registry{100ms};
  record(registry, "video.find", 2ms);
  record(registry, "video.find", 30s);
  const auto families = families_of(registry.totals());
  const auto& durations = families.at("db_client_operation_duration_seconds");
  EXPECT_EQ(durations.type, "histogram");
  ASSERT_EQ(durations.samples.size(), 12U);
  const std::vector<std::pair<std::string, std::string>> buckets{
      {"0.001", "0"}, {"0.005", "1"}, {"0.01", "1"}, {"0.05", "1"}, {"0.1", "1"},
      {"0.5", "1"},   {"1", "1"},     {"5", "1"},    {"10", "1"},   {"+Inf", "2"}};
  for (std::size_t i = 0; i < buckets.size(); ++i) {
    EXPECT_EQ(durations.samples[i].of.at("le"), buckets[i].first);
    EXPECT_EQ(durations.samples[i].value, buckets[i].second);
  }
  EXPECT_EQ(durations.samples[10].value, "30.002");
  EXPECT_EQ(durations.samples[11].value, "2");
  EXPECT_EQ(durations.samples[11].of, (labels{{"db_system_name", "postgresql"},
                                              {"db_query_name", "video.find"},
                                              {"statement_kind", "user"}}));
}

TEST(prometheus, gives_rows_waits_and_slow_statements_of_each_query) {
  metrics registry{100ms};
  record(registry, "a", 200ms);
  record(registry, "a", 1ms);
  const auto families = families_of(registry.totals());
  EXPECT_EQ(families.at("db_client_operation_rows_total").samples.at(0).value, "14");
  EXPECT_EQ(families.at("db_client_operation_slow_total").samples.at(0).value, "1");
  EXPECT_EQ(families.at("db_client_operation_wait_seconds_total").samples.at(0).value, "0.5");
  EXPECT_EQ(families.at("soundhash_db_queries_total").samples.at(0).value, "2");
  EXPECT_EQ(families.at("soundhash_db_slow_query_percentage").samples.at(0).value, "50");
}

TEST(prometheus, counts_errors_by_sqlstate) {
  metrics registry{100ms};
  record_failure(registry, "a", "23505");
  record_failure(registry, "a", "");
  const auto families = families_of(registry.totals());
  const auto& errors = families.at("db_client_operation_errors_total");
  EXPECT_EQ(errors.type, "counter");
  ASSERT_EQ(errors.samples.size(), 2U);
  EXPECT_EQ(errors.samples[0].of.at("db_response_status_code"), "none");
  EXPECT_EQ(errors.samples[1].of.at("db_response_status_code"), "23505");
}

TEST(prometheus, one_name_of_two_kinds_makes_two_samples) {
  metrics registry{100ms};
  statement_event event;
  event.name = "tx.begin";
  registry.record(event);
  event.kind = statement_kind::transaction;
  registry.record(event);
  EXPECT_EQ(families_of(registry.totals()).at("db_client_operation_rows_total").samples.size(), 2U);
}

TEST(prometheus, escapes_label_values) {
  metrics registry{100ms};
  const std::string name = "quote\" backslash\\ line\nend";
  record(registry, name, 1ms);
  const auto families = families_of(registry.totals());
  EXPECT_EQ(families.at("db_client_operation_rows_total").samples.at(0).of.at("db_query_name"),
            name);
}

TEST(prometheus, sql_text_is_nowhere) {
  metrics registry{100ms};
  record(registry, "a", 1ms);
  EXPECT_EQ(prometheus_text(registry.totals()).find("secret_column"), std::string::npos);
}

TEST(prometheus, figures_of_one_name_form_one_family) {
  metrics_snapshot snapshot;
  const auto add = [&](std::string name, std::string of, double value, bool counter) {
    snapshot.figures.push_back({std::move(name), std::move(of), value, counter, "Help\nwith \\."});
  };
  add("db_client_connection_count", R"(state="idle")", 3, false);
  add("db_client_connection_timeouts_total", "", 1, true);
  add("db_client_connection_count", R"(state="used")", 4, false);
  const auto families = families_of(snapshot);
  const auto& connections = families.at("db_client_connection_count");
  EXPECT_EQ(connections.type, "gauge");
  EXPECT_EQ(connections.help, R"(Help\nwith \\.)");
  ASSERT_EQ(connections.samples.size(), 2U);
  EXPECT_EQ(connections.samples[1].of, (labels{{"state", "used"}}));
  EXPECT_EQ(families.at("db_client_connection_timeouts_total").type, "counter");
}

TEST(prometheus, writes_numbers_that_are_none_its_own_way) {
  metrics_snapshot snapshot;
  snapshot.figures = {{"a", "", std::numeric_limits<double>::infinity(), false, ""},
                      {"b", "", -std::numeric_limits<double>::infinity(), false, ""},
                      {"c", "", std::nan(""), false, ""}};
  const auto families = families_of(snapshot);
  EXPECT_EQ(families.at("a").samples.at(0).value, "+Inf");
  EXPECT_EQ(families.at("b").samples.at(0).value, "-Inf");
  EXPECT_EQ(families.at("c").samples.at(0).value, "NaN");
}

}  // namespace
}  // namespace soundhash::db
