#include "stream_ratios.hpp"

#include <array>
#include <bit>
#include <cstdint>
#include <cstring>
#include <fstream>
#include <memory>
#include <stdexcept>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include <arpa/inet.h>
#include <endian.h>
#include <fmt/format.h>
#include <libpq-fe.h>

#include <soundhash/db.hpp>

#include "dataset.hpp"
#include "raw_postgres.hpp"

namespace sdb = soundhash::db;

namespace {

struct mark {
  std::int32_t id = 0;
  std::int32_t video_id = 0;
  double start_time = 0;
  double end_time = 0;
  std::string hash;
};

}  // namespace

template <>
struct soundhash::db::row_traits<mark> {
  static constexpr auto columns =
      std::tuple{column{"id", &mark::id}, column{"video_id", &mark::video_id},
                 column{"start_time", &mark::start_time}, column{"end_time", &mark::end_time},
                 column{"hash", &mark::hash}};
};

namespace {

constexpr int row_count = 1'000'000;
constexpr std::int64_t id_sum = std::int64_t{row_count} * (row_count + 1) / 2;

constexpr sdb::query make_marks{
    "bench.make_marks",
    "CREATE TABLE bench_marks AS SELECT n AS id, n / 100 AS video_id, n * 0.5::float8 AS "
    "start_time, n * 0.5::float8 + 1 AS end_time, md5(n::text) AS hash "
    "FROM generate_series(1, 1000000) AS n"};
constexpr sdb::query analyze_marks{"bench.analyze_marks", "ANALYZE bench_marks"};
constexpr sdb::query drop_marks{"bench.drop_marks", "DROP TABLE IF EXISTS bench_marks"};

#define MARKS "SELECT id, video_id, start_time, end_time, hash FROM bench_marks WHERE id > $1"
constexpr sdb::query marks{"bench.marks", MARKS, sdb::access::read_only};

#define VIDEO                                                                               \
  "SELECT id, video_id, channel_id, title, description, duration, view_count, like_count, " \
  "upload_date, url, thumbnail_url, processed, processing_started, processing_completed, "  \
  "processing_error, created_at, updated_at FROM videos WHERE video_id = $1"
constexpr sdb::query find_video{"bench.video", VIDEO, sdb::access::read_only};

using owned_result = raw_postgres::rows;

std::uint32_t int_at(const PGresult* rows, int column) {
  std::uint32_t value = 0;
  std::memcpy(&value, PQgetvalue(rows, 0, column), sizeof value);
  return ntohl(value);
}

double double_at(const PGresult* rows, int column) {
  std::uint64_t value = 0;
  std::memcpy(&value, PQgetvalue(rows, 0, column), sizeof value);
  return std::bit_cast<double>(be64toh(value));
}

void check(std::int64_t sum) {
  if (sum != id_sum) throw std::runtime_error{"stream_1m: other rows than were stored"};
}

void check_mark(const mark& row) {
  if (row.hash.size() != 32 || row.end_time != row.start_time + 1) {
    throw std::runtime_error{"stream_1m: another row than was stored"};
  }
}

void stream_ours(sdb::database& db) {
  std::int64_t sum = 0;
  for (const auto& row : db.stream<mark>(marks, {0})) {
    check_mark(row);
    sum += row.id;
  }
  check(sum);
}

void stream_by_hand(raw_postgres& raw) {
  const std::array<const char*, 1> values{"0"};
  PQsendQueryPrepared(raw.get(), "marks", 1, values.data(), nullptr, nullptr, 1);
  PQsetSingleRowMode(raw.get());
  std::int64_t sum = 0;
  mark row;
  while (const owned_result next{PQgetResult(raw.get())}) {
    if (PQresultStatus(next.get()) != PGRES_SINGLE_TUPLE) continue;
    row.id = static_cast<std::int32_t>(int_at(next.get(), 0));
    row.video_id = static_cast<std::int32_t>(int_at(next.get(), 1));
    row.start_time = double_at(next.get(), 2);
    row.end_time = double_at(next.get(), 3);
    row.hash.assign(PQgetvalue(next.get(), 0, 4),
                    static_cast<std::size_t>(PQgetlength(next.get(), 0, 4)));
    check_mark(row);
    sum += row.id;
  }
  check(sum);
}

/// The most that this process ever had in memory, in KiB.
std::int64_t peak_kib() {
  std::ifstream status{"/proc/self/status"};
  for (std::string word; status >> word;) {
    if (word != "VmHWM:") continue;
    std::int64_t kib = 0;
    status >> kib;
    return kib;
  }
  return 0;
}

void require(bool holds) {
  if (!holds) throw std::runtime_error{"pipeline_10: another row than was asked for"};
}

constexpr std::size_t reads_together = 10;

void read_together(sdb::database& db, const std::vector<sdb::video>& videos, std::size_t times) {
  for (std::size_t i = 0; i < times; ++i) {
    sdb::pipeline batch;
    std::array<std::size_t, reads_together> wanted{};
    std::vector<sdb::pipelined<std::optional<sdb::video>>> answers;
    for (std::size_t k = 0; k < reads_together; ++k) {
      wanted[k] = (i * reads_together + k) % videos.size();
      answers.push_back(batch.maybe<sdb::video>(find_video, {videos[wanted[k]].video_id}));
    }
    db.execute(batch);
    for (std::size_t k = 0; k < reads_together; ++k) {
      const auto& found = answers[k].get();
      require(found && found->id == videos[wanted[k]].id);
    }
  }
}

void read_one_by_one(raw_postgres& raw, const std::vector<sdb::video>& videos, std::size_t times) {
  for (std::size_t i = 0; i < times * reads_together; ++i) {
    const auto& wanted = videos[i % videos.size()];
    const std::array<const char*, 1> values{wanted.video_id.c_str()};
    const owned_result rows{
        PQexecPrepared(raw.get(), "video", 1, values.data(), nullptr, nullptr, 0)};
    require(PQntuples(rows.get()) == 1 && std::stoi(PQgetvalue(rows.get(), 0, 0)) == wanted.id);
  }
}

}  // namespace

ratio_result measure_stream(const ratio_run& run) {
  auto db = sdb::database::open(run.settings);
  db.execute(drop_marks);
  db.execute(make_marks);
  db.execute(analyze_marks);
  raw_postgres raw{run.settings};
  raw.prepare("marks", MARKS);
  const auto before = peak_kib();

  ratio_result row;
  row.name = "stream_1m";
  row.unit = "row";
  row.baseline_name = "libpq in single-row mode";
  const auto ours = [&] {
    return time_threads(1, row_count, [&](std::size_t) { stream_ours(db); });
  };
  const auto baseline = [&] {
    return time_threads(1, row_count, [&](std::size_t) { stream_by_hand(raw); });
  };
  compete(run.rounds, ours, baseline, row);
  const auto grown = static_cast<double>(peak_kib() - before) / 1024;
  db.execute(drop_marks);
  judge(row, "p50", row.ours.p50_us / row.baseline->p50_us, 1.05);
  judge(row, "MiB", grown, 16);
  return row;
}

ratio_result measure_pipeline(const ratio_run& run) {
  constexpr std::size_t times = 400;
  auto db = sdb::database::open(run.settings);
  load(db, {.channels = 10, .videos = 500, .jobs = 100, .fingerprints = 1000});
  const auto videos = db.videos().unprocessed(64);
  if (videos.empty()) throw std::runtime_error{"pipeline_10: too few videos are loaded"};
  raw_postgres raw{run.settings};
  raw.prepare("video", VIDEO);

  ratio_result row;
  row.name = "pipeline_10";
  row.unit = "ten reads";
  row.baseline_name = "libpq, prepared, one by one";
  const auto ours = [&] {
    return time_threads(1, times, [&](std::size_t) { read_together(db, videos, times); });
  };
  const auto baseline = [&] {
    return time_threads(1, times, [&](std::size_t) { read_one_by_one(raw, videos, times); });
  };
  compete(run.rounds, ours, baseline, row);
  judge(row, "p50", row.ours.p50_us / row.baseline->p50_us, 0.40);
  return row;
}
