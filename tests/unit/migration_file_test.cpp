#include "migrate/migration_file.hpp"

#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <soundhash/db/core/error.hpp>

#include "migrate/alembic.hpp"
#include "migrate/selection.hpp"
#include "migrate/sha256.hpp"

namespace soundhash::db::migrate {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;

template <class F>
std::string failure_of(F&& body) {
  try {
    body();
  } catch (const error& e) {
    return std::string{to_string(e.code())} + ": " + e.what();
  }
  return "no failure";
}

TEST(migration_file, reads_file_names) {
  const auto up = parse_file_name("0012_add_index.up.sql");
  ASSERT_TRUE(up);
  EXPECT_EQ(up->version, 12);
  EXPECT_EQ(up->name, "add_index");
  EXPECT_TRUE(up->is_up);
  EXPECT_FALSE(parse_file_name("0012_add_index.down.sql")->is_up);
  for (const auto* bad : {"012_a.up.sql", "0012a.up.sql", "0012_.up.sql", "0012_A.up.sql",
                          "0012_a.sql", "0000_a.up.sql", "1234567890123456789_a.up.sql", ""}) {
    EXPECT_FALSE(parse_file_name(bad)) << bad;
  }
}

TEST(migration_file, checksum_ignores_line_ends_and_byte_order_mark) {
  const auto plain = parse_script("f", "SELECT 1;\nSELECT 2;\n");
  EXPECT_EQ(plain.checksum, sha256_hex("SELECT 1;\nSELECT 2;\n"));
  EXPECT_EQ(parse_script("f", "SELECT 1;\r\nSELECT 2;\r\n").checksum, plain.checksum);
  EXPECT_EQ(parse_script("f", "SELECT 1;\rSELECT 2;\r").checksum, plain.checksum);
  EXPECT_EQ(parse_script("f", "\xEF\xBB\xBFSELECT 1;\nSELECT 2;\n").checksum, plain.checksum);
  EXPECT_NE(parse_script("f", "SELECT 1;\nSELECT 2; \n").checksum, plain.checksum);
}

TEST(migration_file, reads_directives_of_the_leading_comments) {
  const auto script = parse_script("f",
                                   "-- About\n\n-- soundhash: no-transaction, optional\n"
                                   "-- soundhash: lock-timeout=5s statement-timeout=0\nSELECT 1;\n"
                                   "-- soundhash: loses-data\n");
  EXPECT_FALSE(script.transactional);
  EXPECT_TRUE(script.optional);
  EXPECT_FALSE(script.loses_data) << "not a leading comment";
  EXPECT_EQ(script.lock_timeout, 5s);
  EXPECT_EQ(script.statement_timeout, 0s);
  EXPECT_TRUE(parse_script("f", "SELECT 1").transactional);
}

TEST(migration_file, refuses_unknown_directives) {
  EXPECT_THAT(failure_of([] { parse_script("f", "\n-- soundhash: no-transation\n"); }),
              HasSubstr("f, line 2: unknown directive \"no-transation\""));
  EXPECT_THAT(failure_of([] { parse_script("f", "-- soundhash: lock-timeout=5\n"); }),
              HasSubstr("\"5\" is no duration"));
}

TEST(migration_file, reads_durations) {
  EXPECT_EQ(parse_duration("250ms"), 250ms);
  EXPECT_EQ(parse_duration("2min"), 2min);
  EXPECT_EQ(parse_duration("1h"), 1h);
  EXPECT_EQ(parse_duration("0"), 0ms);
  for (const auto* bad : {"", "5", "-1s", "5 s", "s", "1d", "600h", "99999999999999999999s"}) {
    EXPECT_FALSE(parse_duration(bad)) << bad;
  }
}

TEST(migration_file, refuses_transaction_control) {
  for (const auto* bad : {"BEGIN", "start transaction", "COMMIT", "end", "ROLLBACK", "abort",
                          "PREPARE TRANSACTION 'x'"}) {
    EXPECT_THAT(failure_of([&] { parse_script("f.sql", std::string{"SELECT 1;\n"} + bad); }),
                HasSubstr("f.sql, line 2: the migrator begins and ends transactions"))
        << bad;
  }
  EXPECT_NO_THROW(parse_script("f", "DO $$ BEGIN NULL; END $$; ROLLBACK TO SAVEPOINT a"));
  EXPECT_THAT(failure_of([] { parse_script("f", "COPY t FROM STDIN"); }), HasSubstr("use INSERT"));
}

TEST(migration_file, finds_what_loses_data) {
  EXPECT_TRUE(parse_script("f", "DROP TABLE a").loses_data);
  EXPECT_TRUE(parse_script("f", "ALTER TABLE a DROP COLUMN b").loses_data);
  EXPECT_TRUE(parse_script("f", "TRUNCATE a").loses_data);
  EXPECT_TRUE(parse_script("f", "WITH x AS (DELETE FROM a RETURNING *) SELECT 1").loses_data);
  EXPECT_TRUE(parse_script("f", "-- soundhash: loses-data\nSELECT 1").loses_data);
  EXPECT_FALSE(parse_script("f", "DROP INDEX a; ALTER TABLE a DROP CONSTRAINT b").loses_data);
}

TEST(migration_file, pairs_files_and_refuses_what_does_not_pair) {
  const auto files = parse_files({{{"0002_b.up.sql", "SELECT 2"},
                                   {"0001_a.down.sql", "SELECT 0"},
                                   {"0001_a.up.sql", "SELECT 1"}}});
  ASSERT_EQ(files.size(), 2U);
  EXPECT_EQ(files[0].name, "a");
  EXPECT_TRUE(files[0].down);
  EXPECT_FALSE(files[1].down);
  EXPECT_THAT(failure_of([] {
                parse_files({{{"0001_a.up.sql", ""}, {"0001_b.up.sql", ""}}});
              }),
              HasSubstr("also called \"a\""));
  EXPECT_THAT(failure_of([] {
                parse_files({{{"0001_a.up.sql", ""}, {"00001_a.up.sql", ""}}});
              }),
              HasSubstr("twice"));
  EXPECT_THAT(failure_of([] {
                parse_files({{{"0001_a.down.sql", ""}}});
              }),
              HasSubstr("there is no up file"));
  EXPECT_THAT(failure_of([] { parse_files({{{"readme.sql", ""}}}); }), HasSubstr("readme.sql"));
}

TEST(migration_file, the_built_in_files_are_the_ones_of_the_source) {
  const auto embedded = migration_source::embedded().files;
  const auto folder =
      migration_source::from_directory(std::string{SOUNDHASH_DB_SOURCE_DIR} + "/migrations").files;
  ASSERT_EQ(embedded.size(), folder.size());
  for (std::size_t i = 0; i < folder.size(); ++i) {
    EXPECT_EQ(embedded[i].file_name, folder[i].file_name);
    EXPECT_EQ(embedded[i].text, folder[i].text);
  }
}

// --- what to run ---------------------------------------------------------------------------------

std::vector<migration_file> three_files() {
  return parse_files({{{"0001_a.up.sql", "SELECT 1"},
                       {"0002_b.up.sql", "-- soundhash: optional\nSELECT 2"},
                       {"0003_c.up.sql", "SELECT 3"}}});
}

migration_record applied(const migration_file& file) {
  migration_record row;
  row.version = file.version;
  row.name = file.name;
  row.checksum = file.up.checksum;
  return row;
}

std::vector<std::int64_t> versions(const std::vector<file_run>& runs) {
  std::vector<std::int64_t> numbers;
  for (const auto& run : runs) numbers.push_back(run.file.version);
  return numbers;
}

TEST(selection, leaves_optional_files_unless_named) {
  const auto files = three_files();
  const std::vector<migration_record> none;
  const selection all{files, none};
  EXPECT_EQ(versions(all.up({})), (std::vector<std::int64_t>{1, 3}));
  up_options named;
  named.with = {"b"};
  EXPECT_EQ(versions(all.up(named)), (std::vector<std::int64_t>{1, 2, 3}));
  named.with = {"a"};
  EXPECT_THAT(failure_of([&] { static_cast<void>(all.up(named)); }),
              HasSubstr("no optional migration"));
  EXPECT_EQ(all.overview().pending, 2U);
}

TEST(selection, stops_at_a_version_or_a_number) {
  const auto files = three_files();
  const std::vector<migration_record> none;
  up_options first;
  first.to = 1;
  EXPECT_EQ(versions(selection{files, none}.up(first)), (std::vector<std::int64_t>{1}));
  up_options one;
  one.steps = 1;
  EXPECT_EQ(versions(selection{files, none}.up(one)), (std::vector<std::int64_t>{1}));
}

TEST(selection, refuses_late_files_but_not_optional_ones) {
  const auto files = three_files();
  const std::vector<migration_record> rows = {applied(files[2])};
  const selection all{files, rows};
  up_options what;
  EXPECT_THAT(failure_of([&] { static_cast<void>(all.up(what)); }), HasSubstr("--out-of-order"));
  what.out_of_order = true;
  EXPECT_EQ(versions(all.up(what)), (std::vector<std::int64_t>{1}));
  const std::vector<migration_record> required = {applied(files[0]), applied(files[2])};
  up_options named;
  named.with = {"b"};
  EXPECT_EQ(versions(selection{files, required}.up(named)), (std::vector<std::int64_t>{2}));
}

TEST(selection, down_needs_one_bound) {
  const auto files = three_files();
  const std::vector<migration_record> rows = {applied(files[0])};
  EXPECT_THAT(failure_of([&] {
                static_cast<void>(selection{files, rows}.down({}));
              }),
              HasSubstr("invalid_argument"));
}

// --- Alembic -------------------------------------------------------------------------------------

TEST(alembic, resolves_heads_to_versions) {
  EXPECT_EQ(resolve_alembic({"ce1ffb204f19"}).version, 1);
  EXPECT_EQ(resolve_alembic({"d4a7e3b9c2f1"}).version, 2);
  EXPECT_EQ(resolve_alembic({"c8e9d4a1f2b3", "d4a7e3b9c2f1"}).version, 3);
  EXPECT_EQ(resolve_alembic({"f1a2b3c4d5e6"}).version, 4);
  EXPECT_FALSE(resolve_alembic({"e0ae37366ae4"}).tenants);
  EXPECT_TRUE(resolve_alembic({"ef282c9b1cb3", "f1a2b3c4d5e6"}).tenants);
  EXPECT_EQ(resolve_alembic({"f78a03bf92c3"}).version, 4);
  EXPECT_EQ(resolve_alembic({}).version, 0);
  EXPECT_THAT(failure_of([] {
                resolve_alembic({"ce1ffb204f19", "beef"});
              }),
              HasSubstr("migration_mismatch: the Alembic revision \"beef\" is unknown"));
}

}  // namespace
}  // namespace soundhash::db::migrate
