#include "dataset.hpp"

#include <chrono>
#include <cstdio>

#include <fmt/format.h>

#include <soundhash/db/migrate/migrator.hpp>

namespace sdb = soundhash::db;

namespace {

constexpr sdb::query has_videos{"bench.has_videos", "SELECT EXISTS (SELECT 1 FROM videos)",
                                sdb::access::read_only};

constexpr sdb::query load_channels{
    "bench.load_channels",
    "INSERT INTO channels (channel_id, channel_name, is_active, created_at, updated_at) "
    "SELECT 'UC' || lpad(n::text, 22, '0'), 'Channel ' || n, true, now(), now() "
    "FROM generate_series(1, $1::int) n"};

/// One in ten videos is not processed yet.
constexpr sdb::query load_videos{
    "bench.load_videos",
    "INSERT INTO videos (video_id, channel_id, title, duration, url, upload_date, processed, "
    "created_at, updated_at) "
    "SELECT lpad(to_hex(n), 11, 'v'), c.first + n % $2::int, 'Video ' || n, 60 + n % 3600, "
    "'https://www.youtube.com/watch?v=' || n, now() - n * interval '1 minute', n % 10 <> 0, "
    "now() - n * interval '1 second', now() "
    "FROM generate_series(1, $1::int) n, (SELECT min(id) AS first FROM channels) c"};

constexpr sdb::query load_jobs{
    "bench.load_jobs",
    "INSERT INTO processing_jobs (job_type, status, target_id, parameters, progress, created_at, "
    "retry_count, max_retries) "
    "SELECT 'video_process', "
    "CASE WHEN n % 20 = 0 THEN 'pending' WHEN n % 20 = 1 THEN 'running' "
    "WHEN n % 20 = 2 THEN 'failed' ELSE 'completed' END, "
    "lpad(to_hex(n), 11, 'v'), '{}', 0, now() - n * interval '1 second', 0, 3 "
    "FROM generate_series(1, $1::int) n"};

/// About ten rows share a hash, in any videos.
constexpr sdb::query load_fingerprints{
    "bench.load_fingerprints",
    "INSERT INTO audio_fingerprints (video_id, start_time, end_time, fingerprint_hash, "
    "fingerprint_data, sample_rate, created_at) "
    "SELECT v.first + n % $2::int, n / $2::int * 0.125, n / $2::int * 0.125 + 0.5, "
    "md5((hashint4(n)::bigint & 2147483647) % ($1::int / 10) || ''), "
    "decode(md5(n || ''), 'hex'), 22050, now() "
    "FROM generate_series(0, $1::int - 1) n, (SELECT min(id) AS first FROM videos) v"};

constexpr sdb::query load_matches{
    "bench.load_matches",
    "INSERT INTO match_results (query_fingerprint_id, matched_fingerprint_id, similarity_score, "
    "match_confidence, created_at) "
    "SELECT f.first + n % 1000, f.first + n % $2::int, n % 100 / 100.0, n % 100 / 100.0, now() "
    "FROM generate_series(1, $1::int) n, (SELECT min(id) AS first FROM audio_fingerprints) f"};

/// The covering index is read alone where VACUUM has seen the pages.
constexpr sdb::query analyze{"bench.analyze", "VACUUM ANALYZE"};

constexpr sdb::query one_channel{"bench.one_channel",
                                 "SELECT channel_id FROM channels ORDER BY id LIMIT 1",
                                 sdb::access::read_only};
constexpr sdb::query one_video{"bench.one_video", "SELECT video_id FROM videos ORDER BY id LIMIT 1",
                               sdb::access::read_only};
constexpr sdb::query one_target{"bench.one_target",
                                "SELECT target_id FROM processing_jobs ORDER BY id LIMIT 1",
                                sdb::access::read_only};
constexpr sdb::query one_job_type{"bench.one_job_type",
                                  "SELECT job_type FROM processing_jobs ORDER BY id LIMIT 1",
                                  sdb::access::read_only};
constexpr sdb::query one_hash{"bench.one_hash",
                              "SELECT fingerprint_hash FROM audio_fingerprints ORDER BY id LIMIT 1",
                              sdb::access::read_only};

void run_step(sdb::database& db, const char* what, const sdb::query& statement,
              const sdb::params& values) {
  fmt::print("  loading {:<14}", what);
  std::fflush(stdout);
  const auto started = std::chrono::steady_clock::now();
  const auto rows = db.execute(statement, values);
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - started;
  fmt::print("{:>10} rows {:>8.1f} s\n", rows, took.count());
}

}  // namespace

void load(sdb::database& db, const dataset_size& size) {
  sdb::migrator{db.options()}.up();
  if (db.one<bool>(has_videos)) return;
  auto settings = db.options();
  settings.statement_timeout = {};              // as long as it takes
  settings.slow_query = std::chrono::hours{1};  // and no word about it
  auto loader = sdb::database::open(settings);
  run_step(loader, "channels", load_channels, {size.channels});
  run_step(loader, "videos", load_videos, {size.videos, size.channels});
  run_step(loader, "jobs", load_jobs, {size.jobs});
  run_step(loader, "fingerprints", load_fingerprints, {size.fingerprints, size.videos});
  run_step(loader, "matches", load_matches, {size.matches, size.fingerprints});
  run_step(loader, "statistics", analyze, {});
}

dataset_keys choose_keys(sdb::database& db) {
  return {.channel_id = db.one<std::string>(one_channel),
          .video_id = db.one<std::string>(one_video),
          .job_target_id = db.one<std::string>(one_target),
          .job_type = db.one<std::string>(one_job_type),
          .fingerprint_hash = db.one<std::string>(one_hash)};
}
