#include "write_ratios.hpp"

#include <cstdint>
#include <cstring>
#include <optional>
#include <set>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include <soundhash/db.hpp>
#include <soundhash/db/migrate/migrator.hpp>

#include "dataset.hpp"
#include "raw_postgres.hpp"

namespace sdb = soundhash::db;

namespace {

constexpr std::size_t batch = 10'000;
constexpr std::int64_t schema_of_python = 4;

constexpr sdb::query rows_since{"bench.fingerprints_since",
                                "SELECT count(*) FROM audio_fingerprints WHERE id > $1",
                                sdb::access::read_only};
constexpr sdb::query last_id{"bench.last_fingerprint", "SELECT max(id) FROM audio_fingerprints",
                             sdb::access::read_only};
constexpr sdb::query some_videos{"bench.some_videos", "SELECT id FROM videos LIMIT 1000",
                                 sdb::access::read_only};
constexpr sdb::query all_pending{"bench.all_pending",
                                 "UPDATE processing_jobs SET status = 'pending' "
                                 "WHERE status <> 'pending'"};
constexpr sdb::query no_leases{"bench.no_leases", "DELETE FROM soundhash_job_leases"};
constexpr sdb::query vacuum_jobs{"bench.vacuum_jobs",
                                 "VACUUM ANALYZE processing_jobs, soundhash_job_leases"};

constexpr const char* claim_by_hand =
    "WITH due AS MATERIALIZED (SELECT p.id FROM processing_jobs AS p WHERE p.status = 'pending' "
    "AND p.job_type = ANY($1::text[]) ORDER BY p.created_at, p.id LIMIT $2 "
    "FOR UPDATE SKIP LOCKED) "
    "UPDATE processing_jobs AS j SET status = 'running', started_at = timezone('utc', "
    "clock_timestamp()), progress = 0 FROM due WHERE j.id = due.id RETURNING j.id, j.job_type, "
    "j.status, j.target_id, j.parameters, j.progress, j.current_step, j.created_at, j.started_at, "
    "j.completed_at, j.error_message, j.retry_count, j.max_retries";

/// A copy of the loaded database, since these rows need other indexes than the rest. Dropped at the
/// end.
class scratch_database {
 public:
  scratch_database(const ratio_run& run, std::string name)
      : server_{run.settings}, settings_{run.settings} {
    settings_.name = std::move(name);
    settings_.pool.size = 1;
    settings_.slow_query = std::chrono::hours{1};
    {
      auto loader = sdb::database::open(server_);
      load(loader, run.size);
    }
    auto elsewhere = server_;
    elsewhere.name = "postgres";  // a database that is copied must have no other user
    server_.name = elsewhere.name;
    raw_postgres admin{elsewhere};
    admin.command(("DROP DATABASE IF EXISTS " + settings_.name).c_str());
    admin.command(("CREATE DATABASE " + settings_.name + " TEMPLATE " + run.settings.name).c_str());
  }
  ~scratch_database() {
    try {
      raw_postgres{server_}.command(("DROP DATABASE " + settings_.name + " WITH (FORCE)").c_str());
    } catch (const std::exception& left) {
      fmt::print(stderr, "{}\n", left.what());
    }
  }
  scratch_database(const scratch_database&) = delete;
  scratch_database& operator=(const scratch_database&) = delete;

  [[nodiscard]] const sdb::database_options& settings() const { return settings_; }

 private:
  sdb::database_options server_;
  sdb::database_options settings_;
};

/// Spreads numbers over all bits. Source: splitmix64 by S. Vigna.
std::uint64_t mixed(std::uint64_t n) {
  n += 0x9e3779b97f4a7c15U;
  n = (n ^ (n >> 30U)) * 0xbf58476d1ce4e5b9U;
  n = (n ^ (n >> 27U)) * 0x94d049bb133111ebU;
  return n ^ (n >> 31U);
}

/// The row that both sides store.
sdb::new_fingerprint fingerprint_number(std::uint64_t n, std::int32_t video) {
  sdb::new_fingerprint row;
  row.video_id = video;
  row.start_time = static_cast<double>(n % 1000) * 0.5;
  row.end_time = row.start_time + 0.5;
  row.fingerprint_hash = fmt::format("{:016x}{:016x}", mixed(n), mixed(n + 1));
  row.confidence_score = 0.5;
  row.peak_count = 12;
  return row;
}

/// The binary format of COPY, written as fast as it can be.
class copy_data {
 public:
  copy_data() { data_.append("PGCOPY\n\377\r\n\0\0\0\0\0\0\0\0\0", 19); }

  void begin(std::int16_t columns) { append(columns); }
  template <class T>
  void number(T value) {
    append(static_cast<std::int32_t>(sizeof value));
    append(value);
  }
  void text(const std::string& value) {
    append(static_cast<std::int32_t>(value.size()));
    data_ += value;
  }
  std::string take() {
    append(std::int16_t{-1});
    return std::move(data_);
  }

 private:
  template <class T>
  void append(T value) {
    char raw[sizeof value];
    std::memcpy(raw, &value, sizeof value);
    for (std::size_t i = sizeof value; i > 0; --i) data_ += raw[i - 1];
  }
  std::string data_;
};

std::string copy_of(const std::vector<sdb::new_fingerprint>& rows) {
  const std::int64_t now =
      std::chrono::duration_cast<std::chrono::microseconds>(
          std::chrono::system_clock::now() - std::chrono::sys_days{std::chrono::year{2000} / 1 / 1})
          .count();
  copy_data data;
  for (const auto& row : rows) {
    data.begin(10);
    data.number(row.video_id);
    data.number(row.start_time);
    data.number(row.end_time);
    data.text(row.fingerprint_hash);
    data.number(*row.sample_rate);
    data.number(*row.confidence_score);
    data.number(*row.peak_count);
    data.number(row.n_fft);
    data.number(row.hop_length);
    data.number(now);
  }
  return data.take();
}

constexpr const char* copy_sql =
    "COPY audio_fingerprints (video_id, start_time, end_time, fingerprint_hash, sample_rate, "
    "confidence_score, peak_count, n_fft, hop_length, created_at) FROM STDIN (FORMAT binary)";

/// The fingerprints of the whole data, with the indexes of the Python services, or with those that
/// an optional migration leaves of them.
class fingerprint_table {
 public:
  fingerprint_table(const ratio_run& run, const char* name, const std::set<std::string>& with)
      : scratch_{run, name} {
    sdb::migrator migrate{scratch_.settings()};
    migrate.up({.with = with});
    if (with.empty()) {
      migrate.down({.to = schema_of_python, .accept_data_loss = true});
    } else {
      raw_postgres{scratch_.settings()}.command("DROP INDEX idx_fingerprints_hash_covering");
    }
    db_.emplace(sdb::database::open(scratch_.settings()));
    videos_ = db_->all<std::int32_t>(some_videos);
  }

  cost ours() {
    const auto rows = new_rows();
    const auto last = db_->one<std::int32_t>(last_id);
    const auto spent = time_threads(1, batch, [&](std::size_t) {
      const auto ids = db_->fingerprints().create_batch(rows);
      if (ids.size() != batch || ids.front() >= ids.back()) {
        throw std::runtime_error{"create_batch: wrong ids"};
      }
    });
    require_stored_since(last);
    return spent;
  }

  cost by_hand() {
    const auto rows = new_rows();
    const auto last = db_->one<std::int32_t>(last_id);
    raw_postgres raw{scratch_.settings()};
    const auto spent = time_threads(1, batch, [&](std::size_t) {
      if (raw.copy(copy_sql, copy_of(rows)) != batch) throw std::runtime_error{"COPY: lost rows"};
    });
    require_stored_since(last);
    return spent;
  }

 private:
  std::vector<sdb::new_fingerprint> new_rows() {
    std::vector<sdb::new_fingerprint> rows;
    rows.reserve(batch);
    for (std::size_t i = 0; i < batch; ++i) {
      rows.push_back(fingerprint_number(made_, videos_[mixed(made_) % videos_.size()]));
      ++made_;
    }
    return rows;
  }
  void require_stored_since(std::int32_t last) {
    if (db_->one<std::int64_t>(rows_since, {last}) != static_cast<std::int64_t>(batch)) {
      throw std::runtime_error{"the batch is not stored"};
    }
  }

  scratch_database scratch_;
  std::optional<sdb::database> db_;
  std::vector<std::int32_t> videos_;
  std::uint64_t made_ = 0;
};

}  // namespace

ratio_result measure_job_claim(const ratio_run& run) {
  constexpr int jobs = 50;
  constexpr std::size_t calls = 100;
  auto settings = run.settings;
  settings.pool.size = 1;
  settings.slow_query = std::chrono::hours{1};
  auto db = sdb::database::open(settings);
  load(db, run.size);
  raw_postgres raw{run.settings};
  raw.prepare("claim", claim_by_hand);
  const std::vector<std::string> types{"video_process"};

  ratio_result row;
  row.name = "job_claim_50";
  row.unit = "job of 50";
  row.baseline_name = "libpq, the claim without a lease";
  const auto prepare = [&] {
    db.execute(all_pending);
    db.execute(no_leases);
    db.execute(vacuum_jobs);
  };
  const auto ours = [&] {
    prepare();
    return time_threads(1, calls * jobs, [&](std::size_t) {
      for (std::size_t i = 0; i < calls; ++i) {
        if (db.jobs().claim(types, jobs).size() != jobs) throw std::runtime_error{"too few jobs"};
      }
    });
  };
  const auto baseline = [&] {
    prepare();
    return time_threads(1, calls * jobs, [&](std::size_t) {
      for (std::size_t i = 0; i < calls; ++i) {
        const auto got = raw.run("claim", {"{video_process}", "50"}, raw_postgres::format::binary);
        if (PQntuples(got.get()) != jobs) throw std::runtime_error{"too few jobs"};
      }
    });
  };
  compete(run.rounds, ours, baseline, row);
  judge(row, "p50", row.ours.p50_us / row.baseline->p50_us, 1.15);
  return row;
}

ratio_result measure_insert_batch(const ratio_run& run) {
  fingerprint_table table{run, "soundhash_bench_insert", {}};
  ratio_result row;
  row.name = "insert_batch_10k";
  row.unit = "row of 10 000";
  row.baseline_name = "libpq, COPY binary, no ids";
  compete(
      run.rounds, [&] { return table.ours(); }, [&] { return table.by_hand(); }, row);
  judge(row, "p50", row.ours.p50_us / row.baseline->p50_us, 1.10);
  judge(row, "cpu µs", row.ours.cpu_us, 3.0);
  return row;
}

ratio_result measure_insert_lean(const ratio_run& run) {
  fingerprint_table lean{run, "soundhash_bench_lean", {"lean_fingerprint_indexes"}};
  fingerprint_table full{run, "soundhash_bench_insert", {}};
  ratio_result row;
  row.name = "insert_lean_10k";
  row.unit = "row of 10 000";
  row.baseline_name = "libpq, COPY binary, no ids, all indexes";
  compete(
      run.rounds, [&] { return lean.ours(); }, [&] { return full.by_hand(); }, row);
  judge(row, "p50", row.ours.p50_us / row.baseline->p50_us, 0.80);
  return row;
}
