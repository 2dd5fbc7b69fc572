// The Python services and the library on one database: what either writes, the other reads.

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <soundhash/db.hpp>

#include "support/sql.hpp"
#include "support/test_database.hpp"
#include "testing/child_process.hpp"
#include "testing/temporary_directory.hpp"

namespace soundhash::db {
namespace {

using namespace std::chrono_literals;
using nlohmann::json;
using ::testing::ElementsAre;
using ::testing::SizeIs;

/// What the Alembic revision 3008b188cd54 does to the five tables.
constexpr auto add_tenants = R"sql(
CREATE TABLE tenants (
    id SERIAL PRIMARY KEY,
    name VARCHAR(255) NOT NULL,
    slug VARCHAR(100) NOT NULL UNIQUE,
    admin_email VARCHAR(255) NOT NULL,
    is_active BOOLEAN NOT NULL DEFAULT true,
    created_at TIMESTAMP WITHOUT TIME ZONE NOT NULL DEFAULT now(),
    updated_at TIMESTAMP WITHOUT TIME ZONE NOT NULL DEFAULT now()
);
INSERT INTO tenants (name, slug, admin_email) VALUES ('One', 'one', 'one@example.org');
ALTER TABLE channels ADD COLUMN tenant_id INTEGER;
ALTER TABLE channels ADD CONSTRAINT fk_channels_tenant_id
    FOREIGN KEY (tenant_id) REFERENCES tenants (id);
CREATE INDEX idx_channels_tenant_id ON channels (tenant_id);
ALTER TABLE videos ADD COLUMN tenant_id INTEGER;
ALTER TABLE videos ADD CONSTRAINT fk_videos_tenant_id
    FOREIGN KEY (tenant_id) REFERENCES tenants (id);
CREATE INDEX idx_videos_tenant_id ON videos (tenant_id);
ALTER TABLE audio_fingerprints ADD COLUMN tenant_id INTEGER;
ALTER TABLE audio_fingerprints ADD CONSTRAINT fk_audio_fingerprints_tenant_id
    FOREIGN KEY (tenant_id) REFERENCES tenants (id);
CREATE INDEX idx_fingerprints_tenant_id ON audio_fingerprints (tenant_id);
CREATE INDEX idx_fingerprints_tenant_hash ON audio_fingerprints (tenant_id, fingerprint_hash);
)sql";

// No repository method reads one match result by its id.
constexpr query select_match_result{
    "test.match_result",
    "SELECT id, query_fingerprint_id, matched_fingerprint_id, similarity_score, match_confidence, "
    "query_source, query_url, query_user, responded, response_sent_at, created_at "
    "FROM match_results WHERE id = $1"};

// --- rows as the script writes them --------------------------------------------------------------

json as_json(const timestamp& value) {
  const auto day = std::chrono::floor<std::chrono::days>(value);
  const std::chrono::year_month_day date{day};
  const std::chrono::hh_mm_ss time{value - day};
  return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:06}", static_cast<int>(date.year()),
                     static_cast<unsigned>(date.month()), static_cast<unsigned>(date.day()),
                     time.hours().count(), time.minutes().count(), time.seconds().count(),
                     time.subseconds().count());
}

json as_json(const bytes& value) {
  std::string hex;
  for (const auto byte : value) hex += fmt::format("{:02x}", std::to_integer<unsigned>(byte));
  return hex;
}

json as_json(std::int32_t value) {
  return value;
}
json as_json(double value) {
  return value;
}
json as_json(bool value) {
  return value;
}
json as_json(const std::string& value) {
  return value;
}

template <class T>
json as_json(const std::optional<T>& value) {
  return value ? as_json(*value) : json{};
}

/// All columns of a row, by their names in the database.
template <mapped_row Row>
json as_json(const Row& row) {
  auto object = json::object();
  const auto add = [&](const auto& column) {
    auto value = as_json(row.*(column.member));
    if (column.name.empty()) {
      object.update(value);
    } else {
      object[std::string{column.name}] = std::move(value);
    }
  };
  std::apply([&](const auto&... columns) { (add(columns), ...); }, row_traits<Row>::columns);
  return object;
}

template <class Row>
json all_as_json(const std::vector<Row>& rows) {
  auto list = json::array();
  for (const auto& row : rows) list.push_back(as_json(row));
  return list;
}

/// The script's rows as the library sees them, which knows no tenants.
json without_tenants(json rows) {
  for (auto& row : rows) row.erase("tenant_id");
  return rows;
}

// --- the fixture ---------------------------------------------------------------------------------

enum class shape { without_tenants, with_tenants };

database_options options_of(shape wanted) {
  auto options = test::fresh_database_options();
  if (wanted == shape::with_tenants) test::execute(options, add_tenants);
  return options;
}

std::string text_of(const std::filesystem::path& file) {
  std::ifstream in{file};
  return {std::istreambuf_iterator{in}, {}};
}

class python_interop_test : public ::testing::TestWithParam<shape> {
 protected:
  /// Runs a command of the script and returns its answer.
  json upstream(const std::string& command, const json& arguments = {}) {
    const auto answer = files_.path() / "answer.json";
    const auto log = files_.path() / "log";
    std::vector<std::string> words{"/usr/bin/python3",
                                   SOUNDHASH_DB_SOURCE_DIR "/tests/integration/python/upstream.py",
                                   command, answer.string(), arguments.dump()};
    if (GetParam() == shape::with_tenants) words.emplace_back("--tenants");
    testing::child_process script{{.arguments = words,
                                   .environment = {"UPSTREAM_URL=" + url(),
                                                   // Must not matter to what is stored.
                                                   "TZ=America/New_York", "LC_ALL=C.UTF-8"},
                                   .directory = files_.path(),
                                   .output = log,
                                   .user = std::nullopt}};
    if (!script.wait_for(60s) || script.wait() != 0) {
      throw std::runtime_error{"upstream.py " + command + " failed:\n" + text_of(log)};
    }
    return json::parse(text_of(answer));
  }

  std::string url() const {
    return fmt::format("postgresql+psycopg2://{}@/{}?host={}&port={}", options_.user, options_.name,
                       options_.host, options_.port);
  }

  /// The rows that Python sees, each read by its id through the library.
  json read_channels(const json& rows) {
    return read(rows, [&](std::int32_t id) { return db_.channels().find(id).value(); });
  }
  json read_videos(const json& rows) {
    return read(rows, [&](std::int32_t id) { return db_.videos().find(id).value(); });
  }
  json read_fingerprints(const json& rows) {
    return read(rows,
                [&](std::int32_t id) { return db_.fingerprints().find_with_data(id).value(); });
  }
  json read_match_results(const json& rows) {
    return read(rows,
                [&](std::int32_t id) { return db_.one<match_result>(select_match_result, {id}); });
  }
  json read_jobs(const json& rows) {
    return read(rows, [&](std::int32_t id) { return db_.jobs().find(id).value(); });
  }

  void expect_equal_views(const json& python) {
    EXPECT_EQ(read_channels(python["channels"]), without_tenants(python["channels"]));
    EXPECT_EQ(read_videos(python["videos"]), without_tenants(python["videos"]));
    EXPECT_EQ(read_fingerprints(python["audio_fingerprints"]),
              without_tenants(python["audio_fingerprints"]));
    EXPECT_EQ(read_match_results(python["match_results"]), python["match_results"]);
    EXPECT_EQ(read_jobs(python["processing_jobs"]), python["processing_jobs"]);
  }

  database_options options_ = options_of(GetParam());
  database db_ = database::open(options_);
  testing::temporary_directory files_{"soundhash-interop-", std::nullopt};

 private:
  template <class Find>
  static json read(const json& rows, Find find) {
    auto list = json::array();
    for (const auto& row : rows) list.push_back(as_json(find(row["id"].get<std::int32_t>())));
    return list;
  }
};

INSTANTIATE_TEST_SUITE_P(databases, python_interop_test,
                         ::testing::Values(shape::without_tenants, shape::with_tenants),
                         [](const auto& instance) {
                           return instance.param == shape::with_tenants ? "with_tenants"
                                                                        : "without_tenants";
                         });

template <class Row>
std::vector<std::string> video_ids(const std::vector<Row>& rows) {
  std::vector<std::string> ids;
  for (const auto& row : rows) ids.push_back(row.video_id);
  return ids;
}

// --- written by Python ---------------------------------------------------------------------------

TEST_P(python_interop_test, reads_every_column_of_every_row_that_python_wrote) {
  const auto python = upstream("write");
  for (const auto* table :
       {"channels", "videos", "audio_fingerprints", "match_results", "processing_jobs"}) {
    EXPECT_GE(python[table].size(), 3U) << table;
  }
  expect_equal_views(python);
}

TEST_P(python_interop_test, reads_the_values_that_python_meant) {
  upstream("write");
  const timestamp leap_day = std::chrono::sys_days{std::chrono::year{2024} / 2 / 29} + 23h + 59min +
                             59s + std::chrono::microseconds{123'456};
  const auto channel = db_.channels().find_by_channel_id("UC-python").value();
  EXPECT_EQ(channel.channel_name, "Kanal „Ünïcödé“ 音楽 🎵");
  EXPECT_EQ(channel.description, "line\nline\ttab \\ ' \" %s $1");
  EXPECT_EQ(channel.subscriber_count, 2147483647);
  EXPECT_EQ(channel.last_processed, leap_day);
  EXPECT_EQ(channel.is_active, true);
  EXPECT_LT(std::chrono::abs(std::chrono::system_clock::now() - channel.created_at.value()), 60s);

  const auto video = db_.videos().find_by_video_id("py-video-01").value();
  EXPECT_EQ(video.upload_date, leap_day);
  EXPECT_EQ(video.duration, 212.091);
  EXPECT_EQ(video.description, "");
  EXPECT_EQ(video.processed, true);
  EXPECT_GE(video.processing_completed, video.processing_started);

  const auto hash = std::string(31, '0') + "1";
  const auto found = db_.fingerprints().find_by_hash_with_data(hash);
  ASSERT_THAT(found, SizeIs(1));
  EXPECT_EQ(found[0].fingerprint.sample_rate, 22050);  // Python said None
  EXPECT_EQ(found[0].fingerprint.segment_length, std::nullopt);
  EXPECT_EQ(found[0].fingerprint.confidence_score, 0.1 + 0.2);
  EXPECT_EQ(found[0].fingerprint_data.value().at(0), std::byte{0x80});  // a pickle begins

  const auto failed = db_.jobs().failed("video_process");
  ASSERT_THAT(failed, SizeIs(1));
  EXPECT_EQ(failed[0].error_message, "crashed: 音");
  EXPECT_EQ(failed[0].max_retries, 3);
}

TEST_P(python_interop_test, reads_rows_of_nulls) {
  upstream("write");
  EXPECT_EQ(db_.channels().find_by_channel_id("null-channel").value().is_active, std::nullopt);
  const auto video = db_.videos().find_by_video_id("null-video").value();
  EXPECT_EQ(video.processed, std::nullopt);
  EXPECT_EQ(video.created_at, std::nullopt);
  const auto print = db_.fingerprints().find_by_hash_with_data("null").at(0);
  EXPECT_EQ(print.fingerprint.sample_rate, std::nullopt);
  EXPECT_EQ(print.fingerprint_data, std::nullopt);
  EXPECT_EQ(db_.jobs().counts_by_status().back().status, std::nullopt);
}

TEST_P(python_interop_test, selects_from_what_python_wrote_as_python_does) {
  upstream("write");
  EXPECT_THAT(video_ids(db_.videos().unprocessed()), ElementsAre("py-video-02", "py-video-03"));
  EXPECT_THAT(video_ids(db_.videos().unprocessed(100, null_processed::include)),
              ElementsAre("py-video-02", "py-video-03", "null-video"));
  const auto active = db_.channels().active();
  ASSERT_THAT(active, SizeIs(1));
  EXPECT_EQ(active[0].channel_id, "UC-python");

  const auto pending = db_.jobs().pending("video_process");
  ASSERT_THAT(pending, SizeIs(1));
  EXPECT_EQ(pending[0].target_id, "py-video-03");
  EXPECT_TRUE(db_.jobs().exists("video_process", "py-video-01", {job_status::failed}));
  EXPECT_EQ(db_.jobs().create_if_absent({.job_type = "video_process", .target_id = "py-video-03"}),
            std::nullopt);

  const auto query_print = db_.fingerprints().find_by_hash(std::string(32, '0')).at(0);
  const auto top = db_.match_results().top(query_print.id);
  ASSERT_THAT(top, SizeIs(2));
  EXPECT_EQ(top[0].similarity_score, 0.75);
  EXPECT_EQ(top[1].responded, true);
  EXPECT_TRUE(db_.fingerprints().exists(query_print.video_id, 22050, 2048, 512));
}

TEST_P(python_interop_test, changes_of_pythons_rows_keep_what_they_do_not_name) {
  const auto before = upstream("write");
  const auto [job, lease, expires_at] = db_.jobs().claim({"video_process"}, 5).at(0);
  EXPECT_TRUE(db_.jobs().set_progress(lease, 0.5, "Schritt ü"));
  EXPECT_THAT(db_.jobs().complete({lease}), ElementsAre(job.id));
  const auto failed = db_.jobs().failed("video_process").at(0);
  EXPECT_TRUE(db_.jobs().retry(failed.id));
  EXPECT_TRUE(db_.jobs().cancel(failed.id));
  const auto channel = db_.channels().find_by_channel_id("UC-python").value();
  db_.channels().update(channel.id, {.video_count = 7});
  const auto video = db_.videos().find_by_video_id("py-video-02").value();
  EXPECT_TRUE(db_.videos().mark_processed(video.id));
  db_.videos().update(video.id, {.title = "ein Títel"});

  const auto after = upstream("read");
  expect_equal_views(after);
  auto expected = before["channels"][0];
  expected["video_count"] = 7;
  expected["updated_at"] = after["channels"][0]["updated_at"];
  EXPECT_EQ(after["channels"][0], expected);  // the tenant too
  EXPECT_GT(after["channels"][0]["updated_at"], before["channels"][0]["updated_at"]);
  EXPECT_EQ(after["videos"][1]["processing_error"], "no audio: ключ");
  EXPECT_EQ(after["processing_jobs"][0]["status"], "cancelled");
  EXPECT_EQ(after["processing_jobs"][0]["retry_count"], 1);
  EXPECT_EQ(after["processing_jobs"][1]["status"], "completed");
  EXPECT_EQ(after["processing_jobs"][1]["current_step"], "Schritt ü");
}

// --- written by the library ----------------------------------------------------------------------

/// Columns that Python's models declare as never NULL, although the schema allows it.
void expect_pythons_defaults(const json& python) {
  const std::vector<std::pair<const char*, std::vector<const char*>>> required{
      {"channels", {"created_at", "updated_at", "is_active"}},
      {"videos", {"created_at", "updated_at", "processed"}},
      {"audio_fingerprints", {"created_at", "sample_rate", "n_fft", "hop_length"}},
      {"match_results", {"created_at", "responded"}},
      {"processing_jobs", {"created_at", "status", "progress", "retry_count", "max_retries"}}};
  for (const auto& [table, columns] : required) {
    EXPECT_FALSE(python[table].empty()) << table;
    for (const auto& row : python[table]) {
      for (const auto* column : columns) EXPECT_FALSE(row[column].is_null()) << table << column;
    }
  }
}

void expect_created_between(const json& python, timestamp from, timestamp to) {
  for (const auto& [table, rows] : python.items()) {
    for (const auto& row : rows) {
      EXPECT_GE(row["created_at"], as_json(from)) << table;
      EXPECT_LE(row["created_at"], as_json(to)) << table;
    }
  }
}

timestamp now() {
  return std::chrono::floor<std::chrono::microseconds>(std::chrono::system_clock::now());
}

/// As Python's `pickle.dumps({"peak_count": 42}, protocol=4)`.
bytes pickled_dict() {
  constexpr std::string_view text{"\x80\x04\x95\x13\0\0\0\0\0\0\0}\x94\x8c\x0apeak_count\x94K*s.",
                                  30};
  const auto raw = std::as_bytes(std::span{text});
  return {raw.begin(), raw.end()};
}

/// Rows through every method that creates some.
class written_by_library {
 public:
  explicit written_by_library(database& db) : db_{db} {}

  channel new_owner() {
    db_.channels().create({.channel_id = "UC-bare"});
    return db_.channels().get_or_create({.channel_id = "UC-cpp",
                                         .channel_name = "Ünïcödé 音楽 🎵",
                                         .description = "a\nb\\ ' \" %s",
                                         .subscriber_count = 2147483647,
                                         .video_count = 0,
                                         .last_processed = end_of_1999()});
  }

  video new_video_of(const channel& owner) {
    db_.videos().ingest(owner.id,
                        std::vector<new_video>{{.video_id = "ingested", .url = "https://y/1?ö"}},
                        "video_process");
    return db_.videos().create({.video_id = "full",
                                .channel_id = owner.id,
                                .title = "Títle",
                                .description = "",
                                .duration = 0.1 + 0.2,
                                .view_count = 1,
                                .like_count = -1,
                                .upload_date = end_of_1999(),
                                .url = "u",
                                .thumbnail_url = "t"});
  }

  std::vector<std::int32_t> new_fingerprints_of(const video& of) {
    const new_fingerprint wanted{.video_id = of.id,
                                 .start_time = 1e-300,
                                 .end_time = 1.7976931348623157e308,
                                 .fingerprint_hash = "h",
                                 .fingerprint_data = pickled_dict(),
                                 .sample_rate = std::nullopt,
                                 .segment_length = 90,
                                 .confidence_score = 0.95,
                                 .peak_count = 42};
    db_.fingerprints().create(wanted);
    return db_.fingerprints().create_batch(std::vector<new_fingerprint>(2, wanted));
  }

  void new_matches_of(std::int32_t fingerprint_id, std::int32_t other) {
    db_.match_results().create({.query_fingerprint_id = fingerprint_id, .similarity_score = 0.25});
    db_.match_results().create_batch(
        std::vector<new_match_result>{{.query_fingerprint_id = fingerprint_id,
                                       .matched_fingerprint_id = other,
                                       .similarity_score = 0.75,
                                       .match_confidence = 0.5,
                                       .query_source = "twitter",
                                       .query_url = "ü",
                                       .query_user = "@me",
                                       .responded = true,
                                       .response_sent_at = end_of_1999()}});
  }

  /// Returns one that failed.
  job new_jobs() {
    db_.jobs().create({.job_type = "video_process",
                       .target_id = "full",
                       .parameters = R"({"url": "https://y/2"})"});
    db_.jobs().create_if_absent({.job_type = "channel_ingest", .target_id = "UC-cpp"});
    const auto made = db_.jobs().create_batch_if_absent(
        std::vector<new_job>{{.job_type = "batch", .target_id = "a", .current_step = "§"},
                             {.job_type = "batch", .target_id = "b"}});
    const auto claimed = db_.jobs().claim({"batch"}, 2);
    db_.jobs().fail({claimed[0].lease}, "boom ü", std::nullopt);
    db_.jobs().cancel(made[1].id);
    return made[0];
  }

  static timestamp end_of_1999() {
    return std::chrono::sys_days{std::chrono::year{1999} / 12 / 31} + 23h + 59min + 59s +
           std::chrono::microseconds{999'999};
  }

 private:
  database& db_;
};

TEST_P(python_interop_test, python_reads_every_column_of_every_row_that_the_library_wrote) {
  const auto before = now();
  written_by_library rows{db_};
  const auto owner = rows.new_owner();
  const auto full = rows.new_video_of(owner);
  const auto prints = rows.new_fingerprints_of(full);
  rows.new_matches_of(prints[0], prints[1]);
  rows.new_jobs();
  const auto after = now();

  const auto python = upstream("read");
  expect_equal_views(python);
  expect_pythons_defaults(python);
  expect_created_between(python, before, after);
  EXPECT_EQ(python["channels"][1]["last_processed"], "1999-12-31T23:59:59.999999");
  EXPECT_EQ(python["channels"][1]["channel_name"], "Ünïcödé 音楽 🎵");
  EXPECT_EQ(without_tenants(python["channels"]), all_as_json(db_.channels().page()));
  EXPECT_EQ(without_tenants(python["videos"]), all_as_json(db_.videos().page()));
  EXPECT_EQ(python["processing_jobs"].size(), 5U);
  EXPECT_EQ(python["channels"][0].contains("tenant_id"), GetParam() == shape::with_tenants);
  EXPECT_EQ(python["channels"][0].value("tenant_id", json{}), json{});
}

TEST_P(python_interop_test, a_python_worker_works_on_the_librarys_rows) {
  written_by_library rows{db_};
  const auto owner = rows.new_owner();
  const auto full = rows.new_video_of(owner);
  const auto prints = rows.new_fingerprints_of(full);
  rows.new_matches_of(prints[0] - 1, prints[1]);
  const auto failed = rows.new_jobs();

  const auto did = upstream(
      "work",
      {{"video", full.id}, {"channel", owner.id}, {"failed_job", failed.id}, {"hash", "h"}});
  EXPECT_EQ(did["unprocessed"], (json{"full", "ingested"}));
  EXPECT_EQ(did["urls"], (json{"https://y/1?ö", "https://y/2"}));
  EXPECT_EQ(did["existing"], json::array({"ingested"}));
  EXPECT_EQ(did["exists"], true);
  EXPECT_EQ(did["running"], 0);
  EXPECT_EQ(did["fingerprints_exist"], true);
  EXPECT_EQ(did["found"], json(3, {"Títle", "Ünïcödé 音楽 🎵"}));
  EXPECT_EQ(did["unpickled"], (json{42, 42, 42}));
  EXPECT_EQ(did["scores"], (json{0.75, 0.25}));
  EXPECT_EQ(did["retry_below_max"], true);

  const auto worked = db_.jobs().find(did["worked"]).value();
  EXPECT_EQ(worked.status, job_status::completed);
  EXPECT_EQ(worked.progress, 1.0);
  EXPECT_GE(worked.completed_at, worked.started_at);
  EXPECT_GE(worked.started_at, worked.created_at);
  const auto retried = db_.jobs().find(failed.id).value();
  EXPECT_EQ(retried.status, job_status::pending);
  EXPECT_EQ(retried.retry_count, 1);
  const auto processed = db_.videos().find(full.id).value();
  EXPECT_EQ(processed.processed, true);
  EXPECT_GT(processed.updated_at, full.updated_at);  // Python's onupdate
  EXPECT_EQ(processed.created_at, full.created_at);
  EXPECT_THAT(video_ids(db_.videos().unprocessed()), ElementsAre("ingested"));
  EXPECT_GT(db_.channels().find(owner.id).value().last_processed, owner.last_processed);
}

}  // namespace
}  // namespace soundhash::db
