#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <soundhash/db/migrate/migrator.hpp>

#include "support/sql.hpp"
#include "support/test_database.hpp"

// The schema that Alembic makes with the revisions ce1ffb204f19, b9532a7d8c7a, c8e9d4a1f2b3 and
// e5f8a2b3d4c1 of the Python services, as PostgreSQL 15 describes it.
namespace soundhash::db::test {
namespace {

using ::testing::HasSubstr;

constexpr std::string_view columns_sql = R"sql(
SELECT format('%s.%s %s%s%s', c.relname, a.attname, format_type(a.atttypid, a.atttypmod),
              CASE WHEN a.attnotnull THEN ' NOT NULL' ELSE '' END,
              coalesce(' DEFAULT ' || pg_get_expr(d.adbin, d.adrelid), ''))
FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
     LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
WHERE c.relkind = 'r' AND c.relnamespace = 'public'::regnamespace AND a.attnum > 0
  AND NOT a.attisdropped AND c.relname <> 'soundhash_schema_history'
ORDER BY c.relname COLLATE "C", a.attnum)sql";

constexpr std::string_view columns =
    R"text(audio_fingerprints.id integer NOT NULL DEFAULT nextval('audio_fingerprints_id_seq'::regclass)
audio_fingerprints.video_id integer NOT NULL
audio_fingerprints.start_time double precision NOT NULL
audio_fingerprints.end_time double precision NOT NULL
audio_fingerprints.fingerprint_hash character varying(64) NOT NULL
audio_fingerprints.fingerprint_data bytea
audio_fingerprints.sample_rate integer
audio_fingerprints.segment_length double precision
audio_fingerprints.confidence_score double precision
audio_fingerprints.peak_count integer
audio_fingerprints.created_at timestamp without time zone
audio_fingerprints.n_fft integer NOT NULL DEFAULT 2048
audio_fingerprints.hop_length integer NOT NULL DEFAULT 512
channels.id integer NOT NULL DEFAULT nextval('channels_id_seq'::regclass)
channels.channel_id character varying(255) NOT NULL
channels.channel_name character varying(500)
channels.description text
channels.subscriber_count integer
channels.video_count integer
channels.created_at timestamp without time zone
channels.updated_at timestamp without time zone
channels.last_processed timestamp without time zone
channels.is_active boolean
match_results.id integer NOT NULL DEFAULT nextval('match_results_id_seq'::regclass)
match_results.query_fingerprint_id integer
match_results.matched_fingerprint_id integer
match_results.similarity_score double precision NOT NULL
match_results.match_confidence double precision
match_results.query_source character varying(50)
match_results.query_url character varying(1000)
match_results.query_user character varying(100)
match_results.responded boolean
match_results.response_sent_at timestamp without time zone
match_results.created_at timestamp without time zone
processing_jobs.id integer NOT NULL DEFAULT nextval('processing_jobs_id_seq'::regclass)
processing_jobs.job_type character varying(50)
processing_jobs.status character varying(20)
processing_jobs.target_id character varying(255)
processing_jobs.parameters text
processing_jobs.progress double precision
processing_jobs.current_step character varying(200)
processing_jobs.created_at timestamp without time zone
processing_jobs.started_at timestamp without time zone
processing_jobs.completed_at timestamp without time zone
processing_jobs.error_message text
processing_jobs.retry_count integer
processing_jobs.max_retries integer
videos.id integer NOT NULL DEFAULT nextval('videos_id_seq'::regclass)
videos.video_id character varying(255) NOT NULL
videos.channel_id integer NOT NULL
videos.title character varying(1000)
videos.description text
videos.duration double precision
videos.view_count integer
videos.like_count integer
videos.upload_date timestamp without time zone
videos.url character varying(500)
videos.thumbnail_url character varying(500)
videos.processed boolean
videos.processing_started timestamp without time zone
videos.processing_completed timestamp without time zone
videos.processing_error text
videos.created_at timestamp without time zone
videos.updated_at timestamp without time zone
)text";

constexpr std::string_view indexes_sql = R"sql(
SELECT indexdef FROM pg_indexes
WHERE schemaname = 'public' AND tablename <> 'soundhash_schema_history'
ORDER BY indexname COLLATE "C")sql";

constexpr std::string_view indexes =
    R"text(CREATE UNIQUE INDEX audio_fingerprints_pkey ON public.audio_fingerprints USING btree (id)
CREATE UNIQUE INDEX channels_channel_id_key ON public.channels USING btree (channel_id)
CREATE UNIQUE INDEX channels_pkey ON public.channels USING btree (id)
CREATE INDEX idx_channels_active ON public.channels USING btree (is_active, last_processed) WHERE (is_active = true)
CREATE INDEX idx_fingerprints_hash ON public.audio_fingerprints USING btree (fingerprint_hash)
CREATE INDEX idx_fingerprints_hash_video ON public.audio_fingerprints USING btree (fingerprint_hash, video_id)
CREATE INDEX idx_fingerprints_time ON public.audio_fingerprints USING btree (start_time, end_time)
CREATE INDEX idx_fingerprints_video_id ON public.audio_fingerprints USING btree (video_id)
CREATE INDEX idx_fingerprints_video_time ON public.audio_fingerprints USING btree (video_id, start_time)
CREATE INDEX idx_jobs_failed ON public.processing_jobs USING btree (job_type, created_at) WHERE ((status)::text = 'failed'::text)
CREATE INDEX idx_jobs_status_created ON public.processing_jobs USING btree (status, created_at) WHERE ((status)::text = ANY ((ARRAY['pending'::character varying, 'running'::character varying])::text[]))
CREATE INDEX idx_match_results_matched_fp ON public.match_results USING btree (matched_fingerprint_id, similarity_score)
CREATE INDEX idx_match_results_query_fp ON public.match_results USING btree (query_fingerprint_id, similarity_score)
CREATE INDEX idx_match_results_similarity ON public.match_results USING btree (similarity_score)
CREATE INDEX idx_processing_jobs_status ON public.processing_jobs USING btree (status)
CREATE INDEX idx_processing_jobs_target ON public.processing_jobs USING btree (target_id, job_type, status)
CREATE INDEX idx_processing_jobs_type ON public.processing_jobs USING btree (job_type)
CREATE INDEX idx_processing_jobs_type_status ON public.processing_jobs USING btree (job_type, status)
CREATE INDEX idx_videos_channel_date ON public.videos USING btree (channel_id, upload_date)
CREATE INDEX idx_videos_channel_id ON public.videos USING btree (channel_id)
CREATE INDEX idx_videos_processed ON public.videos USING btree (processed)
CREATE INDEX idx_videos_unprocessed ON public.videos USING btree (created_at) WHERE (processed = false)
CREATE INDEX idx_videos_video_id ON public.videos USING btree (video_id)
CREATE UNIQUE INDEX match_results_pkey ON public.match_results USING btree (id)
CREATE UNIQUE INDEX processing_jobs_pkey ON public.processing_jobs USING btree (id)
CREATE UNIQUE INDEX videos_pkey ON public.videos USING btree (id)
CREATE UNIQUE INDEX videos_video_id_key ON public.videos USING btree (video_id)
)text";

constexpr std::string_view constraints_sql = R"sql(
SELECT format('%s: %s', conname, pg_get_constraintdef(oid)) FROM pg_constraint
WHERE connamespace = 'public'::regnamespace AND conrelid <> 'soundhash_schema_history'::regclass
ORDER BY conname COLLATE "C")sql";

constexpr std::string_view constraints = R"text(audio_fingerprints_pkey: PRIMARY KEY (id)
audio_fingerprints_video_id_fkey: FOREIGN KEY (video_id) REFERENCES videos(id)
channels_channel_id_key: UNIQUE (channel_id)
channels_pkey: PRIMARY KEY (id)
match_results_matched_fingerprint_id_fkey: FOREIGN KEY (matched_fingerprint_id) REFERENCES audio_fingerprints(id)
match_results_pkey: PRIMARY KEY (id)
match_results_query_fingerprint_id_fkey: FOREIGN KEY (query_fingerprint_id) REFERENCES audio_fingerprints(id)
processing_jobs_pkey: PRIMARY KEY (id)
videos_channel_id_fkey: FOREIGN KEY (channel_id) REFERENCES channels(id)
videos_pkey: PRIMARY KEY (id)
videos_video_id_key: UNIQUE (video_id)
)text";

constexpr std::string_view triggers_sql = R"sql(
SELECT format('%s %s', tgrelid::regclass, tgname) FROM pg_trigger
WHERE NOT tgisinternal ORDER BY 1)sql";

constexpr std::string_view sequences_sql = R"sql(
SELECT format('%s %s %s', sequencename, data_type, max_value) FROM pg_sequences
WHERE schemaname = 'public' ORDER BY sequencename COLLATE "C")sql";

constexpr std::string_view sequences = R"text(audio_fingerprints_id_seq integer 2147483647
channels_id_seq integer 2147483647
match_results_id_seq integer 2147483647
processing_jobs_id_seq integer 2147483647
videos_id_seq integer 2147483647
)text";

database_options migrated() {
  auto options = empty_database_options();
  up_options wanted;
  wanted.to = 4;
  migrator{options}.up(wanted);
  return options;
}

TEST(schema, is_the_one_that_alembic_makes) {
  const auto options = migrated();
  EXPECT_EQ(query_text(options, columns_sql), columns);
  EXPECT_EQ(query_text(options, indexes_sql), indexes);
  EXPECT_EQ(query_text(options, constraints_sql), constraints);
  EXPECT_EQ(query_text(options, sequences_sql), sequences);
}

TEST(schema, goes_down_to_nothing_and_up_again) {
  const auto options = migrated();
  down_options all;
  all.to = 0;
  all.accept_data_loss = true;
  EXPECT_EQ(migrator{options}.down(all).size(), 4U);
  EXPECT_EQ(query_text(options, columns_sql), "");
  EXPECT_EQ(query_text(options, indexes_sql), "");
  EXPECT_EQ(query_text(options, sequences_sql), "");
  up_options wanted;
  wanted.to = 4;
  migrator{options}.up(wanted);
  EXPECT_EQ(query_text(options, columns_sql), columns);
  EXPECT_EQ(query_text(options, indexes_sql), indexes);
}

TEST(schema, each_down_file_undoes_its_up_file) {
  const auto options = migrated();
  const auto describe = [&] {
    return query_text(options, columns_sql) + query_text(options, indexes_sql) +
           query_text(options, constraints_sql);
  };
  migrator migrations{options};
  std::string after[5];
  after[4] = describe();
  for (int version = 3; version >= 1; --version) {
    down_options one;
    one.steps = 1;
    one.accept_data_loss = true;
    migrations.down(one);
    after[version] = describe();
    EXPECT_NE(after[version], after[version + 1]);
  }
  for (int version = 2; version <= 4; ++version) {
    up_options one;
    one.steps = 1;
    migrations.up(one);
    EXPECT_EQ(describe(), after[version]) << version;
  }
}

TEST(schema, leases_of_jobs_come_and_go_beside_the_tables_of_alembic) {
  const auto options = migrated();
  const auto describe = [&] {
    return query_text(options, columns_sql) + query_text(options, indexes_sql) +
           query_text(options, constraints_sql) + query_text(options, triggers_sql) +
           query_text(options,
                      "SELECT count(*)::text FROM pg_proc WHERE pronamespace = "
                      "'public'::regnamespace");
  };
  const auto before = describe();
  migrator migrations{options};
  EXPECT_EQ(migrations.up().size(), 3U);
  EXPECT_THAT(query_text(options, columns_sql), HasSubstr(R"text(
soundhash_job_leases.job_id integer NOT NULL
soundhash_job_leases.token bigint NOT NULL
soundhash_job_leases.started_at timestamp without time zone
soundhash_job_leases.expires_at timestamp without time zone NOT NULL
)text"));
  EXPECT_EQ(query_text(options, triggers_sql), "processing_jobs soundhash_wake_job_workers\n");
  EXPECT_TRUE(migrations.verify().ok());
  down_options to_alembics;
  to_alembics.to = 4;
  to_alembics.accept_data_loss = true;
  EXPECT_EQ(migrations.down(to_alembics).size(), 3U);
  EXPECT_EQ(describe(), before);
}

TEST(schema, lives_in_the_schema_of_the_options) {
  auto options = empty_database_options();
  execute(options, "CREATE SCHEMA apart");
  options.schema = "apart";
  up_options wanted;
  wanted.to = 4;
  migrator migrations{options};
  EXPECT_EQ(migrations.up(wanted).size(), 4U);
  EXPECT_TRUE(migrations.verify().ok());
  EXPECT_EQ(
      query_text(options,
                 "SELECT nspname::text, count(*)::text FROM pg_class c JOIN pg_namespace n ON "
                 "n.oid = relnamespace WHERE relkind = 'r' AND nspname IN ('public', 'apart') "
                 "GROUP BY 1"),
      "apart | 6\n");
}

}  // namespace
}  // namespace soundhash::db::test
