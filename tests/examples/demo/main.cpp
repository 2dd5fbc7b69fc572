// The main job of SoundHash on real music: store the fingerprints of 44 pieces, then find out where
// 93 short, badly encoded excerpts come from. Everything goes through the public interface of
// soundhash::db; settings come from the environment.

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <map>
#include <span>
#include <stdexcept>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include <fmt/format.h>

#include <soundhash/db.hpp>
#include <soundhash/db/migrate/migrator.hpp>

#include "dataset.hpp"
#include "progress_bar.hpp"
#include "report.hpp"

namespace sdb = soundhash::db;

namespace {

constexpr std::string_view job_type = "video_process";
constexpr std::size_t batch_rows = 1000;
constexpr int rounds = 20;

/// Chromaprint's parameters in the columns that describe how a fingerprint was made.
constexpr std::int32_t sample_rate = 11025;
constexpr std::int32_t n_fft = 4096;
constexpr std::int32_t hop_length = 1365;

void migrate(const sdb::database_options& options) {
  sdb::migrator migrator{options};
  const auto applied = migrator.up().size();
  fmt::print("Schema: {} migrations applied\n", applied);
}

/// Channels, their videos and a job per video. Running it twice changes nothing.
std::size_t ingest(sdb::database& db, const std::vector<track>& tracks) {
  std::map<std::string, std::vector<sdb::new_video>> by_channel;
  std::map<std::string, std::string> names;
  for (const auto& t : tracks) {
    names[t.channel_id] = t.channel_name;
    by_channel[t.channel_id].push_back(
        {.video_id = t.video_id, .title = t.title, .duration = t.duration});
  }
  std::size_t stored = 0;
  for (const auto& [channel_id, videos] : by_channel) {
    const auto channel =
        db.channels().get_or_create({.channel_id = channel_id, .channel_name = names[channel_id]});
    stored += db.videos().ingest(channel.id, videos, job_type).size();
  }
  fmt::print("Ingest: {} channels, {} new videos with a job each\n", by_channel.size(), stored);
  return stored;
}

std::vector<sdb::new_fingerprint> fingerprints_of(const track& t, std::int32_t video_id) {
  std::vector<sdb::new_fingerprint> rows;
  rows.reserve(t.codes.size());
  for (std::size_t i = 0; i < t.codes.size(); ++i) {
    const double start = static_cast<double>(i) * seconds_per_code;
    rows.push_back({.video_id = video_id,
                    .start_time = start,
                    .end_time = start + seconds_per_code,
                    .fingerprint_hash = fingerprint_hash(t.codes[i]),
                    .sample_rate = sample_rate,
                    .n_fft = n_fft,
                    .hop_length = hop_length});
  }
  return rows;
}

/// All fingerprints of one video and the end of its job, or none: a worker that dies half way, or
/// that was so slow that another one has taken over its job, leaves nothing behind.
void store_fingerprints(sdb::database& db, sdb::job_run& run, const sdb::video& video,
                        const track& t) {
  const auto rows = fingerprints_of(t, video.id);
  db.with_transaction([&](sdb::transaction& tx) {
    for (std::size_t start = 0; start < rows.size(); start += batch_rows) {
      const auto count = std::min(batch_rows, rows.size() - start);
      db.fingerprints(tx).create_batch(std::span{rows}.subspan(start, count));
    }
    db.videos(tx).mark_processed(video.id);
    run.complete(tx);
  });
}

void process(sdb::database& db, sdb::job_run& run, const std::map<std::string, track>& tracks) {
  const auto& t = tracks.at(run.job().target_id.value());
  const auto video = db.videos().find_by_video_id(t.video_id);
  if (!video) throw sdb::job_unrecoverable{"video " + t.video_id + " is gone"};
  db.videos().mark_processing_started(video->id);
  if (db.fingerprints().exists(video->id, sample_rate, n_fft, hop_length)) return;
  store_fingerprints(db, run, *video, t);
}

/// Two jobs at once, until none is left. A service would run until it is told to stop.
void run_worker(sdb::database& db, const std::vector<track>& tracks) {
  std::map<std::string, track> by_id;
  for (const auto& t : tracks) by_id[t.video_id] = t;
  const auto jobs = db.jobs().count_by_status(sdb::job_status::pending);
  progress_bar progress{"Jobs", static_cast<std::size_t>(jobs)};
  std::stop_source none_left;
  std::atomic<std::int64_t> left{jobs};
  const sdb::job_worker worker{
      db,
      {.job_types = {std::string{job_type}}, .concurrency = 2, .retry = std::nullopt},
      [&](sdb::job_run& run) {
        try {
          process(db, run, by_id);
        } catch (...) {
          if (--left == 0) none_left.request_stop();
          throw;
        }
        progress.advance();
        if (--left == 0) none_left.request_stop();
      }};
  if (jobs > 0) worker.run(none_left.get_token());
  for (const auto& [status, count] : db.jobs().counts_by_status()) {
    fmt::print("Jobs {}: {}\n", status.value_or("without status"), count);
  }
}

verdict match(sdb::database& db, const clip& c) {
  std::vector<sdb::query_hash> hashes;
  for (std::size_t i = 0; i < c.codes.size(); ++i) {
    hashes.push_back({.hash = fingerprint_hash(c.codes[i]),
                      .offset = static_cast<double>(i) * seconds_per_code});
  }
  const auto started = std::chrono::steady_clock::now();
  auto found = db.fingerprints().match(hashes, {.bin_seconds = seconds_per_code, .limit = 1});
  const std::chrono::duration<double, std::milli> took = std::chrono::steady_clock::now() - started;
  verdict v{.of = &c, .found = std::nullopt, .milliseconds = took.count()};
  if (!found.empty()) v.found = std::move(found.front());
  return v;
}

std::vector<verdict> match_all(sdb::database& db, const std::vector<clip>& clips) {
  progress_bar progress{"Clips", clips.size()};
  std::vector<verdict> verdicts;
  for (const auto& c : clips) {
    verdicts.push_back(match(db, c));
    progress.advance();
  }
  return verdicts;
}

/// What a service does all day: shows where each clip comes from. With REDIS_ENABLED all but the
/// first read of a video come from the cache.
void show_videos(sdb::database& db, const std::vector<verdict>& verdicts) {
  progress_bar progress{"Requests", rounds * verdicts.size()};
  for (int round = 0; round < rounds; ++round) {
    for (const auto& v : verdicts) {
      if (v.found && !db.videos().find_with_channel(v.found->video_id)) {
        throw std::runtime_error{"video " + v.found->video_id + " is gone"};
      }
      progress.advance();
    }
  }
}

int run(const std::filesystem::path& data) {
  const auto tracks = load_tracks(data / "tracks.jsonl");
  const auto clips = load_clips(data / "clips.jsonl");

  const auto options = sdb::database_options::from_env();
  migrate(options);
  auto db = sdb::database::open(options);
  db.warm_up();

  ingest(db, tracks);
  run_worker(db, tracks);
  const auto verdicts = match_all(db, clips);
  show_videos(db, verdicts);

  print_verdicts(verdicts);
  print_metrics(db.metrics().snapshot(), db.pool_stats());
  print_cache(db.metrics().totals());
  const bool all_right =
      std::all_of(verdicts.begin(), verdicts.end(), [](const verdict& v) { return v.right(); });
  return all_right ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    fmt::print(stderr,
               "usage: soundhash-demo FOLDER\n  FOLDER holds tracks.jsonl and clips.jsonl\n");
    return 2;
  }
  try {
    return run(argv[1]);
  } catch (const std::exception& problem) {
    fmt::print(stderr, "soundhash-demo: {}\n", problem.what());
    return 1;
  }
}
