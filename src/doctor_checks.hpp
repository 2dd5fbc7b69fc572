#pragma once

#include <array>
#include <string_view>

#include <soundhash/db/core/param.hpp>
#include <soundhash/db/database_options.hpp>

// The checks of `doctor` that are one query. Each gives the columns level, subject, text, remedy
// and safe, in the words of `severity`.

// Of others, ANALYZE and VACUUM skip the table with no more than a warning. Of `t` in pg_class.
#define MAY_MEND                                                                    \
  "(pg_has_role(t.relowner, 'USAGE') OR (SELECT pg_has_role(datdba, 'USAGE') FROM " \
  "pg_database WHERE datname = current_database()))"
#define BY_OWNER "CASE WHEN mine THEN '' ELSE 'as ' || owner || ': ' END || "

namespace soundhash::db {

struct sql_check {
  std::string_view name;
  std::string_view sql;
  params (*values)(const database_options&);
};

namespace detail {

inline params no_values(const database_options&) {
  return {};
}
inline params pool_limit(const database_options& options) {
  const auto& pool = options.pool;
  return {static_cast<std::int32_t>(pool.size && pool.max_overflow ? *pool.size + *pool.max_overflow
                                                                   : 0)};
}
inline params slow_limit(const database_options& options) {
  return {static_cast<double>(options.slow_query.count())};
}

}  // namespace detail

constexpr std::array sql_checks{
    // The server's limit, who uses it, and whether this pool still fits.
    sql_check{"connections", R"(
WITH server AS (
  SELECT current_setting('max_connections')::int
           - current_setting('superuser_reserved_connections')::int AS most,
         -- Who is no monitor sees no more of others than that they are there.
         CASE WHEN pg_has_role('pg_monitor', 'USAGE')
              THEN (SELECT count(*)::int FROM pg_stat_activity
                    WHERE backend_type = 'client backend')
              ELSE (SELECT sum(numbackends)::int FROM pg_stat_database) END AS used)
SELECT CASE WHEN used >= most * 0.9 THEN 'problem' WHEN used >= most * 0.7 THEN 'warning'
            ELSE 'ok' END AS level,
       'max_connections' AS subject, used || ' of ' || most || ' connections are in use' AS text,
       CASE WHEN used >= most * 0.7 THEN
         'lower DATABASE_POOL_SIZE and DATABASE_MAX_OVERFLOW, put PgBouncer in between, or raise '
         'max_connections' ELSE '' END AS remedy, false AS safe
FROM server
UNION ALL
SELECT CASE WHEN $1::int > most - used THEN 'warning' ELSE 'ok' END, 'DATABASE_POOL_SIZE',
       'this pool may open ' || $1::int || ' connections, and ' || most - used || ' are free',
       CASE WHEN $1::int > most - used
            THEN 'lower DATABASE_POOL_SIZE and DATABASE_MAX_OVERFLOW' ELSE '' END, false
FROM server WHERE $1::int > 0
UNION ALL
SELECT 'warning', current_user::text, 'is no member of pg_monitor: what others do is not seen',
       format('GRANT pg_monitor TO %I', current_user), false
WHERE NOT pg_has_role('pg_monitor', 'USAGE')
UNION ALL
SELECT 'note', coalesce(nullif(application_name, ''), 'no application_name'),
       count(*) || ' connections, ' || count(*) FILTER (WHERE state = 'active') || ' of them active',
       '', false
FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()
GROUP BY application_name
UNION ALL
SELECT 'warning', 'process ' || pid, 'idle in a transaction for '
         || extract(epoch FROM now() - state_change)::int || ' s, application '
         || quote_literal(application_name),
       'end its transaction where it was begun; to end it here: SELECT pg_terminate_backend('
         || pid || ')', false
FROM pg_stat_activity
WHERE state LIKE 'idle in transaction%' AND now() - state_change > interval '1 minute')",
              detail::pool_limit},

    sql_check{"settings", R"(
SELECT CASE WHEN setting IN ('UTC', 'Etc/UTC', 'GMT', 'Etc/GMT', 'Zulu', 'Universal') THEN 'ok'
            ELSE 'problem' END AS level, 'TimeZone' AS subject, 'is ' || setting AS text,
       CASE WHEN setting IN ('UTC', 'Etc/UTC', 'GMT', 'Etc/GMT', 'Zulu', 'Universal') THEN ''
            ELSE format('ALTER DATABASE %I SET timezone = ''UTC''', current_database()) END AS remedy,
       false AS safe
FROM pg_settings WHERE name = 'TimeZone'
UNION ALL
SELECT CASE WHEN setting::int < 0 THEN 'warning' ELSE 'ok' END, name,
       CASE WHEN setting::int < 0 THEN 'is off: the server logs no slow statement'
            ELSE 'is ' || setting || ' ms' END,
       CASE WHEN setting::int < 0 THEN
         format('ALTER DATABASE %I SET log_min_duration_statement = 100', current_database())
         ELSE '' END, false
FROM pg_settings WHERE name = 'log_min_duration_statement'
UNION ALL
SELECT CASE WHEN setting = 'on' THEN 'ok' ELSE 'problem' END, name, 'is ' || setting,
       CASE WHEN setting = 'on' THEN '' ELSE 'ALTER SYSTEM SET autovacuum = on' END, false
FROM pg_settings WHERE name = 'autovacuum')",
              detail::no_values},

    // What runs now. Its text is not shown: it may hold values.
    sql_check{"slow_queries", R"(
SELECT 'warning' AS level, 'process ' || pid AS subject,
       'has run a statement for ' || (extract(epoch FROM now() - query_start) * 1000)::bigint
         || ' ms, application ' || quote_literal(application_name)
         || coalesce(', waits for ' || wait_event_type || ' ' || wait_event, '') AS text,
       'to end it: SELECT pg_cancel_backend(' || pid || ')' AS remedy, false AS safe
FROM pg_stat_activity
WHERE state = 'active' AND backend_type = 'client backend' AND pid <> pg_backend_pid()
  AND now() - query_start > greatest($1::float8, 1000) * interval '1 millisecond')",
              detail::slow_limit},

    sql_check{"indexes", R"(
WITH all_indexes AS (
  SELECT i.indexrelid::regclass::text AS name, i.indrelid::regclass::text AS of_table, i.*,
         c.relpages, c.reltuples, pg_relation_size(i.indexrelid) AS bytes,
         coalesce(s.idx_scan, 0) AS scans, t.reltuples AS rows, a.amname,
         EXISTS (SELECT FROM pg_constraint k WHERE k.conindid = i.indexrelid) AS of_constraint,
         EXISTS (SELECT FROM pg_stat_progress_create_index p
                 WHERE p.index_relid = i.indexrelid) AS is_built,
         )" MAY_MEND R"( AS mine, quote_ident(pg_get_userbyid(t.relowner)) AS owner
  FROM pg_index i
  JOIN pg_class c ON c.oid = i.indexrelid
  JOIN pg_am a ON a.oid = c.relam
  JOIN pg_class t ON t.oid = i.indrelid
  LEFT JOIN pg_stat_user_indexes s ON s.indexrelid = i.indexrelid
  WHERE t.relnamespace = current_schema()::regnamespace),
-- The B-tree that these rows need, nine tenths full: 12 bytes an entry beside its columns.
needed AS (
  SELECT x.*, (SELECT sum(coalesce(w.avg_width, 8))
               FROM pg_attribute a
               LEFT JOIN pg_stats w ON w.schemaname = current_schema()
                 AND w.tablename = (SELECT relname FROM pg_class WHERE oid = x.indrelid)
                 AND w.attname = a.attname
               WHERE a.attrelid = x.indrelid AND a.attnum = ANY (x.indkey::int2[])) AS width
  FROM all_indexes x),
-- A REINDEX that failed leaves one more that is invalid; the next would leave yet another.
broken AS (
  SELECT *, name ~ '_cc(new|old)\d*$' AS left_over,
         bool_or(name ~ '_cc(new|old)\d*$') OVER (PARTITION BY indrelid) AS tried
  FROM all_indexes WHERE NOT indisvalid)
SELECT CASE WHEN is_built THEN 'note' ELSE 'problem' END AS level, name AS subject,
       CASE WHEN is_built THEN 'is being built'
            ELSE 'is invalid: it costs every write and serves no read' END AS text,
       CASE WHEN is_built THEN '' WHEN left_over THEN 'DROP INDEX CONCURRENTLY ' || name
            WHEN tried THEN 'mend the rows that keep it from being built, drop what an earlier '
              'REINDEX left, then REINDEX INDEX CONCURRENTLY ' || name
            ELSE )" BY_OWNER R"('REINDEX INDEX CONCURRENTLY ' || name END AS remedy,
       mine AND NOT is_built AND NOT tried AS safe
FROM broken
UNION ALL
SELECT 'warning', name, 'has ' || relpages || ' pages, and its rows need about '
         || (reltuples * (width + 12) / 7370)::bigint + 1 || ' (estimated)',
       )" BY_OWNER R"('REINDEX INDEX CONCURRENTLY ' || name, mine
FROM needed WHERE indisvalid AND amname = 'btree' AND indexprs IS NULL AND relpages > 1000
  AND relpages > 2 * (reltuples * (width + 12) / 7370 + 1)
UNION ALL
SELECT 'note', x.name, 'is the beginning of ' || min(y.name) || ', which serves its reads too',
       'DROP INDEX CONCURRENTLY ' || x.name, false
FROM all_indexes x JOIN all_indexes y ON y.indrelid = x.indrelid AND y.indexrelid <> x.indexrelid
WHERE x.indisvalid AND y.indisvalid AND NOT x.of_constraint AND NOT x.indisunique
  AND x.indpred IS NULL AND y.indpred IS NULL AND x.indexprs IS NULL AND y.indexprs IS NULL
  AND y.indkey::text || ' ' LIKE x.indkey::text || ' %'
  AND (y.indkey::text <> x.indkey::text OR y.of_constraint OR y.indexrelid < x.indexrelid)
GROUP BY x.name
UNION ALL
SELECT 'note', name, 'has not been used since the statistics began, and takes '
         || pg_size_pretty(bytes), 'DROP INDEX CONCURRENTLY ' || name
         || ', unless a standby or a rare report uses it', false
FROM all_indexes WHERE indisvalid AND scans = 0 AND NOT indisunique AND NOT of_constraint
  AND rows > 10000
UNION ALL
SELECT 'warning', relid::regclass::text, 'was read whole ' || seq_scan || ' times, '
         || seq_tup_read / seq_scan || ' rows each',
       'look for its statements under slow_queries; one may lack an index', false
FROM pg_stat_user_tables
WHERE schemaname = current_schema() AND seq_scan > 100 AND seq_tup_read / seq_scan > 10000
  AND seq_scan > coalesce(idx_scan, 0))",
              detail::no_values},

    // Twice what autovacuum allows by default: then it does not keep up.
    sql_check{"statistics", R"(
WITH tables AS (
  SELECT s.*, relid::regclass::text AS name, t.reltuples, age(t.relfrozenxid) AS xid_age,
         greatest(t.reltuples, s.n_live_tup, 0) AS rows,
         )" MAY_MEND R"( AS mine, quote_ident(pg_get_userbyid(t.relowner)) AS owner
  FROM pg_stat_user_tables s JOIN pg_class t ON t.oid = s.relid
  WHERE schemaname = current_schema())
SELECT 'warning' AS level, name AS subject,
       CASE WHEN reltuples < 0 THEN 'was never analysed'
            ELSE n_mod_since_analyze || ' changes of about ' || rows::bigint
                 || ' rows since the last ANALYZE' END AS text,
       )" BY_OWNER R"('ANALYZE ' || name AS remedy, mine AS safe
FROM tables WHERE (reltuples < 0 AND n_live_tup > 0) OR n_mod_since_analyze > 100 + 0.2 * rows
UNION ALL
SELECT 'warning', name, n_dead_tup || ' dead rows beside ' || n_live_tup || ' live ones',
       )" BY_OWNER R"('VACUUM (ANALYZE) ' || name, mine
FROM tables WHERE n_dead_tup > 100 + 0.4 * n_live_tup
UNION ALL
SELECT CASE WHEN xid_age > 1500000000 THEN 'problem' ELSE 'warning' END, name,
       'its oldest transaction id is ' || xid_age || ' old; at 2 146 483 648 the server stops',
       )" BY_OWNER R"('VACUUM (FREEZE) ' || name, mine
FROM tables WHERE xid_age > 1000000000)",
              detail::no_values},

    sql_check{"ids", R"(
SELECT CASE WHEN used > 0.9 THEN 'problem' WHEN used > 0.5 THEN 'warning' ELSE 'ok' END AS level,
       of_column AS subject, round(used * 100, 1) || ' % of its range is used' AS text,
       CASE WHEN used > 0.5 THEN 'make it bigint, and what refers to it, before it ends; this '
         'rewrites the table: ALTER TABLE ' || of_table || ' ALTER COLUMN ' || attname
         || ' TYPE bigint' ELSE '' END AS remedy, false AS safe
FROM (
  SELECT d.refobjid::regclass::text AS of_table, quote_ident(a.attname) AS attname,
         d.refobjid::regclass || '.' || a.attname AS of_column,
         coalesce(pg_sequence_last_value(s.seqrelid), 0)::numeric
           / least(s.seqmax, CASE a.atttypid WHEN 'int2'::regtype THEN 32767
                                             WHEN 'int4'::regtype THEN 2147483647
                                             ELSE s.seqmax END) AS used
  FROM pg_sequence s
  JOIN pg_class c ON c.oid = s.seqrelid AND c.relnamespace = current_schema()::regnamespace
  JOIN pg_depend d ON d.classid = 'pg_class'::regclass AND d.objid = s.seqrelid
    AND d.refclassid = 'pg_class'::regclass AND d.refobjsubid > 0 AND d.deptype IN ('a', 'i')
  JOIN pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid) AS columns)",
              detail::no_values},
};

}  // namespace soundhash::db

#undef MAY_MEND
#undef BY_OWNER
