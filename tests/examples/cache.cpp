// Reading through the cache: repositories do it by themselves; here are a service's own rows,
// values and writes. The same code runs with REDIS_ENABLED=true and false.

#include <chrono>
#include <cstdint>
#include <iostream>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <tuple>

#include <soundhash/db.hpp>
#include <soundhash/db/migrate/migrator.hpp>

namespace sdb = soundhash::db;

using namespace std::chrono_literals;

namespace service {

struct playlist {
  std::int32_t id = 0;
  std::string name;
};

}  // namespace service

template <>
struct soundhash::db::row_traits<service::playlist> {
  static constexpr auto columns =
      std::tuple{column{"id", &service::playlist::id}, column{"name", &service::playlist::name}};
};

namespace service {

class playlist_repository {
 public:
  explicit playlist_repository(sdb::executor& on) : on_{&on} {}

  std::optional<playlist> find(std::int32_t id) {
    const auto tags = [&](sdb::tag_set& read) { read.add_row("playlists", "id", id); };
    return on_->maybe<playlist>(by_id, {id}, {}, {.ttl = 60s, .tags = tags});
  }

  playlist rename(std::int32_t id, std::string_view name) {
    return on_->changing("playlists", [&](sdb::executor& on, sdb::tag_set& changed) {
      const auto row = on.one<playlist>(set_name, {id, name});
      changed.add_row("playlists", "id", row.id);
      return row;
    });
  }

 private:
  static constexpr sdb::query by_id{"playlist.find", "SELECT id, name FROM playlists WHERE id = $1",
                                    sdb::access::read_only};
  static constexpr sdb::query set_name{
      "playlist.rename", "UPDATE playlists SET name = $2 WHERE id = $1 RETURNING id, name"};

  sdb::executor* on_;
};

}  // namespace service

namespace {

constexpr sdb::query create_table{
    "playlist.create_table", "CREATE TABLE playlists (id int PRIMARY KEY, name text NOT NULL)"};
constexpr sdb::query insert_one{"playlist.insert", "INSERT INTO playlists VALUES (1, 'Morning')"};
constexpr sdb::query hide_channel{"service.hide_channel",
                                  "UPDATE channels SET is_active = false WHERE id = $1"};
constexpr sdb::query count_videos{"service.count_videos", "SELECT count(*) FROM videos",
                                  sdb::access::read_only};

void require(bool holds, const char* what) {
  if (!holds) throw std::runtime_error{what};
}

void own_rows(sdb::database& db) {
  db.execute(create_table);
  db.execute(insert_one);
  service::playlist_repository playlists{db};
  require(playlists.find(1)->name == "Morning", "the row");
  playlists.rename(1, "Evening");
  require(playlists.find(1)->name == "Evening", "the row after its change");
}

void own_sql_on_rows_of_the_library(sdb::database& db, std::int32_t id) {
  db.with_transaction([&](sdb::transaction& tx) {
    tx.execute(hide_channel, {id});
    tx.invalidate(sdb::cache_tag::row("channels", "id", id));
    tx.invalidate(sdb::cache_tag::any_of("channels"));
  });
  require(!db.channels().find(id)->is_active.value_or(true), "the change");
}

void own_values(sdb::database& db) {
  auto cache = db.cache();
  sdb::tag_set reads{sdb::tag_set::mode::read};
  reads.add_any("videos");
  const auto count = cache.cached("video-count", reads, 5min, [&] {
    return std::to_string(db.one<std::int64_t>(count_videos));
  });
  cache.set("greeting", "hello", 30s);
  const auto greeting = cache.get("greeting");  // nullopt without Redis
  cache.del("greeting");
  cache.clear("greet*");                                       // by pattern; slow, blocks nobody
  cache.invalidate(sdb::cache_tag::row("channels", "id", 1));  // a write made elsewhere
  require(count == "0" && greeting.value_or("hello") == "hello", "the values");
}

}  // namespace

int main() try {
  const auto options = sdb::database_options::from_env();
  sdb::migrator{options}.up();
  auto db = sdb::database::open(options);
  own_rows(db);
  own_sql_on_rows_of_the_library(db, db.channels().create({.channel_id = "UC1"}).id);
  own_values(db);
  std::cout << "the cache works\n";
} catch (const std::exception& problem) {
  std::cerr << problem.what() << '\n';
  return 1;
}
