#include "driver/session_need.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace soundhash::db::driver {
namespace {

using ::testing::HasSubstr;

TEST(session_need, is_found_in_what_outlives_a_transaction) {
  const std::pair<const char*, const char*> cases[] = {
      {"SET statement_timeout = 0", "SET"},
      {"set session characteristics as transaction read only", "SET"},
      {"  -- a comment\n/* and another */ SET\tROLE x", "SET"},
      {"RESET ALL", "RESET"},
      {"LISTEN jobs", "LISTEN"},
      {"UNLISTEN *", "LISTEN"},
      {"DISCARD ALL", "DISCARD"},
      {"LOAD 'auto_explain'", "LOAD"},
      {"PREPARE p AS SELECT 1", "PREPARE"},
      {"DEALLOCATE p", "PREPARE"},
      {"DECLARE c CURSOR WITH HOLD FOR SELECT 1", "a cursor WITH HOLD"},
      {"CREATE TEMP TABLE t (n int)", "a temporary table that outlives its transaction"},
      {"CREATE OR REPLACE TEMPORARY VIEW v AS SELECT 1",
       "a temporary table that outlives its transaction"},
      {"SELECT set_config('work_mem', $1, false)", "set_config(…, false)"},
      {"SELECT pg_advisory_lock(1)", "an advisory lock of the session"},
      {"SELECT PG_TRY_ADVISORY_LOCK_SHARED(1)", "an advisory lock of the session"},
      {"SELECT pg_advisory_unlock_all()", "an advisory lock of the session"},
  };
  for (const auto& [sql, need] : cases) EXPECT_EQ(session_need(sql), need) << sql;
}

TEST(session_need, is_none_of_what_ends_with_its_transaction) {
  for (const char* sql :
       {"", "--", "/* never ends", "SELECT 1", "UPDATE t SET n = 1", "SET LOCAL work_mem = '1MB'",
        "SET TRANSACTION READ ONLY", "SET CONSTRAINTS ALL DEFERRED", "PREPARE TRANSACTION 'x'",
        "DECLARE c CURSOR FOR SELECT 1", "CREATE TABLE temporary_notes (n int)",
        "CREATE TEMP TABLE t (n int) ON COMMIT DROP", "SELECT set_config('work_mem', $1, true)",
        "SELECT pg_advisory_xact_lock(1)", "SELECT pg_try_advisory_xact_lock(1)", "NOTIFY jobs"}) {
    EXPECT_EQ(session_need(sql), "") << sql;
  }
}

TEST(misuse, is_found_in_a_copy_of_the_client_and_in_the_begin_of_a_transaction) {
  for (const char* sql :
       {"COPY t FROM STDIN", "copy t to\tstdout (FORMAT csv)", "/* a */ -- b\n COPY t TO STDOUT",
        "COPY (INSERT INTO t VALUES (1) RETURNING id) TO STDOUT", ";COPY t FROM STDIN"}) {
    EXPECT_THAT(misuse(sql), HasSubstr("COPY")) << sql;
  }
  for (const char* sql :
       {"BEGIN", "begin isolation level serializable", "START\nTRANSACTION", " ; BEGIN"}) {
    EXPECT_THAT(misuse(sql), HasSubstr("transaction")) << sql;
  }
}

TEST(misuse, is_not_found_in_what_runs_by_itself) {
  for (const char* sql :
       {"", "COPY", "COPY t FROM '/tmp/stdin'", "COPY t TO PROGRAM 'cat'", "SELECT copy FROM stdin",
        "copying t from stdin", "START_OF_IT", "SELECT begin FROM t", "PREPARE TRANSACTION 'x'",
        "COMMIT PREPARED 'x'"}) {
    EXPECT_EQ(misuse(sql), "") << sql;
  }
}

}  // namespace
}  // namespace soundhash::db::driver
