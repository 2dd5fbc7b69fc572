#include "read_ratios.hpp"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <map>
#include <set>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <soundhash/db.hpp>

#include "dataset.hpp"
#include "raw_postgres.hpp"

namespace sdb = soundhash::db;

namespace {

using format = raw_postgres::format;

constexpr const char* select_video =
    "SELECT id, video_id, channel_id, title, description, duration, view_count, like_count, "
    "upload_date, url, thumbnail_url, processed, processing_started, processing_completed, "
    "processing_error, created_at, updated_at FROM videos WHERE video_id = $1";
constexpr const char* select_unprocessed =
    "SELECT id, video_id, channel_id, title, description, duration, view_count, like_count, "
    "upload_date, url, thumbnail_url, processed, processing_started, processing_completed, "
    "processing_error, created_at, updated_at FROM videos WHERE processed = false "
    "ORDER BY created_at LIMIT $1";
constexpr const char* select_by_hash =
    "SELECT id, video_id, start_time, end_time, fingerprint_hash, sample_rate, segment_length, "
    "confidence_score, peak_count, created_at, n_fft, hop_length, fingerprint_data "
    "FROM audio_fingerprints WHERE fingerprint_hash = $1 "
    "ORDER BY video_id, start_time, id LIMIT $2";
constexpr const char* select_by_hashes =
    "SELECT f.id, f.video_id, f.start_time, f.end_time, f.fingerprint_hash, f.sample_rate, "
    "f.segment_length, f.confidence_score, f.peak_count, f.created_at, f.n_fft, f.hop_length "
    "FROM unnest($1::text[]) AS h(hash) JOIN audio_fingerprints AS f "
    "ON f.fingerprint_hash = h.hash";
constexpr const char* select_hits =
    "SELECT id, video_id, start_time FROM audio_fingerprints WHERE fingerprint_hash = $1 LIMIT $2";
constexpr const char* select_video_by_id =
    "SELECT id, video_id, channel_id, title, duration, url FROM videos WHERE id = $1";

constexpr sdb::query video_ids{"bench.video_ids",
                               "SELECT video_id FROM videos ORDER BY md5(video_id) LIMIT $1",
                               sdb::access::read_only};
constexpr sdb::query some_hashes{
    "bench.some_hashes",
    "SELECT DISTINCT fingerprint_hash FROM audio_fingerprints TABLESAMPLE SYSTEM (5) "
    "REPEATABLE (1) ORDER BY 1 LIMIT $1",
    sdb::access::read_only};

sdb::database open(const ratio_run& run, std::size_t connections) {
  auto settings = run.settings;
  settings.pool.size = connections;
  auto db = sdb::database::open(settings);
  load(db, run.size);
  return db;
}

[[noreturn]] void fail(const std::string& row) {
  throw std::runtime_error{row + ": another result than expected"};
}

void judge_p50(ratio_result& row, double bar) {
  judge(row, "p50", row.ours.p50_us / row.baseline->p50_us, bar);
}
void judge_cpu(ratio_result& row, double bar) {
  judge(row, "cpu", row.ours.cpu_us / row.baseline->cpu_us, bar);
}

/// "{a,b}" as text, of texts that need no quotes.
std::string array_of(const std::vector<std::string>& texts) {
  std::string list = "{";
  for (const auto& text : texts) list += (list.size() > 1 ? "," : "") + text;
  return list + "}";
}

std::vector<std::string> choose_hashes(sdb::database& db, int count) {
  auto hashes = db.all<std::string>(some_hashes, {count});
  if (hashes.size() != static_cast<std::size_t>(count)) {
    throw std::runtime_error{"too few fingerprints are loaded: raise --scale"};
  }
  return hashes;
}

}  // namespace

ratio_result measure_point_read(const ratio_run& run, std::size_t threads) {
  constexpr std::size_t reads = 8'000;
  const auto each = reads / threads;
  auto db = open(run, threads);
  const auto ids = db.all<std::string>(video_ids, {1000});
  std::vector<raw_postgres> by_hand;
  for (std::size_t i = 0; i < threads; ++i) {
    by_hand.emplace_back(run.settings).prepare("video", select_video);
  }

  ratio_result row;
  row.name = "point_read_" + std::to_string(threads) + "t";
  row.unit = "read of one video";
  row.baseline_name = "libpq, prepared, text";
  const auto wanted = [&](std::size_t thread, std::size_t i) -> const std::string& {
    return ids[(thread * each + i) % ids.size()];
  };
  const auto ours = [&] {
    return time_threads(threads, reads, [&](std::size_t thread) {
      for (std::size_t i = 0; i < each; ++i) {
        const auto& id = wanted(thread, i);
        const auto found = db.videos().find_by_video_id(id);
        if (!found || found->video_id != id) fail(row.name);
      }
    });
  };
  const auto baseline = [&] {
    return time_threads(threads, reads, [&](std::size_t thread) {
      for (std::size_t i = 0; i < each; ++i) {
        const auto& id = wanted(thread, i);
        const auto got = by_hand[thread].run("video", {id.c_str()}, format::text);
        if (PQntuples(got.get()) != 1 || text_video(got.get(), 0).video_id != id) fail(row.name);
      }
    });
  };
  compete(run.rounds, ours, baseline, row);
  judge_p50(row, 1.05);
  judge_cpu(row, 1.12);
  return row;
}

ratio_result measure_rows_100(const ratio_run& run) {
  constexpr std::size_t calls = 1'000;
  constexpr std::size_t rows = 100;
  auto db = open(run, 1);
  raw_postgres by_hand{run.settings};
  by_hand.prepare("unprocessed", select_unprocessed);

  ratio_result row;
  row.name = "rows_100";
  row.unit = "row of 100";
  row.baseline_name = "libpq, prepared, binary";
  const auto ours = [&] {
    return time_threads(1, calls * rows, [&](std::size_t) {
      for (std::size_t i = 0; i < calls; ++i) {
        const auto found = db.videos().unprocessed(rows);
        if (found.size() != rows || found.back().processed != false) fail(row.name);
      }
    });
  };
  const auto baseline = [&] {
    return time_threads(1, calls * rows, [&](std::size_t) {
      for (std::size_t i = 0; i < calls; ++i) {
        const auto got = by_hand.run("unprocessed", {"100"}, format::binary);
        std::vector<sdb::video> found;
        found.reserve(rows);
        for (int at = 0; at < PQntuples(got.get()); ++at) {
          found.push_back(binary_video(got.get(), at));
        }
        if (found.size() != rows || found.back().processed != false) fail(row.name);
      }
    });
  };
  compete(run.rounds, ours, baseline, row);
  judge_p50(row, 1.05);
  judge_cpu(row, 1.2);
  return row;
}

ratio_result measure_hash_lookup(const ratio_run& run) {
  constexpr std::size_t calls = 3'000;
  auto db = open(run, 1);
  const auto hashes = choose_hashes(db, 1'000);
  raw_postgres by_hand{run.settings};
  by_hand.prepare("by_hash", select_by_hash);

  ratio_result row;
  row.name = "hash_lookup";
  row.unit = "fingerprints of one hash, with data";
  row.baseline_name = "libpq, prepared, binary";
  std::size_t our_rows = 0;
  std::size_t their_rows = 0;
  const auto ours = [&] {
    return time_threads(1, calls, [&](std::size_t) {
      for (std::size_t i = 0; i < calls; ++i) {
        const auto& hash = hashes[i % hashes.size()];
        const auto found = db.fingerprints().find_by_hash_with_data(hash);
        if (found.empty() || found.back().fingerprint.fingerprint_hash != hash) fail(row.name);
        our_rows += found.size();
      }
    });
  };
  const auto baseline = [&] {
    return time_threads(1, calls, [&](std::size_t) {
      for (std::size_t i = 0; i < calls; ++i) {
        const auto& hash = hashes[i % hashes.size()];
        const auto got = by_hand.run("by_hash", {hash.c_str(), "1000"}, format::binary);
        std::vector<sdb::fingerprint_with_data> found;
        found.reserve(static_cast<std::size_t>(PQntuples(got.get())));
        for (int at = 0; at < PQntuples(got.get()); ++at) {
          found.push_back(binary_fingerprint_with_data(got.get(), at));
        }
        if (found.empty() || found.back().fingerprint.fingerprint_hash != hash) fail(row.name);
        their_rows += found.size();
      }
    });
  };
  compete(run.rounds, ours, baseline, row);
  if (our_rows != their_rows) fail(row.name);
  judge_p50(row, 1.05);
  return row;
}

ratio_result measure_hash_batch(const ratio_run& run) {
  constexpr std::size_t calls = 30;
  auto db = open(run, 1);
  const auto hashes = choose_hashes(db, 500);
  raw_postgres by_hand{run.settings};
  by_hand.prepare("by_hashes", select_by_hashes);
  const auto list = array_of(hashes);

  ratio_result row;
  row.name = "hash_batch_500";
  row.unit = "call with 500 hashes";
  row.baseline_name = "libpq, prepared, binary, the same join";
  std::size_t our_rows = 0;
  std::size_t their_rows = 0;
  const auto ours = [&] {
    return time_threads(1, calls, [&](std::size_t) {
      for (std::size_t i = 0; i < calls; ++i)
        our_rows += db.fingerprints().find_by_hashes(hashes).size();
    });
  };
  const auto baseline = [&] {
    return time_threads(1, calls, [&](std::size_t) {
      for (std::size_t i = 0; i < calls; ++i) {
        const auto got = by_hand.run("by_hashes", {list.c_str()}, format::binary);
        std::vector<sdb::fingerprint> found;
        found.reserve(static_cast<std::size_t>(PQntuples(got.get())));
        for (int at = 0; at < PQntuples(got.get()); ++at) {
          found.push_back(binary_fingerprint(got.get(), at));
        }
        their_rows += found.size();
      }
    });
  };
  compete(run.rounds, ours, baseline, row);
  if (our_rows != their_rows || our_rows < calls * hashes.size()) fail(row.name);
  judge_p50(row, 1.05);
  return row;
}

namespace {

constexpr std::size_t clip_hashes = 120;
constexpr double frame = 512.0 / 22050.0;

/// A clip of 15 s that begins somewhere in a video, with some noise of other videos.
struct clip {
  std::vector<sdb::query_hash> hashes;
  std::int32_t video = 0;
};

std::vector<clip> choose_clips(sdb::database& db, std::size_t count) {
  std::vector<clip> clips;
  const auto noise = choose_hashes(db, static_cast<int>(clip_hashes));
  for (const auto& id : db.all<std::string>(video_ids, {static_cast<int>(count)})) {
    clip one;
    one.video = db.videos().find_by_video_id(id)->id;
    for (const auto& [hash, start] : db.fingerprints().hashes_of_video(one.video)) {
      if (one.hashes.size() < clip_hashes) one.hashes.push_back({hash, start});
    }
    for (std::size_t i = one.hashes.size(); i < clip_hashes; ++i) {
      one.hashes.push_back({noise[i], static_cast<double>(i) * 0.125});
    }
    clips.push_back(std::move(one));
  }
  return clips;
}

/// What an application without `match` does.
std::int32_t match_by_hand(raw_postgres& db, const clip& wanted) {
  std::map<std::pair<std::int32_t, std::int64_t>, std::set<double>> votes;
  std::map<std::int32_t, std::string> titles;
  for (const auto& [hash, offset] : wanted.hashes) {
    const auto hits = db.run("hits", {hash.c_str(), "100"}, format::text);
    for (int at = 0; at < PQntuples(hits.get()); ++at) {
      const char* const video = PQgetvalue(hits.get(), at, 1);
      const auto found = db.run("video_by_id", {video}, format::text);
      const auto id = std::stoi(video);
      titles[id] = PQgetvalue(found.get(), 0, 3);
      const double delta = std::stod(PQgetvalue(hits.get(), at, 2)) - offset;
      votes[{id, std::llround(delta / frame)}].insert(offset);
    }
  }
  const auto best = std::max_element(votes.begin(), votes.end(), [](const auto& a, const auto& b) {
    return a.second.size() < b.second.size();
  });
  return best == votes.end() ? 0 : best->first.first;
}

}  // namespace

ratio_result measure_match_clip(const ratio_run& run) {
  constexpr std::size_t count = 20;
  auto db = open(run, 1);
  const auto clips = choose_clips(db, count);
  raw_postgres by_hand{run.settings};
  by_hand.prepare("hits", select_hits);
  by_hand.prepare("video_by_id", select_video_by_id);

  ratio_result row;
  row.name = "match_clip";
  row.unit = "clip of 120 hashes";
  row.baseline_name = "libpq, a query per hash and a video per hit";
  const auto each = [&](auto match) {
    std::vector<double> spans;
    auto total = time_threads(1, count, [&](std::size_t) {
      for (const auto& one : clips) {
        const auto began = std::chrono::steady_clock::now();
        if (match(one) != one.video) fail(row.name);
        const std::chrono::duration<double, std::micro> span =
            std::chrono::steady_clock::now() - began;
        spans.push_back(span.count());
      }
    });
    std::sort(spans.begin(), spans.end());
    total.p50_us = spans[spans.size() / 2];
    total.p99_us = spans[spans.size() * 95 / 100];
    return total;
  };
  const auto ours = [&] {
    return each([&](const clip& one) {
      const auto found = db.fingerprints().match(one.hashes);
      return found.empty() ? 0 : found.front().id;
    });
  };
  const auto baseline = [&] {
    return each([&](const clip& one) { return match_by_hand(by_hand, one); });
  };
  ours();  // the caches are warm
  compete(run.rounds, ours, baseline, row);
  judge_p50(row, 0.20);
  judge(row, "p95 ms", *row.ours.p99_us / 1000, 25.0);
  return row;
}
