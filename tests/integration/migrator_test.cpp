#include <algorithm>
#include <chrono>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <soundhash/db/core/error.hpp>
#include <soundhash/db/migrate/migrator.hpp>

#include "migrate/advisory_lock.hpp"
#include "migrate/sha256.hpp"
#include "support/sql.hpp"
#include "support/test_database.hpp"
#include "testing/child_process.hpp"
#include "testing/temporary_directory.hpp"

namespace soundhash::db::test {
namespace {

using db::testing::child_process;
using ::testing::AllOf;
using ::testing::Contains;
using ::testing::HasSubstr;
using namespace std::chrono_literals;
namespace fs = std::filesystem;

struct failure {
  errc code{};
  std::string message;
  std::string sqlstate;
};

template <class F>
failure failure_of(F&& body) {
  try {
    body();
  } catch (const error& e) {
    return {e.code(), e.what(), std::string{e.sqlstate()}};
  }
  ADD_FAILURE() << "nothing was thrown";
  return {};
}

migration_source source(std::vector<migration_text> files) {
  return {std::move(files)};
}

std::string states(migrator& migrations) {
  std::string text;
  for (const auto& m : migrations.status().migrations) {
    text += std::to_string(m.version) + " " + std::string{to_string(m.state)} + "\n";
  }
  return text;
}

// --- the command line tool -----------------------------------------------------------------------

/// A folder of migrations and the tool working on it.
class tool {
 public:
  tool(const database_options& options, const std::vector<migration_text>& files)
      : options_{options}, directory_{"migrator-test-", std::nullopt} {
    fs::create_directory(folder());
    for (const auto& file : files) std::ofstream{folder() / file.file_name} << file.text;
  }

  [[nodiscard]] fs::path folder() const { return directory_.path() / "migrations"; }

  std::unique_ptr<child_process> start(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), {SOUNDHASH_DB_CLI, "migrate", "--dir", folder().string()});
    return std::make_unique<child_process>(db::testing::child_command{
        .arguments = std::move(arguments),
        .environment = {"DATABASE_HOST=" + options_.host, "DATABASE_NAME=" + options_.name,
                        "DATABASE_USER=" + options_.user,
                        "DATABASE_PORT=" + std::to_string(options_.port)},
        .directory = directory_.path(),
        .output = output_file(),
        .user = std::nullopt});
  }
  int run(std::vector<std::string> arguments) {
    fs::remove(output_file());
    return start(std::move(arguments))->wait();
  }
  [[nodiscard]] std::string output() const {
    std::ifstream in{output_file()};
    return {std::istreambuf_iterator<char>{in}, std::istreambuf_iterator<char>{}};
  }

 private:
  [[nodiscard]] fs::path output_file() const { return directory_.path() / "output"; }

  database_options options_;
  db::testing::temporary_directory directory_;
};

const std::vector<migration_text> two_files = {
    {"0001_a.up.sql", "CREATE TABLE a (id int); INSERT INTO a VALUES (1);"},
    {"0001_a.down.sql", "DROP TABLE a;"},
    {"0002_b.up.sql", "INSERT INTO a VALUES (2);"},
    {"0002_b.down.sql", "-- Keeps it simple\nUPDATE a SET id = 0 WHERE id = 2;"}};

TEST(migrate_tool, tells_by_its_exit_code) {
  tool migrate{empty_database_options(), two_files};
  EXPECT_EQ(migrate.run({"status", "--check"}), 3);
  EXPECT_EQ(migrate.run({"plan"}), 0);
  EXPECT_THAT(migrate.output(), HasSubstr("INSERT INTO a VALUES (2)"));
  EXPECT_EQ(migrate.run({"status", "--check"}), 3) << "plan must change nothing";
  EXPECT_EQ(migrate.run({"up", "--json"}), 0);
  EXPECT_THAT(migrate.output(), HasSubstr(R"("event":"file_finished")"));
  EXPECT_EQ(migrate.run({"status", "--check"}), 0);
  EXPECT_EQ(migrate.run({"verify"}), 0);
  EXPECT_EQ(migrate.run({"down"}), 2);
  for (const auto* steps : {"-1", "0", "99999999999999999999", "two"}) {
    EXPECT_EQ(migrate.run({"down", "--steps", steps, "--yes"}), 2) << steps;
  }
  EXPECT_EQ(migrate.run({"down", "--to", "0"}), 1) << "loses data";
  std::ofstream{migrate.folder() / "0002_b.up.sql"} << "SELECT 'changed'";
  EXPECT_EQ(migrate.run({"status", "--check"}), 4);
  EXPECT_EQ(migrate.run({"verify"}), 4);
  EXPECT_EQ(migrate.run({"up"}), 4);
  EXPECT_EQ(migrate.run({"repair", "2"}), 2) << "needs the confirmation";
  EXPECT_EQ(migrate.run({"repair", "2", "--accept-checksum"}), 0);
  EXPECT_EQ(migrate.run({"up"}), 0);
  EXPECT_EQ(migrate.run({"down", "--to", "0", "--yes"}), 0);
  EXPECT_EQ(migrate.run({"history"}), 0);
  EXPECT_EQ(migrate.output(), "");
  EXPECT_EQ(migrate.run({"sideways"}), 2);
}

TEST(migrate_tool, makes_new_files) {
  tool migrate{empty_database_options(), two_files};
  EXPECT_EQ(migrate.run({"new", "job_index"}), 0);
  EXPECT_TRUE(fs::exists(migrate.folder() / "0100_job_index.up.sql"));
  EXPECT_TRUE(fs::exists(migrate.folder() / "0100_job_index.down.sql"));
  EXPECT_EQ(migrate.run({"new", "more"}), 0);
  EXPECT_TRUE(fs::exists(migrate.folder() / "0101_more.up.sql"));
  EXPECT_EQ(migrate.run({"new", "No/Path"}), 2);
}

TEST(migrate_tool, waits_for_the_lock_and_says_who_holds_it) {
  const auto options = empty_database_options();
  tool migrate{options, two_files};
  const auto holder = connect(options);
  query_text(*holder,
             "SELECT pg_advisory_lock(" + std::to_string(migrate::lock_key("public")) + ")::text");
  EXPECT_EQ(migrate.run({"up", "--lock-wait", "100ms"}), 6);
  const auto pid = "pid " + std::to_string(holder->backend_pid());
  EXPECT_THAT(migrate.output(), HasSubstr(pid));
  EXPECT_EQ(migrate.run({"lock-info"}), 0);
  EXPECT_THAT(migrate.output(), HasSubstr(pid));
  query_text(*holder, "SELECT pg_advisory_unlock_all()::text");
  EXPECT_EQ(migrate.run({"up", "--lock-wait", "100ms"}), 0);
}

TEST(migrate_tool, eight_at_once_run_each_file_once) {
  const auto options = empty_database_options();
  auto files = two_files;
  files.push_back({"0003_c.up.sql",
                   "-- soundhash: no-transaction\nCREATE INDEX CONCURRENTLY a_id ON a (id);\n"
                   "INSERT INTO a VALUES (3);"});
  tool migrate{options, files};
  std::vector<std::unique_ptr<child_process>> children;
  for (int i = 0; i < 8; ++i) children.push_back(migrate.start({"up"}));
  for (auto& child : children) EXPECT_EQ(child->wait(), 0) << migrate.output();
  EXPECT_EQ(query_text(options, "SELECT id::text FROM a ORDER BY id"), "1\n2\n3\n");
}

// --- killed at any statement ---------------------------------------------------------------------

constexpr int steps = 4;

/// Each statement waits at a gate of its own, an advisory lock with its number.
std::string gated_file(const std::string& directives) {
  std::string text = directives + "\n";
  for (int i = 1; i <= steps; ++i) {
    const auto n = std::to_string(i);
    text += "INSERT INTO steps SELECT " + n + " FROM pg_advisory_xact_lock(" + n + ");\n";
  }
  return text;
}

std::vector<migration_text> gated_files(const std::string& directives) {
  return {{"0001_table.up.sql", "CREATE TABLE steps (id int);"},
          {"0002_steps.up.sql", gated_file(directives)}};
}

/// Returns when a session waits at the gate.
void await_arrival(driver::connection& on, int gate) {
  const auto until = deadline::in(30s);
  const auto sql =
      "SELECT count(*)::text FROM pg_locks WHERE locktype = 'advisory' AND NOT granted "
      "AND objid = " +
      std::to_string(gate);
  while (query_text(on, sql) != "1\n") ASSERT_FALSE(until.passed()) << "nobody came to " << gate;
}

class killed : public ::testing::TestWithParam<std::string> {};

TEST_P(killed, process_at_any_statement_and_the_next_run_finishes) {
  for (int gate = 1; gate <= steps; ++gate) {
    const auto options = empty_database_options();
    tool migrate{options, gated_files(GetParam())};
    const auto keeper = connect(options);
    query_text(*keeper, "SELECT pg_advisory_lock(" + std::to_string(gate) + ")::text");
    auto child = migrate.start({"up"});
    await_arrival(*keeper, gate);
    child->signal(SIGKILL);
    EXPECT_EQ(child->wait(), 128 + SIGKILL);
    query_text(*keeper, "SELECT pg_advisory_unlock_all()::text");
    EXPECT_EQ(migrate.run({"up"}), 0) << migrate.output();
    EXPECT_EQ(query_text(options, "SELECT id::text FROM steps ORDER BY id"), "1\n2\n3\n4\n")
        << gate;
    EXPECT_EQ(migrate.run({"status", "--check"}), 0);
  }
}

TEST_P(killed, backend_at_any_statement_and_the_next_run_finishes) {
  for (int gate = 1; gate <= steps; ++gate) {
    const auto options = empty_database_options();
    tool migrate{options, gated_files(GetParam())};
    const auto keeper = connect(options);
    query_text(*keeper, "SELECT pg_advisory_lock(" + std::to_string(gate) + ")::text");
    auto child = migrate.start({"up"});
    await_arrival(*keeper, gate);
    query_text(*keeper,
               "SELECT pg_terminate_backend(pid)::text FROM pg_locks WHERE locktype = "
               "'advisory' AND NOT granted");
    EXPECT_NE(child->wait(), 0);
    query_text(*keeper, "SELECT pg_advisory_unlock_all()::text");
    EXPECT_EQ(migrate.run({"up"}), 0) << migrate.output();
    EXPECT_EQ(query_text(options, "SELECT id::text FROM steps ORDER BY id"), "1\n2\n3\n4\n")
        << gate;
  }
}

INSTANTIATE_TEST_SUITE_P(files, killed, ::testing::Values("", "-- soundhash: no-transaction"),
                         [](const auto& test) {
                           return std::string{test.param.empty() ? "transactional" : "stepwise"};
                         });

// --- what a failure leaves -----------------------------------------------------------------------

TEST(migrator, a_failed_transactional_file_leaves_nothing) {
  const auto options = empty_database_options();
  migrator migrations{
      options, source({{"0001_a.up.sql", "CREATE TABLE a (id int);\nSELECT 1;\nSELECT 1/0;"}})};
  const auto failed = failure_of([&] { migrations.up(); });
  EXPECT_EQ(failed.code, errc::migration_failed);
  EXPECT_EQ(failed.sqlstate, "22012");
  EXPECT_THAT(failed.message, AllOf(HasSubstr("0001_a.up.sql, statement 3 of 3 (line 3)"),
                                    HasSubstr("nothing of this file was applied")));
  EXPECT_EQ(query_text(options, "SELECT to_regclass('a')::text"), "NULL\n");
  EXPECT_EQ(states(migrations), "1 pending\n");
}

constexpr auto stepwise_file =
    "-- soundhash: no-transaction\nCREATE TABLE a (id int);\nINSERT INTO a VALUES (1);\n"
    "INSERT INTO b VALUES (1);\n";

TEST(migrator, a_failed_stepwise_file_goes_on_where_it_stopped) {
  const auto options = empty_database_options();
  const auto files = source({{"0001_a.up.sql", stepwise_file}});
  migrator migrations{options, files};
  const auto failed = failure_of([&] { migrations.up(); });
  EXPECT_EQ(failed.code, errc::migration_half_applied);
  EXPECT_EQ(failed.sqlstate, "42P01");
  const auto row = migrations.history().at(0);
  EXPECT_EQ(row.state, migration_state::failed);
  EXPECT_EQ(row.statements_done, 2);
  EXPECT_EQ(row.last_error, "statement 3: SQLSTATE 42P01");
  EXPECT_EQ(migrations.plan().at(0).statements_done, 2U);
  EXPECT_EQ(failure_of([&] { migrations.require_at_least(1); }).code, errc::migration_half_applied);
  execute(options, "CREATE TABLE b (id int)");
  migrations.up();
  EXPECT_EQ(query_text(options, "SELECT id::text FROM a UNION ALL SELECT id::text FROM b"),
            "1\n1\n");
  EXPECT_EQ(states(migrations), "1 applied\n");
  EXPECT_EQ(migrations.history().at(0).last_error, "");
}

TEST(migrator, a_stepwise_file_may_change_after_the_statements_that_were_done_only) {
  const auto options = empty_database_options();
  migrator first{options, source({{"0001_a.up.sql", stepwise_file}})};
  failure_of([&] { first.up(); });
  migrator other{options, source({{"0001_a.up.sql",
                                   "-- soundhash: no-transaction\nCREATE TABLE a (id bigint);\n"
                                   "INSERT INTO a VALUES (1);\nINSERT INTO a VALUES (2);"}})};
  EXPECT_EQ(failure_of([&] { other.up(); }).code, errc::migration_half_applied);
  EXPECT_EQ(query_text(options, "SELECT count(*)::text FROM a"), "1\n");
  other.accept_checksum(1);
  other.up();
  EXPECT_EQ(query_text(options, "SELECT id::text FROM a ORDER BY 1"), "1\n2\n");
}

TEST(migrator, runs_what_no_transaction_allows) {
  const auto options = empty_database_options();
  migrator migrations{
      options, source({{"0001_a.up.sql",
                        "-- soundhash: no-transaction\nCREATE TABLE a (id int);\nVACUUM a;\n"
                        "CREATE PROCEDURE p() LANGUAGE plpgsql AS $$ BEGIN INSERT INTO a VALUES "
                        "(1); COMMIT; END $$;\nCALL p();"}})};
  migrations.up();
  EXPECT_EQ(query_text(options, "SELECT count(*)::text FROM a"), "1\n");
}

TEST(migrator, tries_again_when_a_table_is_locked) {
  const auto options = empty_database_options();
  execute(options, "CREATE TABLE a (id int)");
  auto blocker = connect(options);
  blocker->command("BEGIN; LOCK TABLE a", deadline::in(5s));
  migrator_options behaviour;
  int retries = 0;
  behaviour.on_event = [&](const migration_event& event) {
    if (event.what != migration_event::kind::retrying) return;
    EXPECT_THAT(event.detail, HasSubstr("55P03"));
    if (++retries == 2) blocker.reset();
  };
  migrator migrations{
      options,
      source({{"0001_a.up.sql", "-- soundhash: lock-timeout=20ms\nALTER TABLE a ADD b int;"}}),
      behaviour};
  migrations.up();
  EXPECT_GE(retries, 2);
  EXPECT_EQ(states(migrations), "1 applied\n");
}

TEST(migrator, gives_up_on_a_table_that_stays_locked) {
  const auto options = empty_database_options();
  execute(options, "CREATE TABLE a (id int)");
  auto blocker = connect(options);
  blocker->command("BEGIN; LOCK TABLE a", deadline::in(5s));
  migrator_options behaviour;
  behaviour.lock_timeout = 1ms;
  migrator migrations{options, source({{"0001_a.up.sql", "ALTER TABLE a ADD b int;"}}), behaviour};
  EXPECT_EQ(failure_of([&] { migrations.up(); }).sqlstate, "55P03");
  EXPECT_EQ(states(migrations), "1 pending\n");
}

TEST(migrator, settings_of_a_file_end_with_it) {
  const auto options = empty_database_options();
  migrator migrations{options,
                      source({{"0001_a.up.sql",
                               "CREATE SCHEMA other; SET search_path = other; SET ROLE pg_monitor; "
                               "RESET ROLE;"},
                              {"0002_b.up.sql", "CREATE TABLE here (id int);"}})};
  migrations.up();
  EXPECT_EQ(query_text(options, "SELECT to_regclass('public.here')::text"), "here\n");
}

TEST(migrator, notices_that_a_file_released_the_lock) {
  const auto options = empty_database_options();
  migrator migrations{options, source({{"0001_a.up.sql", "SELECT pg_advisory_unlock_all();"},
                                       {"0002_b.up.sql", "SELECT 1;"}})};
  EXPECT_EQ(failure_of([&] { migrations.up(); }).code, errc::migration_locked);
  EXPECT_EQ(states(migrations), "1 applied\n2 pending\n");
}

// --- indexes -------------------------------------------------------------------------------------

migration_source index_file(const std::string& statement) {
  return source({{"0001_i.up.sql", "-- soundhash: no-transaction\n" + statement + ";"}});
}

constexpr auto unique_index =
    "CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS i ON a (id) WHERE id > 0";
constexpr auto index_is_valid =
    "SELECT indisvalid::text FROM pg_index WHERE indexrelid = 'i'::regclass";

TEST(migrator, heals_an_invalid_index) {
  const auto options = empty_database_options();
  execute(options, "CREATE TABLE a (id int); INSERT INTO a VALUES (1), (1)");
  std::vector<std::string> dropped;
  migrator_options behaviour;
  behaviour.on_event = [&](const migration_event& event) {
    if (event.what == migration_event::kind::index_dropped) dropped.push_back(event.detail);
  };
  migrator migrations{options, index_file(unique_index), behaviour};
  EXPECT_EQ(failure_of([&] { migrations.up(); }).sqlstate, "23505");
  EXPECT_EQ(query_text(options, index_is_valid), "false\n");
  const auto findings = migrations.verify().findings;
  EXPECT_THAT(findings, Contains(::testing::Field(&schema_finding::what,
                                                  schema_finding::kind::invalid_index)));
  execute(options, "TRUNCATE a");
  migrations.up();
  EXPECT_EQ(query_text(options, index_is_valid), "true\n");
  EXPECT_THAT(dropped, ::testing::ElementsAre("i"));
}

TEST(migrator, takes_a_valid_index_of_the_same_definition_for_done) {
  const auto options = empty_database_options();
  execute(options,
          "CREATE TABLE a (id int); CREATE UNIQUE INDEX i ON a USING btree (id) WHERE 0 < "
          "id; DROP INDEX i; CREATE UNIQUE INDEX i ON a USING btree (id) WHERE (id > 0)");
  const auto before = query_text(options, "SELECT 'i'::regclass::oid::text");
  migrator{options, index_file(unique_index)}.up();
  EXPECT_EQ(query_text(options, "SELECT 'i'::regclass::oid::text"), before);
}

TEST(migrator, refuses_an_index_of_another_definition) {
  const auto options = empty_database_options();
  execute(options, "CREATE TABLE a (id int); CREATE INDEX i ON a (id) WHERE id > 0");
  const auto failed = failure_of([&] { migrator{options, index_file(unique_index)}.up(); });
  EXPECT_THAT(failed.message, HasSubstr("an index i of another definition"));
}

TEST(migrator, goes_on_after_a_dropped_index_that_was_not_recorded) {
  const auto options = empty_database_options();
  execute(options, "CREATE TABLE a (id int)");
  migrator migrations{options, index_file("DROP INDEX CONCURRENTLY i")};
  EXPECT_EQ(failure_of([&] { migrations.up(); }).sqlstate, "42704") << "never was there";
  migrations.up();  // now it may have been the run before that dropped it
  EXPECT_EQ(states(migrations), "1 applied\n");
}

// --- order and drift -----------------------------------------------------------------------------

TEST(migrator, refuses_missing_files_unless_allowed) {
  const auto options = empty_database_options();
  migrator{options, source(two_files)}.up();
  const auto older = source({two_files[0], two_files[1]});
  EXPECT_EQ(failure_of([&] { migrator{options, older}.up(); }).code, errc::migration_drift);
  migrator_options lenient;
  lenient.allow_missing_files = true;
  EXPECT_TRUE((migrator{options, older, lenient}.up().empty()));
}

TEST(migrator, checksums_are_those_of_postgresql) {
  const auto options = empty_database_options();
  const std::string text =
      "SELECT 'some text, longer than one block of sixty-four bytes, \n\t ok';";
  EXPECT_EQ(
      query_text(options, "SELECT encode(sha256(convert_to($x$" + text + "$x$, 'UTF8')), 'hex')"),
      migrate::sha256_hex(text) + "\n");
}

TEST(migrator, reverts_stepwise_files_too) {
  const auto options = empty_database_options();
  execute(options, "CREATE TABLE a (id int)");
  migrator migrations{
      options, source({{"0001_i.up.sql",
                        "-- soundhash: no-transaction\nCREATE INDEX CONCURRENTLY i ON a (id);"},
                       {"0001_i.down.sql",
                        "-- soundhash: no-transaction\nDROP INDEX CONCURRENTLY i;\n"
                        "INSERT INTO b VALUES (1);"}})};
  migrations.up();
  down_options one;
  one.steps = 1;
  EXPECT_EQ(failure_of([&] { migrations.down(one); }).code, errc::migration_half_applied);
  EXPECT_EQ(states(migrations), "1 reverting\n");
  EXPECT_EQ(failure_of([&] { migrations.up(); }).code, errc::migration_half_applied);
  execute(options, "CREATE TABLE b (id int)");
  migrations.down(one);
  EXPECT_EQ(states(migrations), "1 pending\n");
  EXPECT_EQ(query_text(options, "SELECT to_regclass('i')::text"), "NULL\n");
}

TEST(migrator, tells_a_service_that_the_schema_is_too_old) {
  const auto options = empty_database_options();
  migrator migrations{options, source(two_files)};
  EXPECT_EQ(failure_of([&] { migrations.require_at_least(1); }).code, errc::migration_pending);
  migrations.up();
  EXPECT_NO_THROW(migrations.require_at_least(2));
}

TEST(migrator, needs_the_schema_to_exist) {
  auto options = empty_database_options();
  options.schema = "nowhere";
  EXPECT_THAT(failure_of([&] { migrator{options}.up(); }).message,
              HasSubstr("schema \"nowhere\" does not exist"));
}

// --- adoption ------------------------------------------------------------------------------------

/// A database as Alembic leaves it: the tables, its own version table and no history of ours.
database_options alembic_database(const std::string& revisions, std::int64_t version = 4) {
  auto options = empty_database_options();
  up_options wanted;
  wanted.to = version;
  migrator{options}.up(wanted);
  execute(options,
          "DROP TABLE soundhash_schema_history; CREATE TABLE alembic_version (version_num "
          "varchar(32) PRIMARY KEY); INSERT INTO alembic_version VALUES " +
              revisions);
  return options;
}

void add_tenants(const database_options& options) {
  execute(options,
          "CREATE TABLE tenants (id serial PRIMARY KEY);"
          "ALTER TABLE channels ADD tenant_id int REFERENCES tenants;"
          "ALTER TABLE videos ADD tenant_id int REFERENCES tenants;"
          "ALTER TABLE audio_fingerprints ADD tenant_id int REFERENCES tenants;"
          "CREATE INDEX idx_videos_tenant_id ON videos (tenant_id);"
          "CREATE INDEX idx_fingerprints_tenant_hash ON audio_fingerprints (tenant_id, "
          "fingerprint_hash)");
}

TEST(migrator, adopts_a_database_of_alembic_with_several_heads_and_tenants) {
  const auto options = alembic_database("('ef282c9b1cb3'), ('f1a2b3c4d5e6')");
  add_tenants(options);
  migrator migrations{options};
  EXPECT_EQ(failure_of([&] { migrations.up(); }).code, errc::migration_mismatch) << "not adopted";
  const auto report = migrations.baseline_from_alembic();
  EXPECT_EQ(report.version, 4);
  EXPECT_TRUE(report.tenants);
  EXPECT_THAT(report.alembic_revisions, ::testing::ElementsAre("ef282c9b1cb3", "f1a2b3c4d5e6"));
  EXPECT_THAT(report.extras,
              Contains(::testing::Field(&schema_finding::subject, "videos.tenant_id")));
  EXPECT_TRUE(migrations.history().at(3).baseline);
  EXPECT_TRUE(migrations.verify().ok());
  up_options to_four;
  to_four.to = 4;
  EXPECT_TRUE(migrations.up(to_four).empty());
  EXPECT_EQ(failure_of([&] { migrations.baseline_from_alembic(); }).code, errc::migration_mismatch);
}

TEST(migrator, adopts_an_older_database_and_goes_on_from_there) {
  const auto options = alembic_database("('d4a7e3b9c2f1')", 2);
  migrator migrations{options};
  EXPECT_EQ(migrations.baseline_from_alembic().version, 2);
  up_options to_four;
  to_four.to = 4;
  EXPECT_EQ(migrations.up(to_four).size(), 2U);
  EXPECT_TRUE(migrations.verify().ok());
}

TEST(migrator, refuses_to_adopt_what_it_does_not_know) {
  const auto options = alembic_database("('0123456789ab')");
  migrator migrations{options};
  EXPECT_EQ(failure_of([&] { migrations.baseline_from_alembic(); }).code, errc::migration_mismatch);
  execute(options, "DELETE FROM alembic_version");
  EXPECT_EQ(failure_of([&] { migrations.baseline_from_alembic(); }).code, errc::migration_mismatch);
  EXPECT_EQ(migrations.baseline(4).version, 4) << "vouched for";
}

TEST(migrator, refuses_to_adopt_a_schema_that_differs) {
  const std::vector<std::pair<std::string, std::string>> changes = {
      {"ALTER TABLE videos DROP COLUMN title", "videos.title: the column is missing"},
      {"ALTER TABLE videos ALTER title TYPE text", "videos.title: is text"},
      {"ALTER TABLE videos ALTER channel_id DROP NOT NULL",
       "videos.channel_id: should be NOT NULL"},
      {"ALTER TABLE videos ALTER title SET NOT NULL", "videos.title: should be nullable"},
      {"ALTER TABLE videos ALTER id DROP DEFAULT", "videos.id: should have a default"},
      {"ALTER TABLE videos ADD must int NOT NULL", "videos.must: is an unknown column"},
      {"DROP TABLE match_results", "match_results: the table is missing"},
      {"DROP INDEX idx_jobs_failed", "idx_jobs_failed: the index is missing"},
      {"DROP INDEX idx_jobs_failed; CREATE INDEX idx_jobs_failed ON processing_jobs (job_type, "
       "created_at)",
       "idx_jobs_failed: is"},
      {"ALTER TABLE match_results DROP CONSTRAINT match_results_query_fingerprint_id_fkey",
       "match_results: the constraint is missing: FOREIGN KEY (query_fingerprint_id)"}};
  for (const auto& [sql, problem] : changes) {
    const auto options = alembic_database("('e5f8a2b3d4c1')");
    execute(options, sql);
    const auto failed = failure_of([&] { migrator{options}.baseline_from_alembic(); });
    EXPECT_EQ(failed.code, errc::migration_mismatch) << sql;
    EXPECT_THAT(failed.message, HasSubstr(problem)) << sql;
    EXPECT_EQ(query_text(options, "SELECT to_regclass('soundhash_schema_history')::text"),
              "NULL\n");
  }
}

TEST(migrator, verify_tells_a_time_zone_that_is_not_utc) {
  const auto options = fresh_database_options();
  EXPECT_TRUE(migrator{options}.verify().ok());
  execute(options, "ALTER DATABASE " + options.name + " SET timezone = 'America/New_York'");
  tool migrate{options, migration_source::embedded().files};
  EXPECT_EQ(migrate.run({"verify"}), 7);
  EXPECT_THAT(migrate.output(), HasSubstr("America/New_York"));
}

}  // namespace
}  // namespace soundhash::db::test
