// Transactions, savepoints, deadlines and what can go wrong.

#include <chrono>
#include <iostream>
#include <stdexcept>
#include <vector>

#include <soundhash/db.hpp>
#include <soundhash/db/migrate/migrator.hpp>

namespace sdb = soundhash::db;
using namespace std::chrono_literals;

namespace {

std::vector<std::int32_t> store(sdb::database& db) {
  return db.with_transaction([&](sdb::transaction& tx) {  // may run again after 40001 or 40P01
    auto channel = db.channels(tx).get_or_create({.channel_id = "UC38IQsAvIsxxjztdMZQtwHA"});
    auto video = db.videos(tx).create({.video_id = "dQw4w9WgXcQ", .channel_id = channel.id});
    std::vector<sdb::new_fingerprint> prints{
        {.video_id = video.id, .start_time = 0, .end_time = 90, .fingerprint_hash = "a1b2"},
        {.video_id = video.id, .start_time = 90, .end_time = 180, .fingerprint_hash = "c3d4"}};
    return db.fingerprints(tx).create_batch(prints);  // ids in the order of the rows
  });
}

void store_or_keep(sdb::database& db, const sdb::new_video& video) {
  auto tx = db.begin({.until = sdb::deadline::in(2s)});
  try {
    tx.savepoint([&](sdb::transaction& inner) { db.videos(inner).create(video); });
  } catch (const sdb::constraint_violation& taken) {
    if (taken.kind() != sdb::constraint_kind::unique) throw;  // only the savepoint was undone
  }
  tx.commit();  // or nothing happens
}

std::string describe(sdb::database& db) {
  try {
    const auto video =
        db.videos().find_by_video_id("dQw4w9WgXcQ", {.until = sdb::deadline::in(50ms)});
    return video ? "found" : "not found";
  } catch (const sdb::timeout_error& late) {
    return late.sent() == sdb::sent::no ? "not even asked" : "no answer in time";
  } catch (const sdb::error& problem) {
    if (problem.retryable()) return "try again later";
    throw;
  }
}

}  // namespace

int main() try {
  const auto options = sdb::database_options::from_env();
  sdb::migrator{options}.up();
  auto db = sdb::database::open(options);
  if (store(db).size() != 2) throw std::runtime_error{"two fingerprints were expected"};
  store_or_keep(db, {.video_id = "dQw4w9WgXcQ", .channel_id = 1});
  const auto answer = describe(db);
  std::cout << answer << '\n';
  return answer == "found" ? 0 : 1;
} catch (const std::exception& problem) {
  std::cerr << problem.what() << '\n';
  return 1;
}
