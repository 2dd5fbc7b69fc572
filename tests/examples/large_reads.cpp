// Reads that are too large, or too many, for one answer: pages, streams, pipelines.

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <iostream>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <soundhash/db.hpp>
#include <soundhash/db/migrate/migrator.hpp>

namespace sdb = soundhash::db;
using namespace std::chrono_literals;

namespace {

constexpr sdb::query all_hashes{"service.all_hashes",
                                "SELECT fingerprint_hash FROM audio_fingerprints WHERE id > $1",
                                sdb::access::read_only};
constexpr sdb::query count_videos{"service.count_videos",
                                  "SELECT count(*) FROM videos WHERE channel_id = $1",
                                  sdb::access::read_only};
constexpr sdb::query last_upload{"service.last_upload",
                                 "SELECT max(upload_date) FROM videos WHERE channel_id = $1",
                                 sdb::access::read_only};

void require(bool holds, const char* what) {
  if (!holds) throw std::runtime_error{what};
}

std::size_t export_videos(sdb::database& db) {
  std::size_t written = 0;
  for (std::optional<sdb::cursor> at{std::in_place}; at;) {
    const auto videos = db.videos().page(*at, 1000);  // holds no connection in between
    for (const auto& video : videos) std::cout << video.video_id << '\n';
    written += videos.size();
    at = videos.next;
  }
  return written;
}

/// What a service answers to GET /channels/7/videos?after=…
std::pair<std::vector<sdb::video>, std::string> list_videos(sdb::database& db,
                                                            std::int32_t channel_id,
                                                            std::string after) {
  auto videos = db.videos().by_channel(channel_id, 50, sdb::cursor{std::move(after)});
  const auto next = videos.next.value_or(sdb::cursor{}).text();  // empty: that was all
  return {std::move(videos), next};
}

std::size_t length_of_hashes(sdb::database& db) {
  std::size_t length = 0;
  for (const auto& hash :
       db.stream<std::string>(all_hashes, {0}, {.until = sdb::deadline::in(10s)})) {
    length += hash.size();
  }
  return length;
}

void show_channel(sdb::database& db, std::int32_t id) {
  sdb::pipeline batch;
  const auto videos = batch.one<std::int64_t>(count_videos, {id});
  const auto latest = batch.one<std::optional<sdb::timestamp>>(last_upload, {id});
  db.execute(batch);  // one round trip
  std::cout << videos.get() << " videos, " << (latest.get() ? "dated\n" : "undated\n");
}

}  // namespace

int main() try {
  const auto options = sdb::database_options::from_env();
  sdb::migrator{options}.up();
  auto db = sdb::database::open(options);
  const auto channel = db.channels().create({.channel_id = "UC1"});
  for (const char* id : {"a", "b"}) {
    const auto video = db.videos().create({.video_id = id, .channel_id = channel.id});
    db.fingerprints().create({.video_id = video.id, .fingerprint_hash = "1234"});
  }
  require(export_videos(db) == 2, "both videos");
  const auto [videos, next] = list_videos(db, channel.id, "");
  require(videos.size() == 2 && next.empty(), "one page");
  require(length_of_hashes(db) == 8, "both hashes");
  show_channel(db, channel.id);
} catch (const std::exception& problem) {
  std::cerr << problem.what() << '\n';
  return 1;
}
