#include "cache_ratios.hpp"

#include <chrono>
#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include <hiredis/hiredis.h>

#include <soundhash/db.hpp>

#include "dataset.hpp"

namespace sdb = soundhash::db;

namespace {

using namespace std::chrono_literals;

constexpr std::size_t videos_read = 64;

double figure_of(sdb::database& db, std::string_view name, std::string_view labels = {}) {
  double sum = 0;
  for (const auto& one : db.metrics().totals().figures) {
    if (one.name == name && (labels.empty() || one.labels == labels)) sum += one.value;
  }
  return sum;
}

template <class F>
void await(const std::string& what, F holds) {
  const auto until = sdb::deadline::in(10s);
  while (!holds()) {
    if (until.passed()) throw std::runtime_error{what};
    std::this_thread::sleep_for(1ms);
  }
}

/// A database with some rows and a working cache.
sdb::database open(const ratio_run& run, const sdb::near_cache_options& near) {
  auto settings = run.settings;
  settings.cache.enabled = true;
  settings.cache.near_cache = near;
  // A busy machine must not look like an outage.
  settings.cache.connect_timeout = 10s;
  settings.cache.command_timeout = 10s;
  auto db = sdb::database::open(settings);
  load(db, {.channels = 10, .videos = 500, .jobs = 100, .fingerprints = 1000, .matches = 100});
  db.warm_up();
  await("no Redis at REDIS_HOST",
        [&] { return figure_of(db, "soundhash_cache_breaker_open") == 0; });
  return db;
}

std::vector<sdb::video> choose_videos(sdb::database& db) {
  auto page = db.videos().page({}, static_cast<int>(videos_read));
  if (page.size() != videos_read) throw std::runtime_error{"too few videos are loaded"};
  return page;
}

/// Throws unless the row is the one that was asked for.
void check(const std::optional<sdb::video>& found, const sdb::video& wanted) {
  if (!found || found->id != wanted.id || found->title != wanted.title ||
      found->updated_at != wanted.updated_at) {
    throw std::runtime_error{"another row than video " + wanted.video_id};
  }
}

/// Reads that the cache answers, checked.
class cached_reads {
 public:
  cached_reads(sdb::database& db, std::string answer)
      : db_{db}, videos_{choose_videos(db)}, answer_{"result=\"" + std::move(answer) + "\""} {}

  void read_all() {
    for (const auto& each : videos_) check(db_.videos().find_by_video_id(each.video_id), each);
  }
  /// So many reads, in a thread.
  void read(std::size_t count) {
    for (std::size_t i = 0; i < count; ++i) {
      const auto& wanted = videos_[i % videos_.size()];
      check(db_.videos().find_by_video_id(wanted.video_id), wanted);
    }
  }
  /// Reads that were answered as they should be, since the beginning.
  [[nodiscard]] double answered() const {
    return figure_of(db_, "soundhash_cache_requests_total", answer_);
  }

 private:
  sdb::database& db_;
  std::vector<sdb::video> videos_;
  std::string answer_;
};

struct free_reply {
  void operator()(redisReply* reply) const { freeReplyObject(reply); }
};
using owned_reply = std::unique_ptr<redisReply, free_reply>;

/// A connection as one makes it by hand.
class raw_redis {
 public:
  explicit raw_redis(const sdb::cache_options& where)
      : context_{where.host.starts_with('/') ? redisConnectUnix(where.host.c_str())
                                             : redisConnect(where.host.c_str(), where.port)} {
    if (context_ == nullptr || context_->err != 0)
      throw std::runtime_error{"hiredis: no connection"};
    if (where.db != 0) call("SELECT %d", where.db);
  }

  template <class... Arguments>
  owned_reply call(const char* format, Arguments... arguments) {
    owned_reply reply{static_cast<redisReply*>(redisCommand(context_.get(), format, arguments...))};
    if (!reply || reply->type == REDIS_REPLY_ERROR) throw std::runtime_error{"hiredis: no answer"};
    return reply;
  }

 private:
  struct free_context {
    void operator()(redisContext* context) const { redisFree(context); }
  };
  std::unique_ptr<redisContext, free_context> context_;
};

/// The keys under which the rows are, and how many bytes.
struct stored_value {
  std::string key;
  std::size_t size;
};

std::vector<stored_value> stored_values(const sdb::cache_options& where) {
  raw_redis redis{where};
  std::vector<stored_value> found;
  const auto keys = redis.call("KEYS *:v:video.find_by_video_id*");
  for (std::size_t i = 0; i < keys->elements; ++i) {
    const auto& key = *keys->element[i];
    const auto size = redis.call("STRLEN %b", key.str, static_cast<std::size_t>(key.len));
    found.push_back(
        {{key.str, static_cast<std::size_t>(key.len)}, static_cast<std::size_t>(size->integer)});
  }
  if (found.size() != videos_read) {
    throw std::runtime_error{std::to_string(found.size()) + " values are in Redis"};
  }
  return found;
}

void get(raw_redis& redis, const std::vector<stored_value>& values, std::size_t count) {
  for (std::size_t i = 0; i < count; ++i) {
    const auto& wanted = values[i % values.size()];
    const auto reply = redis.call("GET %b", wanted.key.data(), wanted.key.size());
    if (reply->type != REDIS_REPLY_STRING || static_cast<std::size_t>(reply->len) != wanted.size) {
      throw std::runtime_error{"GET: another value"};
    }
  }
}

/// Every read was answered by the cache that is measured.
void require_all(const std::string& row, double answered, double wanted) {
  if (answered == wanted) return;
  throw std::runtime_error{row + ": the cache answered " + std::to_string(answered) + " of " +
                           std::to_string(wanted) + " reads"};
}

}  // namespace

ratio_result measure_redis_hit(const ratio_run& run, std::size_t threads) {
  constexpr std::size_t reads = 16'000;
  const auto each = reads / threads;
  auto db = open(run, {});
  cached_reads through{db, "hit"};
  through.read_all();
  const auto values = stored_values(run.settings.cache);
  std::vector<raw_redis> by_hand;
  for (std::size_t i = 0; i < threads; ++i) by_hand.emplace_back(run.settings.cache);

  ratio_result row;
  row.name = "redis_hit_" + std::to_string(threads) + "t";
  row.unit = "cached read";
  row.baseline_name = "hiredis GET, a connection for each thread";
  const auto before = through.answered();
  const auto ours = [&] {
    return time_threads(threads, reads, [&](std::size_t) { through.read(each); });
  };
  const auto baseline = [&] {
    return time_threads(threads, reads,
                        [&](std::size_t thread) { get(by_hand[thread], values, each); });
  };
  compete(run.rounds, ours, baseline, row);
  require_all(row.name, through.answered() - before,
              static_cast<double>(reads) * static_cast<double>(run.rounds));
  judge(row, "p50", row.ours.p50_us / row.baseline->p50_us, threads == 1 ? 1.2 : 0.6);
  return row;
}

ratio_result measure_near_hit(const ratio_run& run) {
  constexpr std::size_t reads = 500'000;
  auto db = open(run, {.entries = 1000, .ttl = 1min});
  cached_reads through{db, "near_hit"};
  await("the near cache does not answer", [&] {
    const auto before = through.answered();
    through.read_all();
    return through.answered() - before == static_cast<double>(videos_read);
  });

  ratio_result row;
  row.name = "near_hit";
  row.unit = "near-cached read";
  const auto before = through.answered();
  const auto ours = [&] {
    return time_threads(1, reads, [&](std::size_t) { through.read(reads); });
  };
  measure_alone(run.rounds, ours, row);
  require_all(row.name, through.answered() - before,
              static_cast<double>(reads) * static_cast<double>(run.rounds));
  judge(row, "p50 µs", row.ours.p50_us, 0.3);
  return row;
}
