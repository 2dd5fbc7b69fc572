#include "core/json.hpp"

#include <chrono>
#include <cmath>
#include <limits>
#include <string>
#include <string_view>

#include <gtest/gtest.h>

#include <soundhash/db/observe/metrics.hpp>

namespace soundhash::db {
namespace {

using namespace std::chrono_literals;
using namespace std::string_view_literals;

TEST(json, escapes_quotes_backslashes_and_control_characters) {
  EXPECT_EQ(json_string(""), R"("")");
  EXPECT_EQ(json_string("a\"b\\c/d"), R"("a\"b\\c/d")");
  EXPECT_EQ(json_string("\n\t\r\x01\x1b\x7f\0"sv), R"("\n\t\r\u0001\u001b\u007f\u0000")");
}

TEST(json, keeps_utf8) {
  EXPECT_EQ(json_string("é € 😀"), "\"é € 😀\"");
}

TEST(json, replaces_what_is_not_utf8) {
  EXPECT_EQ(json_string("a\xFFz"), "\"a\uFFFDz\"");
  EXPECT_EQ(json_string("\xC0\x80"), "\"\uFFFD\uFFFD\"") << "overlong";
  EXPECT_EQ(json_string("\xED\xA0\x80"), "\"\uFFFD\uFFFD\uFFFD\"") << "surrogate";
  EXPECT_EQ(json_string("\xF4\x90\x80\x80"), "\"\uFFFD\uFFFD\uFFFD\uFFFD\"") << "beyond U+10FFFF";
  EXPECT_EQ(json_string("\xE2\x82"), "\"\uFFFD\uFFFD\"") << "cut";
}

TEST(json, numbers_read_back_as_they_were) {
  EXPECT_EQ(json_number(0), "0");
  EXPECT_EQ(json_number(.1), "0.1");
  EXPECT_EQ(json_number(-1.5), "-1.5");
  EXPECT_EQ(json_number(std::numeric_limits<double>::denorm_min()), "5e-324");
  EXPECT_EQ(json_number(1e300), "1e+300");
  EXPECT_EQ(json_number(std::nan("")), "null");
  EXPECT_EQ(json_number(std::numeric_limits<double>::infinity()), "null");
}

TEST(json, empty_objects_and_arrays) {
  EXPECT_EQ(json_object{}.close(), "{}");
  EXPECT_EQ(json_array(""sv, [](char) { return ""; }), "[]");
}

TEST(json, a_snapshot_is_one_object) {
  metrics registry{100ms};
  statement_event event;
  event.name = "video.find";
  event.sql = "SELECT 1";
  event.execute = 250ms;
  event.rows = 2;
  registry.record(event);
  registry.add_collector([](std::vector<figure>& out) {
    out.push_back({"db_client_connection_count", "state=\"idle\"", 3, false, "Connections."});
  });
  EXPECT_EQ(to_json(registry.snapshot()),
            R"({"total_queries":1,"slow_queries":1,"total_duration":0.25,)"
            R"("average_duration":0.25,"slow_query_percentage":100,"errors":0,)"
            R"("interceptor_failures":0,"bucket_bounds":[0.001,0.005,0.01,0.05,0.1,0.5,1,5,10],)"
            R"("queries":[{"name":"video.find","kind":"user","count":1,"errors":0,"slow":1,)"
            R"("rows":2,"total_duration":0.25,"p50":0.25,"p95":0.25,"p99":0.25,"max":0.25,)"
            R"("wait_duration":0,"errors_by_sqlstate":{},"buckets":[0,0,0,0,0,1,1,1,1,1]}],)"
            R"("figures":[{"name":"db_client_connection_count","labels":"state=\"idle\"",)"
            R"("value":3,"type":"gauge","help":"Connections."}]})");
}

TEST(json, counts_errors_by_sqlstate) {
  metrics_snapshot snapshot;
  snapshot.queries.emplace_back();
  snapshot.queries[0].errors_by_sqlstate = {{"", 1}, {"23505", 2}};
  EXPECT_NE(to_json(snapshot).find(R"("errors_by_sqlstate":{"":1,"23505":2})"), std::string::npos);
}

}  // namespace
}  // namespace soundhash::db
