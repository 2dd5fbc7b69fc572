#include <algorithm>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <regex>
#include <set>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <soundhash/db.hpp>

#include "repository/list_cursor.hpp"
#include "support/heard_database.hpp"
#include "support/recording_listener.hpp"
#include "support/test_database.hpp"

// The tables of src/README.md, "Reads, tags and writes", against what the repositories do.

namespace soundhash::db {
namespace {

using test::heard_database;
using test::recording_listener;
using test::tag_texts;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using call = recording_listener::call;
using names = std::set<std::string>;

std::string text_of(const std::filesystem::path& path) {
  std::ostringstream text;
  text << std::ifstream{path}.rdbuf();
  return text.str();
}

const std::filesystem::path source_dir{SOUNDHASH_DB_SOURCE_DIR};

/// The names of all queries of the repositories, and which of them are declared to read only.
struct declared_queries {
  names all;
  names read_only;
};

declared_queries queries_in_the_sources() {
  declared_queries found;
  const std::regex declaration{R"re(constexpr query \w+\{\s*"([\w.]+)"([^;]*);)re"};
  for (const auto& file : std::filesystem::directory_iterator{source_dir / "src/repository"}) {
    const auto text = text_of(file.path());
    for (std::sregex_iterator at{text.begin(), text.end(), declaration}, end; at != end; ++at) {
      found.all.insert((*at)[1]);
      if ((*at)[2].str().find("access::read_only") != std::string::npos) {
        found.read_only.insert((*at)[1]);
      }
    }
  }
  return found;
}

/// The three tables: query → tags, or → reason.
using table = std::map<std::string, std::string>;

std::vector<table> documented_tables() {
  std::istringstream lines{text_of(source_dir / "src/README.md")};
  const std::regex row{R"re(\| `([a-z_.]+)` \| (.+) \|)re"};
  std::vector<table> tables;
  for (std::string line; std::getline(lines, line);) {
    if (line == "|---|---|") tables.emplace_back();
    if (std::smatch cells; std::regex_match(line, cells, row)) {
      tables.back().emplace(cells[1], cells[2]);
    }
  }
  std::erase_if(tables, [](const table& one) { return one.empty(); });
  return tables;
}

/// As the tables write tags: without the values, each kind once, in any order.
tag_texts kinds_of(const tag_texts& tags) {
  tag_texts kinds;
  for (const auto& tag : tags) kinds.insert(tag.substr(0, tag.find('=')));
  return kinds;
}

tag_texts kinds_in(const std::string& cell) {
  tag_texts kinds;
  std::istringstream parts{cell};
  for (std::string part; std::getline(parts, part, ',');) {
    kinds.insert(part.substr(part.find_first_not_of(' ')));
  }
  return kinds;
}

names keys_of(const table& rows) {
  names keys;
  for (const auto& [key, value] : rows) keys.insert(key);
  return keys;
}

/// The names of the statements that ran.
class name_recorder final : public interceptor {
 public:
  void on_start(const statement_event& event) override {
    const std::lock_guard lock{mutex_};
    if (event.kind == statement_kind::user) names_.insert(std::string{event.name});
  }
  names taken() {
    const std::lock_guard lock{mutex_};
    return std::exchange(names_, {});
  }

 private:
  std::mutex mutex_;
  names names_;
};

std::string tag(std::string_view kind, auto value) {
  std::ostringstream text;
  text << kind << "=" << value;
  return text.str();
}

tag_texts channel_tags(std::int32_t id, const std::string& channel_id) {
  return {"channels/?", tag("channels/id", id), tag("channels/channel_id", channel_id)};
}
tag_texts video_tags(std::int32_t id, const std::string& video_id, std::int32_t channel_id) {
  return {"videos/?", tag("videos/id", id), tag("videos/video_id", video_id),
          tag("videos/channel_id", channel_id)};
}
tag_texts job_tags(const std::vector<std::int32_t>& ids) {
  tag_texts tags{"processing_jobs/?"};
  for (const auto id : ids) tags.insert(tag("processing_jobs/id", id));
  return tags;
}

constexpr query expire_lease{
    "test.expire_lease",
    "UPDATE soundhash_job_leases SET expires_at = '2000-01-01' WHERE job_id = $1"};

/// A call of a repository, and the tags that its query drops.
struct write_case {
  std::string query;
  std::function<tag_texts(executor& on)> run;
};
struct read_case {
  std::string query;
  std::function<void(executor& on)> run;
  tag_texts tags;
};

class cache_tags_test : public ::testing::Test {
 protected:
  cache_tags_test() {
    options_.interceptors.push_back(ran_);
    db_.emplace(options_, heard_);
    channel_ = database::channels(*db_).create({.channel_id = "UC1"});
    video_ = database::videos(*db_).create({.video_id = "v1", .channel_id = channel_.id});
    print_ = database::fingerprints(*db_).create({.video_id = video_.id, .fingerprint_hash = "h"});
    static_cast<void>(heard_->taken());
    static_cast<void>(ran_->taken());
  }

  std::string fresh(std::string_view prefix) {
    return std::string{prefix} + std::to_string(++made_);
  }
  job pending_job(executor& on) {
    auto made = database::jobs(on).create({.job_type = "t", .target_id = fresh("j")});
    static_cast<void>(heard_->taken());
    return made;
  }
  job_lease claimed(executor& on) {
    const auto type = fresh("type");
    database::jobs(on).create({.job_type = type, .target_id = "x"});
    const auto lease = database::jobs(on).claim({type}, 1).at(0).lease;
    static_cast<void>(heard_->taken());
    return lease;
  }

  std::vector<write_case> writes_of_channels();
  std::vector<write_case> writes_of_videos();
  std::vector<write_case> writes_of_prints();
  std::vector<write_case> writes_of_jobs();
  std::vector<write_case> writes();
  std::vector<read_case> reads();
  void run_uncached_reads();

  database_options options_ = test::fresh_database_options();
  std::shared_ptr<name_recorder> ran_ = std::make_shared<name_recorder>();
  std::shared_ptr<recording_listener> heard_ = std::make_shared<recording_listener>();
  std::optional<heard_database> db_;
  channel channel_;
  video video_;
  fingerprint print_;
  int made_ = 1;  // "UC1" and "v1" are there
};

std::vector<write_case> cache_tags_test::writes_of_channels() {
  const auto tags_of = [](const channel& row) { return channel_tags(row.id, row.channel_id); };
  return {
      {"channel.create",
       [=, this](executor& on) {
         return tags_of(database::channels(on).create({.channel_id = fresh("UC")}));
       }},
      {"channel.create_if_absent",
       [=, this](executor& on) {
         return tags_of(database::channels(on).get_or_create({.channel_id = fresh("UC")}));
       }},
      {"channel.update",
       [=, this](executor& on) {
         return tags_of(database::channels(on).update(channel_.id, {.is_active = true}).value());
       }},
      {"channel.mark_processed",
       [=, this](executor& on) {
         EXPECT_TRUE(database::channels(on).mark_processed(channel_.id));
         return tags_of(channel_);
       }},
  };
}

std::vector<write_case> cache_tags_test::writes_of_videos() {
  const auto tags_of = [](const video& row) {
    return video_tags(row.id, row.video_id, row.channel_id);
  };
  return {
      {"video.create",
       [=, this](executor& on) {
         return tags_of(
             database::videos(on).create({.video_id = fresh("v"), .channel_id = channel_.id}));
       }},
      {"video.update",
       [=, this](executor& on) {
         return tags_of(database::videos(on).update(video_.id, {.title = "t"}).value());
       }},
      {"video.mark_processing_started",
       [=, this](executor& on) {
         EXPECT_TRUE(database::videos(on).mark_processing_started(video_.id));
         return tags_of(video_);
       }},
      {"video.mark_processed",
       [=, this](executor& on) {
         EXPECT_TRUE(database::videos(on).mark_failed(video_.id, "why"));
         return tags_of(video_);
       }},
      {"video.ingest",
       [=, this](executor& on) {
         const std::vector<new_video> given{{.video_id = fresh("v")}, {.video_id = "v1"}};
         const auto made = database::videos(on).ingest(channel_.id, given);
         EXPECT_EQ(made.size(), 1U);
         auto tags = video_tags(made.at(0).id, given[0].video_id, channel_.id);
         tags.merge(job_tags({made.at(0).job_id.value()}));
         return tags;
       }},
  };
}

std::vector<write_case> cache_tags_test::writes_of_prints() {
  const auto of_video = tag("audio_fingerprints/video_id", video_.id);
  const auto of_print = tag("match_results/query_fingerprint_id", print_.id);
  return {
      {"fingerprint.create",
       [=, this](executor& on) -> tag_texts {
         static_cast<void>(
             database::fingerprints(on).create({.video_id = video_.id, .fingerprint_hash = "h"}));
         return {"audio_fingerprints/?", of_video};
       }},
      {"fingerprint.create_batch",
       [=, this](executor& on) -> tag_texts {
         const std::vector<new_fingerprint> rows(3,
                                                 {.video_id = video_.id, .fingerprint_hash = "h"});
         database::fingerprints(on).create_batch(rows);
         return {"audio_fingerprints/?", of_video};
       }},
      {"match_result.create",
       [=, this](executor& on) -> tag_texts {
         database::match_results(on).create({.query_fingerprint_id = print_.id});
         return {"match_results/?", of_print};
       }},
      {"match_result.create_batch",
       [=, this](executor& on) -> tag_texts {
         const std::vector<new_match_result> rows{{.query_fingerprint_id = print_.id}, {}};
         database::match_results(on).create_batch(rows);
         return {"match_results/?", of_print};
       }},
      {"match_result.mark_responded",
       [=, this](executor& on) -> tag_texts {
         const auto made = database::match_results(on).create({.query_fingerprint_id = print_.id});
         static_cast<void>(heard_->taken());
         EXPECT_TRUE(database::match_results(on).mark_responded(made.id));
         return {"match_results/?", of_print};
       }},
  };
}

std::vector<write_case> cache_tags_test::writes_of_jobs() {
  return {
      {"job.create",
       [this](executor& on) {
         return job_tags(
             {database::jobs(on).create({.job_type = "t", .target_id = fresh("j")}).id});
       }},
      {"job.create_if_absent",
       [this](executor& on) {
         const auto made =
             database::jobs(on).create_if_absent({.job_type = "t", .target_id = fresh("j")});
         return job_tags({made.value().id});
       }},
      {"job.create_batch_if_absent",
       [this](executor& on) {
         const std::vector<new_job> rows{{.job_type = "t", .target_id = fresh("j")},
                                         {.job_type = "t", .target_id = fresh("j")}};
         const auto made = database::jobs(on).create_batch_if_absent(rows);
         return job_tags({made.at(0).id, made.at(1).id});
       }},
      {"job.claim",
       [this](executor& on) {
         const auto type = fresh("claimed");
         const auto made = database::jobs(on).create({.job_type = type, .target_id = "x"});
         static_cast<void>(heard_->taken());
         EXPECT_EQ(database::jobs(on).claim({type}, 10).size(), 1U);
         return job_tags({made.id});
       }},
      {"job.update_status",
       [this](executor& on) {
         const auto made = pending_job(on);
         EXPECT_TRUE(database::jobs(on).update_status(made.id, job_status::running));
         return job_tags({made.id});
       }},
      {"job.set_progress",
       [this](executor& on) {
         const auto held = claimed(on);
         EXPECT_TRUE(database::jobs(on).set_progress(held, 0.5));
         return job_tags({held.job_id});
       }},
      {"job.complete",
       [this](executor& on) {
         const auto held = claimed(on);
         EXPECT_THAT(database::jobs(on).complete({held, {held.job_id + 1000, 1}}),
                     ElementsAre(held.job_id));
         return job_tags({held.job_id});
       }},
      {"job.fail",
       [this](executor& on) {
         const auto held = claimed(on);
         EXPECT_THAT(database::jobs(on).fail({held}, "why"), ElementsAre(held.job_id));
         return job_tags({held.job_id});
       }},
      {"job.release",
       [this](executor& on) {
         const auto held = claimed(on);
         EXPECT_THAT(database::jobs(on).release({held}), ElementsAre(held.job_id));
         return job_tags({held.job_id});
       }},
      {"job.rescue_expired",
       [this](executor& on) {
         const auto held = claimed(on);
         on.execute(expire_lease, {held.job_id});
         EXPECT_THAT(database::jobs(on).rescue_expired(), ElementsAre(held.job_id));
         return job_tags({held.job_id});
       }},
      {"job.retry",
       [this](executor& on) {
         const auto made = pending_job(on);
         database::jobs(on).update_status(made.id, job_status::completed);
         static_cast<void>(heard_->taken());
         EXPECT_TRUE(database::jobs(on).retry(made.id));
         return job_tags({made.id});
       }},
      {"job.cancel",
       [this](executor& on) {
         const auto made = pending_job(on);
         EXPECT_TRUE(database::jobs(on).cancel(made.id));
         return job_tags({made.id});
       }},
  };
}

std::vector<write_case> cache_tags_test::writes() {
  std::vector<write_case> all;
  for (auto&& part :
       {writes_of_channels(), writes_of_videos(), writes_of_prints(), writes_of_jobs()}) {
    all.insert(all.end(), part.begin(), part.end());
  }
  return all;
}

std::vector<read_case> cache_tags_test::reads() {
  const auto of_channel = tag("videos/channel_id", channel_.id);
  return {
      {"channel.find",
       [this](executor& on) { EXPECT_TRUE(database::channels(on).find(channel_.id)); },
       {tag("channels/id", channel_.id)}},
      {"channel.find_by_channel_id",
       [](executor& on) { EXPECT_TRUE(database::channels(on).find_by_channel_id("UC1")); },
       {"channels/channel_id=UC1"}},
      {"video.find",
       [this](executor& on) { EXPECT_TRUE(database::videos(on).find(video_.id)); },
       {tag("videos/id", video_.id)}},
      {"video.find_by_video_id",
       [](executor& on) { EXPECT_FALSE(database::videos(on).find_by_video_id("none")); },
       {"videos/video_id=none"}},
      {"video.find_with_channel",
       [](executor& on) { EXPECT_TRUE(database::videos(on).find_with_channel("v1")); },
       {"videos/video_id=v1", "channels/?"}},
      {"video.by_channel",
       [this](executor& on) { static_cast<void>(database::videos(on).by_channel(channel_.id)); },
       {of_channel}},
      {"video.by_channel_after_date",
       [this](executor& on) {
         static_cast<void>(database::videos(on).by_channel(
             channel_.id, 10,
             list_scope{"video.by_channel", channel_.id}.at(std::optional{timestamp{}}, 1)));
       },
       {of_channel}},
      {"video.by_channel_after_undated",
       [this](executor& on) {
         static_cast<void>(database::videos(on).by_channel(
             channel_.id, 10,
             list_scope{"video.by_channel", channel_.id}.at(std::optional<timestamp>{}, 1)));
       },
       {of_channel}},
      {"match_result.top",
       [this](executor& on) { static_cast<void>(database::match_results(on).top(print_.id)); },
       {tag("match_results/query_fingerprint_id", print_.id)}},
      {"match_result.top_after",
       [this](executor& on) {
         const list_scope list{"match_result.top", print_.id};
         static_cast<void>(database::match_results(on).top(print_.id, 10, list.at(0.5, 1)));
       },
       {tag("match_results/query_fingerprint_id", print_.id)}},
  };
}

void cache_tags_test::run_uncached_reads() {
  auto& on = *db_;
  auto channels = database::channels(on);
  auto videos = database::videos(on);
  auto prints = database::fingerprints(on);
  auto jobs = database::jobs(on);
  const std::vector<std::string> ids{"v1"};
  static_cast<void>(channels.active(10));
  static_cast<void>(channels.active_page());
  static_cast<void>(channels.page());
  static_cast<void>(videos.page());
  static_cast<void>(videos.page_with_channel());
  static_cast<void>(videos.unprocessed());
  static_cast<void>(videos.unprocessed(10, null_processed::include));
  static_cast<void>(videos.unprocessed_with_channel());
  static_cast<void>(videos.unprocessed_page());
  static_cast<void>(videos.unprocessed_page({}, 10, null_processed::include));
  static_cast<void>(videos.unprocessed_page_with_channel());
  static_cast<void>(videos.existing_video_ids(ids));
  static_cast<void>(prints.exists(video_.id, 1, 1, 1));
  static_cast<void>(prints.find_with_data(print_.id));
  static_cast<void>(prints.find_by_hash("h"));
  static_cast<void>(prints.find_by_hash_with_data("h"));
  static_cast<void>(prints.find_by_hashes(ids));
  static_cast<void>(
      prints.find_by_hash("h", 1, list_scope{"fingerprint.find_by_hash", "h"}.at(1, 1.0, 1)));
  static_cast<void>(prints.find_by_hash_with_data(
      "h", 1, list_scope{"fingerprint.find_by_hash_with_data", "h"}.at(1, 1.0, 1)));
  static_cast<void>(prints.page());
  static_cast<void>(database::match_results(on).page());
  static_cast<void>(prints.by_video(video_.id, 0, 1));
  static_cast<void>(prints.by_video_page(video_.id));
  static_cast<void>(prints.hashes_of_video(video_.id));
  static_cast<void>(prints.hashes_of_video_page(video_.id));
  std::vector<query_hash> clip{{.hash = "h", .offset = 0}};
  static_cast<void>(prints.match(clip, {.min_votes = 1}));
  for (int i = 1; i <= 1000; ++i) clip.push_back({.hash = "h", .offset = 0.0 + i});
  static_cast<void>(prints.match(clip, {.min_votes = 1}));
  static_cast<void>(jobs.find(1));
  static_cast<void>(jobs.exists("t", "x"));
  static_cast<void>(jobs.exist_batch("t", ids));
  const std::optional<timestamp> undated;
  const std::optional dated{timestamp{}};
  const list_scope of_target{"job.by_target", "t", "x", std::vector<std::string>{}};
  const list_scope failed{"job.failed", "t"};
  static_cast<void>(jobs.by_target("t", "x"));
  static_cast<void>(jobs.by_target("t", "x", {}, 10, of_target.at(dated, 1)));
  static_cast<void>(jobs.by_target("t", "x", {}, 10, of_target.at(undated, 1)));
  static_cast<void>(jobs.pending());
  static_cast<void>(jobs.pending({}, 10, list_scope{"job.pending", ""}.at(dated, 1)));
  static_cast<void>(jobs.pending("t"));
  static_cast<void>(jobs.pending("t", 10, list_scope{"job.pending_of_type", "t"}.at(dated, 1)));
  static_cast<void>(jobs.failed("t"));
  static_cast<void>(jobs.failed("t", 10, failed.at(dated, 1)));
  static_cast<void>(jobs.failed("t", 10, failed.at(undated, 1)));
  static_cast<void>(jobs.page());
  static_cast<void>(jobs.count_by_status("pending"));
  static_cast<void>(jobs.counts_by_status());
  jobs.heartbeat({{1, 1}});
}

const auto tables = documented_tables();
const auto& cached_reads = tables.at(0);
const auto& documented_writes = tables.at(1);
const auto& uncached = tables.at(2);

TEST(cache_tables, have_every_query_of_the_repositories_once) {
  const auto declared = queries_in_the_sources();
  ASSERT_GE(declared.all.size(), 60U);
  names listed;
  std::size_t rows = 0;
  for (const auto& each : tables) {
    listed.merge(keys_of(each));
    rows += each.size();
  }
  EXPECT_EQ(listed, declared.all);
  EXPECT_EQ(rows, listed.size()) << "a query is in two tables";
  for (const auto& [name, tags] : documented_writes) {
    EXPECT_FALSE(declared.read_only.contains(name)) << name;
  }
  for (const auto& [name, tags] : cached_reads) {
    EXPECT_TRUE(declared.read_only.contains(name)) << name;
  }
}

TEST_F(cache_tags_test, each_write_drops_exactly_its_tags) {
  names tried;
  for (const auto& each : writes()) {
    SCOPED_TRACE(each.query);
    const auto expected = each.run(*db_);
    EXPECT_THAT(heard_->taken(), ElementsAre(call{"committed", expected}));
    EXPECT_EQ(kinds_of(expected), kinds_in(documented_writes.at(each.query)));
    EXPECT_TRUE(ran_->taken().contains(each.query));
    tried.insert(each.query);
  }
  EXPECT_EQ(tried, keys_of(documented_writes));
}

TEST_F(cache_tags_test, in_a_transaction_each_write_drops_them_at_commit) {
  for (const auto& each : writes()) {
    SCOPED_TRACE(each.query);
    auto tx = db_->begin();
    const auto expected = each.run(tx);
    EXPECT_THAT(heard_->taken(), IsEmpty());
    tx.commit();
    const auto told = heard_->taken();
    ASSERT_EQ(told.size(), 1U);
    // What the case needed in order to write at all is in the same transaction.
    EXPECT_TRUE(
        std::includes(told[0].tags.begin(), told[0].tags.end(), expected.begin(), expected.end()));
    EXPECT_EQ(kinds_of(told[0].tags), kinds_of(expected));
  }
}

TEST_F(cache_tags_test, each_cached_read_has_exactly_its_tags) {
  names tried;
  for (const auto& each : reads()) {
    SCOPED_TRACE(each.query);
    each.run(*db_);
    const auto seen = db_->taken_reads();
    ASSERT_EQ(seen.size(), 1U);
    EXPECT_EQ(seen[0].query, each.query);
    EXPECT_EQ(seen[0].tags, each.tags);
    EXPECT_EQ(kinds_of(each.tags), kinds_in(cached_reads.at(each.query)));
    EXPECT_THAT(ran_->taken(), ElementsAre(each.query));
    tried.insert(each.query);
  }
  EXPECT_EQ(tried, keys_of(cached_reads));
  EXPECT_THAT(heard_->taken(), IsEmpty());
}

TEST_F(cache_tags_test, the_other_reads_never_ask_the_cache) {
  run_uncached_reads();
  EXPECT_THAT(db_->taken_reads(), IsEmpty());
  EXPECT_THAT(heard_->taken(), IsEmpty());
  auto ran = ran_->taken();
  // Run by the writes that take them.
  ran.insert({"job.lock_target", "job.lock_types", "job.lock_to_end"});
  EXPECT_EQ(ran, keys_of(uncached));
}

TEST_F(cache_tags_test, get_or_create_never_asks_the_cache) {
  static_cast<void>(database::channels(*db_).get_or_create({.channel_id = "UC1"}));
  EXPECT_THAT(db_->taken_reads(), IsEmpty());
  EXPECT_THAT(heard_->taken(), IsEmpty()) << "it was there already";
}

TEST_F(cache_tags_test, writes_that_find_no_row_drop_the_lists_alone) {
  auto& on = *db_;
  constexpr std::int32_t none = 1'000'000;
  EXPECT_FALSE(database::channels(on).update(none, {}));
  EXPECT_FALSE(database::channels(on).mark_processed(none));
  EXPECT_FALSE(database::videos(on).update(none, {}));
  EXPECT_FALSE(database::videos(on).mark_processed(none));
  EXPECT_FALSE(database::match_results(on).mark_responded(none));
  EXPECT_FALSE(database::jobs(on).retry(none));
  const call channels{"committed", {"channels/?"}};
  const call videos{"committed", {"videos/?"}};
  EXPECT_THAT(heard_->taken(), ElementsAre(channels, channels, videos, videos,
                                           call{"committed", {"match_results/?"}},
                                           call{"committed", {"processing_jobs/?"}}));
}

TEST_F(cache_tags_test, a_batch_beyond_the_bound_drops_the_table) {
  std::vector<new_video> many;
  for (int i = 0; i < 200; ++i) many.push_back({.video_id = fresh("many")});
  database::videos(*db_).ingest(channel_.id, many);
  EXPECT_THAT(heard_->taken(), ElementsAre(call{"committed", {"processing_jobs/*", "videos/*"}}));
}

TEST_F(cache_tags_test, a_batch_of_several_statements_drops_its_tags_at_once) {
  const std::vector<new_match_result> rows(4001, {.query_fingerprint_id = print_.id});
  database::match_results(*db_).create_batch(rows);
  EXPECT_THAT(
      heard_->taken(),
      ElementsAre(call{"committed",
                       {"match_results/?", tag("match_results/query_fingerprint_id", print_.id)}}));
}

}  // namespace
}  // namespace soundhash::db
