// Processing jobs: a worker, what its handlers may do, and the calls underneath.

#include <chrono>
#include <iostream>
#include <stdexcept>
#include <stop_token>
#include <string>
#include <thread>
#include <vector>

#include <soundhash/db.hpp>
#include <soundhash/db/migrate/migrator.hpp>

namespace sdb = soundhash::db;
using namespace std::chrono_literals;

namespace {

bool download(const std::string& video_id, const std::stop_token& stop) {
  return !video_id.empty() && !stop.stop_requested();
}

void work(sdb::database& db, const std::stop_token& until) {
  const sdb::job_worker worker{
      db, {.job_types = {"video_process"}, .concurrency = 4}, [&](sdb::job_run& run) {
        const auto video = db.videos().find_by_video_id(run.job().target_id.value());
        if (!video) throw sdb::job_unrecoverable{"no such video"};  // never tried again
        run.set_progress(0.1, "Downloading");
        if (!download(video->video_id, run.stop())) {       // cancelled, lost, or the worker stops
          throw std::runtime_error{"the download failed"};  // tried again later
        }
        db.with_transaction([&](sdb::transaction& tx) {
          db.fingerprints(tx).create(
              {.video_id = video->id, .end_time = 90, .fingerprint_hash = "a1b2"});
          db.videos(tx).mark_processed(video->id);
          run.complete(tx);  // all of this happens once, or nothing
        });
      }};
  worker.run(until);  // returns when a stop was requested and the handlers have ended
}

void work_by_hand(sdb::database& db) {
  for (const auto& [job, lease, expires_at] : db.jobs().claim({"channel_ingest"}, 10, 60s)) {
    if (db.jobs().heartbeat({lease}, 60s).empty()) continue;  // lost or cancelled: stop working
    if (job.target_id) {
      db.jobs().complete({lease});  // or nothing, when it is not held any more
    } else {
      db.jobs().fail({lease}, "no target", sdb::job_backoff{.first = 10s, .most = 1h});
    }
  }
  db.jobs().rescue_expired();
}

}  // namespace

int main() try {
  const auto options = sdb::database_options::from_env();
  sdb::migrator{options}.up();
  auto db = sdb::database::open(options);
  const auto channel = db.channels().create({.channel_id = "UC1"});
  const std::vector<sdb::new_video> videos{{.video_id = "v1"}, {.video_id = "v2"}};
  db.videos().ingest(channel.id, videos, "video_process");
  db.jobs().create({.job_type = "channel_ingest", .target_id = "UC1"});
  work_by_hand(db);

  std::jthread worker{[&](const std::stop_token& stop) { work(db, stop); }};
  const auto until = sdb::deadline::in(60s);
  while (db.jobs().count_by_status(sdb::job_status::completed) < 3) {
    if (until.passed()) throw std::runtime_error{"the jobs are not done"};
    std::this_thread::sleep_for(10ms);
  }
  for (const auto& [status, count] : db.jobs().counts_by_status()) {
    std::cout << status.value_or("(none)") << ": " << count << '\n';
  }
  return 0;
} catch (const std::exception& problem) {
  std::cerr << problem.what() << '\n';
  return 1;
}
