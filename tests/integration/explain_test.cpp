// Which index serves which query of the repositories: asked of the planner, for the SQL text that
// the repositories really send, on tables of a realistic shape.

#include <algorithm>
#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <ostream>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <soundhash/db.hpp>

#include "repository/job_leases.hpp"
#include "repository/list_cursor.hpp"
#include "support/sql.hpp"
#include "support/test_database.hpp"

namespace soundhash::db {
namespace {

using nlohmann::json;
using ::testing::AnyOfArray;
using ::testing::Contains;
using ::testing::IsSubsetOf;

/// One video in ten is open and one in fifty has no upload date; one job in a hundred is pending
/// and one in twenty has failed; one video and job in fifty has no created_at; three fingerprints
/// share a hash, and a video of three hours has 120. No index lies in the order of its table, as
/// after some months of work by several workers. The blobs, which the server keeps outside of the
/// table, are left out.
constexpr auto load_rows = R"sql(
INSERT INTO channels (channel_id, channel_name, is_active, last_processed, created_at, updated_at)
SELECT 'UC' || n, 'Channel ' || n, n % 3 > 0,
       CASE WHEN n % 7 > 0 THEN timestamp '2026-01-01' + n * interval '1 hour' END, now(), now()
FROM generate_series(1, 5000) AS n ORDER BY hashint4(n);
INSERT INTO videos (video_id, channel_id, title, description, upload_date, processed, created_at,
                    updated_at)
SELECT 'v' || n, 1 + n % 50, 'Video ' || n, repeat('text ', 40),
       CASE WHEN n % 50 > 0 THEN timestamp '2026-01-01' + n * interval '1 hour' END, n % 10 > 0,
       CASE WHEN hashint4(n) % 50 <> 0 THEN timestamp '2026-01-01' + n * interval '1 second' END,
       now()
FROM generate_series(1, 10000) AS n ORDER BY hashint4(n);
INSERT INTO audio_fingerprints (video_id, start_time, end_time, fingerprint_hash, sample_rate,
                                created_at)
SELECT 1 + n / 120, n % 120 * 90, n % 120 * 90 + 90, md5((n % 20000)::text), 22050, now()
FROM generate_series(0, 59999) AS n ORDER BY hashint4(n);
INSERT INTO match_results (query_fingerprint_id, matched_fingerprint_id, similarity_score,
                           responded, created_at)
SELECT 1 + n % 1000, 1 + n % 1003, (n % 997) / 997.0, false, now()
FROM generate_series(1, 50000) AS n ORDER BY hashint4(n);
INSERT INTO processing_jobs (job_type, status, target_id, parameters, progress, retry_count,
                             max_retries, created_at)
SELECT CASE n % 3 WHEN 0 THEN 'channel_ingest' WHEN 1 THEN 'fingerprint_extract'
                  ELSE 'video_process' END,
       CASE WHEN n % 100 = 0 THEN 'pending' WHEN n % 100 = 1 THEN 'running'
            WHEN n % 20 = 2 THEN 'failed' ELSE 'completed' END,
       'v' || n, '{"url": "https://www.youtube.com/watch"}', 0, 0, 3,
       CASE WHEN hashint4(n) % 50 <> 0 THEN timestamp '2026-01-01' + n * interval '1 second' END
FROM generate_series(1, 40000) AS n ORDER BY hashint4(n);
INSERT INTO soundhash_job_leases (job_id, started_at, expires_at)
SELECT id, now(), now() + n * interval '1 second'
FROM (SELECT id, row_number() OVER () - 5 AS n FROM processing_jobs WHERE status = 'running') AS j;
CREATE FUNCTION clip_hashes(int) RETURNS text[] LANGUAGE sql
    RETURN (SELECT array_agg(md5(n::text)) FROM generate_series(1, $1) AS n);
CREATE FUNCTION clip_offsets(int) RETURNS float8[] LANGUAGE sql
    RETURN (SELECT array_agg(n::float8) FROM generate_series(1, $1) AS n);
)sql";

/// Remembers the SQL text of each query.
class statement_texts final : public interceptor {
 public:
  void on_start(const statement_event& event) override {
    const std::lock_guard lock{mutex_};
    texts_.insert_or_assign(std::string{event.name}, std::string{event.sql});
  }
  std::string of(const std::string& name) {
    const std::lock_guard lock{mutex_};
    return texts_.at(name);
  }

 private:
  std::mutex mutex_;
  std::map<std::string, std::string> texts_;
};

/// The loaded database, shared by all tests: they only read it, or roll back.
struct loaded_database {
  loaded_database() {
    test::execute(options, load_rows);
    test::execute(options, "VACUUM ANALYZE");
    options.interceptors.push_back(texts);
    db = std::make_unique<database>(database::open(options));
  }

  std::shared_ptr<statement_texts> texts = std::make_shared<statement_texts>();
  database_options options = test::fresh_database_options();
  std::unique_ptr<database> db;
};

loaded_database& loaded() {
  static loaded_database instance;
  return instance;
}

/// What a plan reads: indexes, and tables from one end to the other.
struct plan_scans {
  std::set<std::string> indexes;
  std::set<std::string> whole_tables;
};

void collect(const json& node, plan_scans& scans) {
  if (node.contains("Index Name")) scans.indexes.insert(node["Index Name"]);
  if (node["Node Type"] == "Seq Scan") scans.whole_tables.insert(node["Relation Name"]);
  if (!node.contains("Plans")) return;
  for (const auto& child : node["Plans"]) collect(child, scans);
}

/// One row of the table below.
struct expectation {
  const char* name;                                ///< of the query
  std::function<void(database&, executor&)> call;  ///< makes a repository send it
  std::string arguments;                           ///< of EXECUTE, as SQL
  std::vector<std::string> indexes;                ///< one of them must be used
  std::set<std::string> whole_tables{};            ///< that may be read from one end to the other

  friend void PrintTo(const expectation& query, std::ostream* out) { *out << query.name; }
};

const std::string hash = "'c4ca4238a0b923820dcc509a6f75849b'";  // md5('1')

const std::vector<query_hash> clip_of_1{{.hash = "c4ca4238a0b923820dcc509a6f75849b"}};

/// More than one statement holds.
const std::vector<query_hash> clip_of_1001(1001, clip_of_1[0]);

const std::optional dated{timestamp{}};
const std::optional<timestamp> undated;
const list_scope of_target{"job.by_target", "x", "y", std::vector<std::string>{}};

const std::vector<std::string> by_hash{"idx_fingerprints_hash_video", "idx_fingerprints_hash",
                                       "idx_fingerprints_hash_covering"};
/// All of a video: the narrower index and a sort cost about the same as the order of the wider one.
const std::vector<std::string> of_video{"idx_fingerprints_video_time", "idx_fingerprints_video_id"};
const std::vector<std::string> by_video_id{"videos_video_id_key", "idx_videos_video_id"};
const std::vector<std::string> by_target{"idx_processing_jobs_target"};
/// A row for each job that is running: reading all of it may cost less than its index.
const std::set<std::string> leases{"soundhash_job_leases"};

// clang-format off
const std::vector<expectation> hot_queries{
    {"channel.find", [](auto& db, auto& tx) { (void)db.channels(tx).find(1); }, "7", {"channels_pkey"}},
    {"channel.find_by_channel_id", [](auto& db, auto& tx) { (void)db.channels(tx).find_by_channel_id("x"); }, "'UC7'", {"channels_channel_id_key"}},
    {"channel.active", [](auto& db, auto& tx) { (void)db.channels(tx).active(); }, "100", {"idx_channels_active"}},
    {"channel.active_page", [](auto& db, auto& tx) { (void)db.channels(tx).active_page(); }, "100, '2026-02-01', 500", {"idx_channels_active"}},
    {"channel.page", [](auto& db, auto& tx) { (void)db.channels(tx).page(); }, "1000, 100", {"channels_pkey"}},
    {"channel.mark_processed", [](auto& db, auto& tx) { db.channels(tx).mark_processed(1); }, "7", {"channels_pkey"}},

    {"video.find", [](auto& db, auto& tx) { (void)db.videos(tx).find(1); }, "7", {"videos_pkey"}},
    {"video.find_by_video_id", [](auto& db, auto& tx) { (void)db.videos(tx).find_by_video_id("x"); }, "'v7'", by_video_id},
    {"video.find_with_channel", [](auto& db, auto& tx) { (void)db.videos(tx).find_with_channel("x"); }, "'v7'", by_video_id},
    {"video.existing_video_ids", [](auto& db, auto& tx) { (void)db.videos(tx).existing_video_ids(std::vector<std::string>{"x"}); }, "ARRAY['v7', 'v8']", by_video_id},
    {"video.unprocessed", [](auto& db, auto& tx) { (void)db.videos(tx).unprocessed(); }, "100", {"idx_videos_unprocessed"}},
    {"video.unprocessed_with_channel", [](auto& db, auto& tx) { (void)db.videos(tx).unprocessed_with_channel(); }, "100", {"idx_videos_unprocessed"}},
    {"video.unprocessed_page", [](auto& db, auto& tx) { (void)db.videos(tx).unprocessed_page(); }, "100, '2026-01-01 01:00', 500", {"idx_videos_unprocessed"}},
    {"video.unprocessed_page_with_channel", [](auto& db, auto& tx) { (void)db.videos(tx).unprocessed_page_with_channel(); }, "100, '2026-01-01 01:00', 500", {"idx_videos_unprocessed"}},
    {"video.by_channel", [](auto& db, auto& tx) { (void)db.videos(tx).by_channel(1); }, "7, 20", {"idx_videos_channel_date"}},
    {"video.by_channel_after_date", [](auto& db, auto& tx) { (void)db.videos(tx).by_channel(1, 1, list_scope{"video.by_channel", 1}.at(dated, 1)); }, "7, 20, '2026-03-01', 500", {"idx_videos_channel_date"}},
    {"video.by_channel_after_undated", [](auto& db, auto& tx) { (void)db.videos(tx).by_channel(1, 1, list_scope{"video.by_channel", 1}.at(undated, 1)); }, "7, 20, 500", {"idx_videos_channel_date"}},
    {"video.page", [](auto& db, auto& tx) { (void)db.videos(tx).page(); }, "1000, 100", {"videos_pkey"}},
    {"video.page_with_channel", [](auto& db, auto& tx) { (void)db.videos(tx).page_with_channel(); }, "1000, 100", {"videos_pkey"}},
    {"video.mark_processed", [](auto& db, auto& tx) { db.videos(tx).mark_processed(1); }, "7, true, ''", {"videos_pkey"}},

    {"fingerprint.exists", [](auto& db, auto& tx) { (void)db.fingerprints(tx).exists(1, 1, 1, 1); }, "7, 22050, 2048, 512", of_video},
    {"fingerprint.find_with_data", [](auto& db, auto& tx) { (void)db.fingerprints(tx).find_with_data(1); }, "7", {"audio_fingerprints_pkey"}},
    {"fingerprint.find_by_hash", [](auto& db, auto& tx) { (void)db.fingerprints(tx).find_by_hash("x"); }, hash + ", 1000", by_hash},
    {"fingerprint.find_by_hash_with_data", [](auto& db, auto& tx) { (void)db.fingerprints(tx).find_by_hash_with_data("x"); }, hash + ", 1000", by_hash},
    {"fingerprint.find_by_hashes", [](auto& db, auto& tx) { (void)db.fingerprints(tx).find_by_hashes(std::vector<std::string>{"x"}); }, "clip_hashes(1000), 100", by_hash},
    {"fingerprint.find_by_hash_after", [](auto& db, auto& tx) { (void)db.fingerprints(tx).find_by_hash("x", 1, list_scope{"fingerprint.find_by_hash", "x"}.at(1, 1.0, 1)); }, hash + ", 1000, 7, 900, 70", by_hash},
    {"fingerprint.find_by_hash_with_data_after", [](auto& db, auto& tx) { (void)db.fingerprints(tx).find_by_hash_with_data("x", 1, list_scope{"fingerprint.find_by_hash_with_data", "x"}.at(1, 1.0, 1)); }, hash + ", 1000, 7, 900, 70", by_hash},
    {"fingerprint.page", [](auto& db, auto& tx) { (void)db.fingerprints(tx).page(); }, "1000, 100", {"audio_fingerprints_pkey"}},
    {"fingerprint.by_video_page", [](auto& db, auto& tx) { (void)db.fingerprints(tx).by_video_page(1); }, "7, 0, 'Infinity', 900, 70, 20", {"idx_fingerprints_video_time"}},
    {"fingerprint.by_video", [](auto& db, auto& tx) { (void)db.fingerprints(tx).by_video(1); }, "7, 900, 1800", {"idx_fingerprints_video_time"}},
    {"fingerprint.hashes_of_video", [](auto& db, auto& tx) { (void)db.fingerprints(tx).hashes_of_video(1); }, "7", of_video},
    {"fingerprint.hashes_of_video_page", [](auto& db, auto& tx) { (void)db.fingerprints(tx).hashes_of_video_page(1); }, "7, 900, 70, 20", {"idx_fingerprints_video_time"}},
    {"fingerprint.match", [](auto& db, auto& tx) { (void)db.fingerprints(tx).match(clip_of_1); }, "clip_hashes(1000), clip_offsets(1000), 100, 0.0232, 3, 10", {"idx_fingerprints_hash_covering"}},
    {"fingerprint.match_votes", [](auto& db, auto& tx) { (void)db.fingerprints(tx).match(clip_of_1001); }, "clip_hashes(1000), clip_offsets(1000), 100, 0.0232", {"idx_fingerprints_hash_covering"}},

    {"match_result.top", [](auto& db, auto& tx) { (void)db.match_results(tx).top(1); }, "7, 10", {"idx_match_results_query_fp"}},
    {"match_result.top_after", [](auto& db, auto& tx) { (void)db.match_results(tx).top(1, 1, list_scope{"match_result.top", 1}.at(0.5, 1)); }, "7, 10, 0.5, 500", {"idx_match_results_query_fp"}},
    {"match_result.page", [](auto& db, auto& tx) { (void)db.match_results(tx).page(); }, "1000, 100", {"match_results_pkey"}},
    {"match_result.mark_responded", [](auto& db, auto& tx) { db.match_results(tx).mark_responded(1); }, "7", {"match_results_pkey"}},

    {"job.find", [](auto& db, auto& tx) { (void)db.jobs(tx).find(1); }, "7", {"processing_jobs_pkey"}},
    {"job.exists", [](auto& db, auto& tx) { (void)db.jobs(tx).exists("x", "y"); }, "'video_process', 'v7', ARRAY['pending', 'running']", by_target},
    {"job.exist_batch", [](auto& db, auto& tx) { (void)db.jobs(tx).exist_batch("x", std::vector<std::string>{"y"}); }, "'video_process', ARRAY['v7', 'v8'], ARRAY['pending']", by_target},
    {"job.by_target", [](auto& db, auto& tx) { (void)db.jobs(tx).by_target("x", "y"); }, "'video_process', 'v7', ARRAY[]::text[], 100", by_target},
    {"job.by_target_after_date", [](auto& db, auto& tx) { (void)db.jobs(tx).by_target("x", "y", {}, 1, of_target.at(dated, 1)); }, "'video_process', 'v7', ARRAY[]::text[], 100, '2026-01-01 05:00', 500", by_target},
    {"job.by_target_after_undated", [](auto& db, auto& tx) { (void)db.jobs(tx).by_target("x", "y", {}, 1, of_target.at(undated, 1)); }, "'video_process', 'v7', ARRAY[]::text[], 100, 500", by_target},
    {"job.create_if_absent", [](auto& db, auto& tx) { db.jobs(tx).create_if_absent({.job_type = "x", .target_id = "y"}); }, "'video_process', 'pending', 'v7', NULL, 0, NULL, 0, 3, ARRAY['pending']", by_target},
    {"job.create_batch_if_absent", [](auto& db, auto& tx) { db.jobs(tx).create_batch_if_absent(std::vector<new_job>{{.job_type = "x", .target_id = "y"}}); }, "ARRAY['video_process'], ARRAY['pending'], ARRAY['v7'], ARRAY[NULL], ARRAY[0], ARRAY[NULL], ARRAY[0], ARRAY[3], ARRAY['pending']", by_target},
    {"job.pending", [](auto& db, auto& tx) { (void)db.jobs(tx).pending(); }, "10", {"idx_jobs_status_created"}},
    {"job.pending_after", [](auto& db, auto& tx) { (void)db.jobs(tx).pending({}, 1, list_scope{"job.pending", ""}.at(dated, 1)); }, "10, '2026-01-01 05:00', 500", {"idx_jobs_status_created"}},
    {"job.pending_of_type", [](auto& db, auto& tx) { (void)db.jobs(tx).pending("x"); }, "10, 'video_process'", {"idx_jobs_status_created"}},
    {"job.pending_of_type_after", [](auto& db, auto& tx) { (void)db.jobs(tx).pending("x", 1, list_scope{"job.pending_of_type", "x"}.at(dated, 1)); }, "10, '2026-01-01 05:00', 500, 'video_process'", {"idx_jobs_status_created"}},
    {"job.page", [](auto& db, auto& tx) { (void)db.jobs(tx).page(); }, "1000, 100", {"processing_jobs_pkey"}},
    {"job.failed", [](auto& db, auto& tx) { (void)db.jobs(tx).failed("x"); }, "'video_process', 100", {"idx_jobs_failed"}},
    {"job.failed_after_date", [](auto& db, auto& tx) { (void)db.jobs(tx).failed("x", 1, list_scope{"job.failed", "x"}.at(dated, 1)); }, "'video_process', 100, '2026-01-01 05:00', 500", {"idx_jobs_failed"}},
    {"job.failed_after_undated", [](auto& db, auto& tx) { (void)db.jobs(tx).failed("x", 1, list_scope{"job.failed", "x"}.at(undated, 1)); }, "'video_process', 100, 500", {"idx_jobs_failed"}},
    {"job.claim", [](auto& db, auto& tx) { db.jobs(tx).claim({"x"}, 1); }, "ARRAY['video_process'], 10, 60000", {"idx_jobs_status_created"}, leases},
    {"job.update_status", [](auto& db, auto& tx) { db.jobs(tx).update_status(1, "completed"); }, "7, 'completed', 1, NULL, NULL", {"processing_jobs_pkey"}},
    {"job.heartbeat", [](auto& db, auto& tx) { db.jobs(tx).heartbeat({{1, 1}}); }, "ARRAY[7, 8], ARRAY[1, 2], 60000", {"processing_jobs_pkey"}, leases},
    {"job.set_progress", [](auto& db, auto& tx) { db.jobs(tx).set_progress({1, 1}, 0.5); }, "ARRAY[7], ARRAY[1], 0.5, ''", {"processing_jobs_pkey"}, leases},
    {"job.complete", [](auto& db, auto& tx) { db.jobs(tx).complete({{1, 1}}); }, "ARRAY[7, 8], ARRAY[1, 2]", {"processing_jobs_pkey"}, leases},
    {"job.fail", [](auto& db, auto& tx) { db.jobs(tx).fail({{1, 1}}, "x"); }, "ARRAY[7, 8], ARRAY[1, 2], 'x', true, 1000, 60000", {"processing_jobs_pkey"}, leases},
    {"job.release", [](auto& db, auto& tx) { db.jobs(tx).release({{1, 1}}); }, "ARRAY[7, 8], ARRAY[1, 2]", {"processing_jobs_pkey"}, leases},
    {"job.lock_to_end", [](auto&, auto& tx) { (void)lock_or_pass_over(tx, {{1, 1}}, {}); }, "ARRAY[7, 8], ARRAY[1, 2]", {"processing_jobs_pkey"}, leases},
    {"job.rescue_expired", [](auto& db, auto& tx) { db.jobs(tx).rescue_expired(); }, "1000", {"processing_jobs_pkey", "idx_processing_jobs_status"}, leases},
    {"job.count_by_status", [](auto& db, auto& tx) { (void)db.jobs(tx).count_by_status("x"); }, "'pending'", {"idx_processing_jobs_status", "idx_jobs_status_created"}},
};
// clang-format on

/// The SQL that the repository sends for it; what it changes is rolled back.
std::string sql_of(const expectation& query) {
  auto tx = loaded().db->begin();
  query.call(*loaded().db, tx);
  tx.rollback();
  return loaded().texts->of(query.name);
}

/// `mode` is a value of plan_cache_mode, `options` are EXPLAIN's.
json plan_of(const std::string& sql, const std::string& arguments, const char* mode,
             const char* options = "FORMAT JSON") {
  const auto session = test::connect(loaded().options);
  const auto until = [] { return deadline::in(std::chrono::seconds{30}); };
  session->command(fmt::format("SET plan_cache_mode = {}; PREPARE it AS {}", mode, sql), until());
  const auto text =
      test::query_text(*session, fmt::format("EXPLAIN ({}) EXECUTE it({})", options, arguments));
  return json::parse(text)[0]["Plan"];
}

plan_scans scans_of(const std::string& sql, const std::string& arguments, const char* mode) {
  plan_scans scans;
  collect(plan_of(sql, arguments, mode), scans);
  return scans;
}

/// The rows of tables that a plan which was executed has looked at.
double rows_read(const json& node) {
  double rows = 0;
  if (node.contains("Relation Name")) {
    rows = (node["Actual Rows"].get<double>() + node.value("Rows Removed by Filter", 0.0)) *
           node["Actual Loops"].get<double>();
  }
  if (!node.contains("Plans")) return rows;
  for (const auto& child : node["Plans"]) rows += rows_read(child);
  return rows;
}

using modes = std::vector<const char*>;

void expect_served_by_index(const std::string& sql, const std::string& arguments,
                            const std::vector<std::string>& indexes,
                            const std::set<std::string>& whole_tables = {},
                            const modes& plan_cache_modes = {"force_generic_plan",
                                                             "force_custom_plan"}) {
  for (const auto* mode : plan_cache_modes) {
    SCOPED_TRACE(mode);
    const auto scans = scans_of(sql, arguments, mode);
    EXPECT_THAT(scans.indexes, Contains(AnyOfArray(indexes)));
    EXPECT_THAT(scans.whole_tables, IsSubsetOf(whole_tables));
  }
}

class explain_test : public ::testing::TestWithParam<expectation> {};

TEST_P(explain_test, query_is_served_by_an_index) {
  expect_served_by_index(sql_of(GetParam()), GetParam().arguments, GetParam().indexes,
                         GetParam().whole_tables);
}

const auto name_of_query = [](const auto& instance) {
  std::string name = instance.param.name;
  std::replace(name.begin(), name.end(), '.', '_');
  return name;
};

INSTANTIATE_TEST_SUITE_P(hot_queries, explain_test, ::testing::ValuesIn(hot_queries),
                         name_of_query);

/// A query of the table above whose arguments lie in the middle of its list, and the rows that it
/// may look at: those of the page, the one before it and the one that ends it; of a type that one
/// job in three has, as many again of the others.
struct deep_page {
  const char* name;
  double most_rows;

  friend void PrintTo(const deep_page& page, std::ostream* out) { *out << page.name; }
};

class deep_page_test : public ::testing::TestWithParam<deep_page> {};

TEST_P(deep_page_test, reads_its_own_rows_only) {
  const auto query = std::find_if(hot_queries.begin(), hot_queries.end(), [](const auto& each) {
    return std::string_view{each.name} == GetParam().name;
  });
  ASSERT_NE(query, hot_queries.end());
  for (const auto* mode : {"force_generic_plan", "force_custom_plan"}) {
    SCOPED_TRACE(mode);
    const auto plan = plan_of(sql_of(*query), query->arguments, mode, "ANALYZE, FORMAT JSON");
    EXPECT_GT(rows_read(plan), 0);
    EXPECT_LE(rows_read(plan), GetParam().most_rows) << plan.dump(1);
  }
}

INSTANTIATE_TEST_SUITE_P(lists, deep_page_test,
                         ::testing::Values(deep_page{"video.unprocessed_page", 102},
                                           deep_page{"job.pending_after", 12},
                                           deep_page{"job.pending_of_type_after", 36},
                                           deep_page{"job.failed_after_date", 102}),
                         name_of_query);

// No repository reads match results by the fingerprint that matched; the server does, for the
// foreign key of each fingerprint that is deleted (ri_triggers.c).
TEST(explain_others_test, deleting_a_fingerprint_looks_for_its_matches_by_index) {
  expect_served_by_index(
      "SELECT 1 FROM ONLY match_results AS x WHERE $1 = x.matched_fingerprint_id FOR KEY SHARE OF "
      "x",
      "7", {"idx_match_results_matched_fp"});
}

// The repositories read jobs of a type and status in the order of the partial indexes; without an
// order, as the Python services count them, the composite index is the shortest way. Where the
// values are known, the statistics of a column of four values make its own index look as cheap.
TEST(explain_others_test, jobs_of_a_type_and_status_are_counted_by_index) {
  expect_served_by_index("SELECT count(*) FROM processing_jobs WHERE job_type = $1 AND status = $2",
                         "'channel_ingest', 'running'", {"idx_processing_jobs_type_status"}, {},
                         {"force_generic_plan"});
}

}  // namespace
}  // namespace soundhash::db
