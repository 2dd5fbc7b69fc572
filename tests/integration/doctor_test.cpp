#include <algorithm>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <soundhash/db/core/error.hpp>
#include <soundhash/db/doctor.hpp>
#include <soundhash/db/testing/private_postgres.hpp>

#include "support/eventually.hpp"
#include "support/private_redis.hpp"
#include "support/sql.hpp"
#include "support/test_database.hpp"
#include "testing/child_process.hpp"
#include "testing/temporary_directory.hpp"

namespace soundhash::db {
namespace {

using namespace std::chrono_literals;
using ::testing::HasSubstr;
using ::testing::StartsWith;

constexpr std::string_view many_videos = R"(
INSERT INTO channels (channel_id) VALUES ('UC');
INSERT INTO videos (video_id, channel_id, title, processed, created_at)
SELECT 'v' || n, (SELECT id FROM channels), 'title', true, now() FROM generate_series(1, 2000) n)";

class doctor_test : public ::testing::Test {
 protected:
  void run(std::string_view sql) { test::execute(options_, sql); }

  std::vector<finding> examine() { return doctor{options_}.examine(); }

  /// The only finding of this check about this subject; one without level when there is none.
  static finding about(const std::vector<finding>& all, std::string_view check,
                       std::string_view subject) {
    const auto is_it = [&](const finding& one) {
      return one.check == check && one.subject == subject;
    };
    EXPECT_LE(std::count_if(all.begin(), all.end(), is_it), 1) << check << " " << subject;
    const auto at = std::find_if(all.begin(), all.end(), is_it);
    return at == all.end() ? finding{} : *at;
  }
  finding seen(std::string_view check, std::string_view subject) {
    return about(examine(), check, subject);
  }

  database_options options_ = test::fresh_database_options();
};

TEST_F(doctor_test, a_new_database_has_no_problem) {
  const auto all = examine();
  for (const auto& one : all) {
    EXPECT_NE(one.level, severity::problem) << one.check << ": " << one.subject << " " << one.text;
    EXPECT_THAT(one.text, ::testing::Not(HasSubstr("could not be made"))) << one.check;
  }
  for (const auto* check : {"connections", "settings", "schema", "slow_queries", "ids", "cache"}) {
    EXPECT_TRUE(std::any_of(all.begin(), all.end(), [&](const finding& one) {
      return one.check == check;
    })) << check;
  }
}

TEST_F(doctor_test, connections_are_counted_against_both_limits) {
  options_.pool.size = 10'000;
  const auto pool = seen("connections", "DATABASE_POOL_SIZE");
  EXPECT_EQ(pool.level, severity::warning);
  EXPECT_THAT(pool.remedy, HasSubstr("DATABASE_MAX_OVERFLOW"));
  EXPECT_THAT(seen("connections", "max_connections").text, HasSubstr("connections are in use"));
}

TEST_F(doctor_test, a_time_zone_other_than_utc_is_a_problem) {
  run("ALTER DATABASE " + options_.name + " SET timezone = 'Europe/Berlin'");
  const auto found = seen("settings", "TimeZone");
  EXPECT_EQ(found.level, severity::problem);
  EXPECT_EQ(found.remedy, "ALTER DATABASE " + options_.name + " SET timezone = 'UTC'");
}

TEST_F(doctor_test, the_server_should_log_slow_statements) {
  EXPECT_EQ(seen("settings", "log_min_duration_statement").level, severity::warning);
  run("ALTER DATABASE " + options_.name + " SET log_min_duration_statement = 100");
  EXPECT_EQ(seen("settings", "log_min_duration_statement").level, severity::ok);
}

TEST_F(doctor_test, what_differs_from_the_migrations_is_a_problem) {
  run("DROP INDEX idx_jobs_failed");
  EXPECT_EQ(seen("schema", "idx_jobs_failed").level, severity::problem);
}

TEST_F(doctor_test, an_invalid_index_is_rebuilt) {
  run(many_videos);
  run("INSERT INTO videos (video_id, channel_id, title) SELECT 'w', channel_id, title FROM videos "
      "LIMIT 1");
  EXPECT_THROW(run("CREATE UNIQUE INDEX CONCURRENTLY titles ON videos (title)"), error);
  auto found = examine();
  EXPECT_EQ(about(found, "indexes", "titles").level, severity::problem);

  run("UPDATE videos SET title = video_id");
  doctor{options_}.apply(found);
  EXPECT_TRUE(about(found, "indexes", "titles").applied) << about(found, "indexes", "titles").text;
  EXPECT_NE(seen("indexes", "titles").level, severity::problem);
}

TEST_F(doctor_test, a_remedy_that_fails_says_why) {
  run(many_videos);
  EXPECT_THROW(run("CREATE UNIQUE INDEX CONCURRENTLY titles ON videos (title)"), error);
  auto found = examine();
  doctor{options_}.apply(found);
  const auto still = about(found, "indexes", "titles");
  EXPECT_FALSE(still.applied);
  EXPECT_THAT(still.text, HasSubstr("the remedy failed: "));

  found = examine();
  const auto again = about(found, "indexes", "titles");
  EXPECT_FALSE(again.safe) << "each try leaves one more invalid index";
  EXPECT_THAT(again.remedy, HasSubstr("mend the rows"));
  EXPECT_EQ(about(found, "indexes", "titles_ccnew").remedy, "DROP INDEX CONCURRENTLY titles_ccnew");
}

TEST_F(doctor_test, who_may_not_mend_is_told_who_may) {
  run("ALTER TABLE videos SET (autovacuum_enabled = off)");
  run(many_videos);
  ASSERT_TRUE(test::eventually([&] { return !seen("statistics", "videos").text.empty(); }));
  run("DO 'BEGIN CREATE ROLE guest LOGIN; EXCEPTION WHEN duplicate_object THEN END'");
  run("GRANT SELECT ON ALL TABLES IN SCHEMA public TO guest");
  const auto owner = options_.user;
  options_.user = "guest";
  auto found = examine();
  const auto stale = about(found, "statistics", "videos");
  EXPECT_FALSE(stale.safe) << "the server would skip the table with a warning";
  EXPECT_EQ(stale.remedy, "as " + owner + ": ANALYZE videos");
  EXPECT_EQ(about(found, "connections", "guest").remedy, "GRANT pg_monitor TO guest");
  options_.user = owner;
}

TEST_F(doctor_test, a_bloated_index_is_found_by_its_pages) {
  run("INSERT INTO channels (channel_id) VALUES ('UC'); ALTER TABLE videos SET "
      "(autovacuum_enabled = off); CREATE INDEX thumbnails ON videos (thumbnail_url)");
  run("INSERT INTO videos (video_id, channel_id, thumbnail_url) SELECT 'v' || n, (SELECT id FROM "
      "channels), repeat(md5(n::text), 4) FROM generate_series(1, 60000) n");
  run("VACUUM ANALYZE videos");
  EXPECT_NE(seen("indexes", "thumbnails").level, severity::warning)
      << seen("indexes", "thumbnails").text;
  run("DELETE FROM videos WHERE id % 10 <> 0");
  run("VACUUM ANALYZE videos");
  auto found = examine();
  const auto bloated = std::find_if(found.begin(), found.end(), [](const finding& one) {
    return one.remedy == "REINDEX INDEX CONCURRENTLY thumbnails";
  });
  ASSERT_NE(bloated, found.end()) << to_json(found);
  EXPECT_EQ(bloated->level, severity::warning);
  doctor{options_}.apply(found);
  EXPECT_NE(seen("indexes", "thumbnails").level, severity::warning);
}

TEST_F(doctor_test, an_index_that_nobody_uses_is_noted) {
  run("INSERT INTO channels (channel_id) SELECT 'UC' || n FROM generate_series(1, 20000) n");
  run("CREATE INDEX unused ON channels (description); ANALYZE channels");
  const auto found = seen("indexes", "unused");
  EXPECT_EQ(found.level, severity::note);
  EXPECT_THAT(found.text, StartsWith("has not been used"));
  EXPECT_FALSE(found.safe) << "a standby may use it";
}

TEST_F(doctor_test, an_index_that_another_begins_with_is_noted) {
  run("CREATE INDEX longer ON videos (title, duration); CREATE INDEX shorter ON videos (title); "
      "CREATE INDEX some_of_them ON videos (title) WHERE processed");
  const auto all = examine();
  EXPECT_THAT(about(all, "indexes", "shorter").text, StartsWith("is the beginning of longer"));
  EXPECT_EQ(about(all, "indexes", "longer").text, "");
  EXPECT_EQ(about(all, "indexes", "some_of_them").text, "") << "serves other reads";
}

TEST_F(doctor_test, stale_statistics_and_dead_rows_are_mended) {
  run("ALTER TABLE videos SET (autovacuum_enabled = off)");
  run(many_videos);
  run("ANALYZE videos; UPDATE videos SET title = 'other'");
  std::vector<finding> found;
  ASSERT_TRUE(test::eventually([&] {
    found = examine();  // the server counts a little later
    return std::count_if(found.begin(), found.end(), [](const finding& one) {
             return one.check == "statistics" && one.subject == "videos";
           }) == 2;
  }));
  auto mended = found;
  doctor{options_}.apply(mended);
  for (const auto& one : mended) {
    EXPECT_TRUE(one.applied || one.check != "statistics") << one.subject << " " << one.text;
  }
  EXPECT_TRUE(test::eventually([&] { return seen("statistics", "videos").text.empty(); }));
}

TEST_F(doctor_test, ids_that_end_are_found) {
  run("SELECT setval('videos_id_seq', 2000000000)");
  const auto found = seen("ids", "videos.id");
  EXPECT_EQ(found.level, severity::problem);
  EXPECT_THAT(found.text, StartsWith("93.1 %"));
  run("SELECT setval('videos_id_seq', 1200000000)");
  EXPECT_EQ(seen("ids", "videos.id").level, severity::warning);
  EXPECT_EQ(seen("ids", "channels.id").level, severity::ok);
}

TEST_F(doctor_test, redis_is_asked) {
  EXPECT_EQ(seen("cache", "Redis").level, severity::note);
  test::private_redis redis;
  options_.cache = redis.options();
  EXPECT_EQ(seen("cache", "Redis").level, severity::ok) << seen("cache", "Redis").text;
  redis.stop();
  EXPECT_EQ(seen("cache", "Redis").level, severity::problem);
}

TEST(doctor_slow_queries_test, slow_statements_come_with_their_plan) {
  testing::private_postgres server{
      {.settings = {{"shared_preload_libraries", "pg_stat_statements"}}}};
  server.create_database("slow");
  auto options = server.options("slow");
  test::execute(options, "CREATE EXTENSION pg_stat_statements; CREATE TABLE things (id int)");
  options.slow_query = 1ms;
  auto session = test::connect(options);
  const params values{std::int32_t{20}};
  const auto slow = "SELECT id FROM things WHERE id > $1 OR pg_sleep($1::int / 1000.0) IS NULL";
  test::execute(options, "INSERT INTO things VALUES (1)");
  session->run({.name = {}, .sql = slow, .values = &values, .until = deadline::in(30s)});

  const auto all = doctor{options}.examine();
  const auto found = std::find_if(all.begin(), all.end(), [](const finding& one) {
    return one.check == "slow_queries" && one.subject.starts_with("SELECT id FROM things");
  });
  ASSERT_NE(found, all.end()) << to_json(all);
  EXPECT_EQ(found->level, severity::warning);
  EXPECT_THAT(found->text, HasSubstr("Seq Scan on things"));
}

// --- the command ---------------------------------------------------------------------------------

class doctor_command_test : public doctor_test {
 protected:
  int command(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), {SOUNDHASH_DB_CLI, "doctor"});
    std::filesystem::remove(directory_.path() / "output");
    testing::child_process child{
        {.arguments = std::move(arguments),
         .environment = {"DATABASE_HOST=" + options_.host, "DATABASE_NAME=" + options_.name,
                         "DATABASE_USER=" + options_.user,
                         "DATABASE_PORT=" + std::to_string(options_.port), "DATABASE_POOL_SIZE=57"},
         .directory = directory_.path(),
         .output = directory_.path() / "output",
         .user = std::nullopt}};
    const int code = child.wait();
    std::ifstream in{directory_.path() / "output"};
    output_.assign(std::istreambuf_iterator<char>{in}, {});
    return code;
  }

  std::string output_;

 private:
  testing::temporary_directory directory_{"doctor-test-", std::nullopt};
};

TEST_F(doctor_command_test, tells_findings_and_exits_with_8_until_they_are_mended) {
  run("ALTER DATABASE " + options_.name + " SET log_min_duration_statement = 100");
  run("ALTER TABLE videos SET (autovacuum_enabled = off)");
  run(many_videos);
  ASSERT_TRUE(test::eventually([&] { return !seen("statistics", "videos").text.empty(); }));
  EXPECT_EQ(command({}), 8) << output_;
  EXPECT_THAT(output_, HasSubstr("warning: statistics: videos "));
  EXPECT_THAT(output_, HasSubstr("remedy: ANALYZE videos  (--apply runs it)"));
  EXPECT_EQ(command({"--apply", "--json"}), 0) << output_;
  EXPECT_THAT(output_, StartsWith(R"({"findings":[{"level":")"));
  EXPECT_THAT(output_, HasSubstr(R"("remedy":"ANALYZE videos","safe":true,"applied":true})"));
}

TEST_F(doctor_command_test, looks_at_the_pool_of_the_environment_also_with_a_dsn) {
  const auto dsn = "postgresql://" + options_.user + "@/" + options_.name +
                   "?host=" + options_.host + "&port=" + std::to_string(options_.port);
  options_.host = "/nowhere";
  command({"--dsn", dsn});
  EXPECT_THAT(output_, HasSubstr("this pool may open 77 connections"));
}

TEST_F(doctor_command_test, a_server_that_is_not_there_is_an_error) {
  options_.host = "/nowhere";
  EXPECT_EQ(command({"--json"}), 1);
  EXPECT_THAT(output_, StartsWith(R"({"error":)"));
}

}  // namespace
}  // namespace soundhash::db
