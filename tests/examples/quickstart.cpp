// The first program of a service: settings from the environment, a schema, a few calls.

#include <iostream>

#include <soundhash/db.hpp>
#include <soundhash/db/migrate/migrator.hpp>

namespace sdb = soundhash::db;

int main() try {
  const auto options = sdb::database_options::from_env();
  sdb::migrator{options}.up();
  auto db = sdb::database::open(options);

  const auto channel = db.channels().get_or_create({.channel_id = "UC38IQsAvIsxxjztdMZQtwHA"});
  db.videos().create({.video_id = "dQw4w9WgXcQ", .channel_id = channel.id, .title = "A video"});
  const auto video = db.videos().find_by_video_id("dQw4w9WgXcQ");
  std::cout << video->title.value_or("(untitled)") << " has id " << video->id << '\n';
  std::cout << db.metrics().snapshot().total_queries << " queries\n";
} catch (const sdb::error& problem) {
  std::cerr << problem.what() << '\n';
  return 1;
}
