// The best practices of the application's document, in terms of this library.

#include <iostream>
#include <string>
#include <vector>

#include <soundhash/db.hpp>
#include <soundhash/db/migrate/migrator.hpp>

namespace sdb = soundhash::db;

namespace {

std::size_t show_channels(sdb::database& db) {
  // Bad: one more query for each video.
  for (const auto& video : db.videos().unprocessed(100)) {
    std::cout << db.channels().find(video.channel_id)->channel_name.value_or("") << '\n';
  }
  // Good: videos and their channels in one query.
  const auto videos = db.videos().unprocessed_with_channel(100);
  for (const auto& [video, channel] : videos) {
    std::cout << channel.channel_name.value_or("") << '\n';
  }
  return videos.size();
}

std::size_t show_hashes(sdb::database& db, std::int32_t video_id) {
  // All columns but the blob; fingerprint_data comes only with the methods named …_with_data.
  const auto prints = db.fingerprints().by_video(video_id);
  // Only what is needed.
  const auto hashes = db.fingerprints().hashes_of_video(video_id);
  return prints.size() == hashes.size() ? hashes.size() : 0;
}

void store_batches(sdb::database& db, const std::vector<sdb::new_fingerprint>& prints,
                   double similarity) {
  const auto ids = db.fingerprints().create_batch(prints);
  std::vector<sdb::new_match_result> matches;
  for (const auto id : ids) {
    matches.push_back({.query_fingerprint_id = ids.front(),
                       .matched_fingerprint_id = id,
                       .similarity_score = similarity});
  }
  db.match_results().create_batch(matches);
}

void show_metrics(sdb::database& db) {
  const auto metrics = db.metrics().snapshot();
  std::cout << "Total queries: " << metrics.total_queries << '\n'
            << "Slow queries: " << metrics.slow_queries << '\n'
            << "Average duration: " << metrics.average_duration * 1000 << " ms\n";
  if (const auto* q = metrics.query("video.unprocessed")) {
    std::cout << "p95 of video.unprocessed: " << q->p95 * 1000 << " ms\n";
  }
  std::cout << sdb::prometheus_text(db.metrics().totals());  // for a /metrics endpoint
  db.metrics().reset();                                      // the next snapshot counts from here
}

}  // namespace

int main() try {
  const auto options = sdb::database_options::from_env();
  sdb::migrator{options}.up();
  auto db = sdb::database::open(options);
  const auto channel = db.channels().create({.channel_id = "UC1", .channel_name = "Music"});
  const auto video = db.videos().create({.video_id = "v1", .channel_id = channel.id});
  store_batches(db, {{.video_id = video.id, .end_time = 90, .fingerprint_hash = "a1"}}, 0.9);
  const bool right = show_channels(db) == 1 && show_hashes(db, video.id) == 1;
  show_metrics(db);
  return right && db.metrics().snapshot().total_queries == 0 ? 0 : 1;
} catch (const std::exception& problem) {
  std::cerr << problem.what() << '\n';
  return 1;
}
