#include <atomic>
#include <thread>
#include <utility>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <soundhash/db/cache/cache.hpp>
#include <soundhash/db/core/error.hpp>

#include "support/eventually.hpp"
#include "unit/cached_versions.hpp"

namespace soundhash::db {
namespace {

using namespace test;
using std::chrono::milliseconds;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using testing::rows;
using ::testing::SizeIs;
using fate = fake_redis::fate;

class read_through_test : public ::testing::Test {
 protected:
  fake_store redis;
  fake_items items{.versions = {{1, 10}, {2, 20}}};
};

bool has(const std::vector<fake_redis::arguments>& commands, std::string_view name) {
  return std::any_of(commands.begin(), commands.end(),
                     [&](const auto& each) { return each[0] == name; });
}

TEST_F(read_through_test, loads_once_and_then_hits_in_one_round_trip) {
  process one{redis, items};
  EXPECT_EQ(one.read(1), 10);
  const auto calls = one.link->calls.load();
  EXPECT_EQ(one.read(1), 10);
  EXPECT_EQ(one.link->calls, calls + 1);
  EXPECT_EQ(items.loads, 1);
  EXPECT_EQ(one.answers("hit"), 1);
  EXPECT_EQ(one.answers("miss"), 1);
}

TEST_F(read_through_test, shares_values_between_processes) {
  process one{redis, items};
  process two{redis, items};
  EXPECT_EQ(one.read(1), 10);
  EXPECT_EQ(two.read(1), 10);
  EXPECT_EQ(items.loads, 1);
}

TEST_F(read_through_test, a_miss_with_warm_tags_takes_two_round_trips_a_cold_one_three) {
  process one{redis, items};
  EXPECT_EQ(one.read(1), 10);
  EXPECT_EQ(one.link->calls, 3U);
  redis.evict(item_key(1));
  EXPECT_EQ(one.read(1), 10);
  EXPECT_EQ(one.link->calls, 5U);
}

TEST_F(read_through_test, a_write_is_seen_by_every_process_once_it_has_returned) {
  process one{redis, items};
  process two{redis, items};
  EXPECT_EQ(one.read(1), 10);
  EXPECT_EQ(two.read(2), 20);
  two.write(1, 11);
  EXPECT_EQ(one.read(1), 11);
  EXPECT_EQ(two.read(1), 11);
  EXPECT_EQ(one.read(2), 20);
  EXPECT_EQ(items.loads, 3) << "the other item is still there";
}

TEST_F(read_through_test, the_drop_of_a_whole_table_reaches_all_its_values) {
  process one{redis, items};
  EXPECT_EQ(one.read(1), 10);
  items.versions[1] = 11;
  tag_set changed{tag_set::mode::write};
  changed.add_all("items");
  one.through->committed(changed);
  EXPECT_EQ(one.read(1), 11);
}

TEST_F(read_through_test, a_read_only_commit_says_nothing) {
  process one{redis, items};
  EXPECT_EQ(one.read(1), 10);
  const auto calls = one.link->calls.load();
  one.through->committed(tag_set{tag_set::mode::write});
  EXPECT_EQ(one.link->calls, calls);
}

// --- the races -----------------------------------------------------------------------------------

TEST_F(read_through_test, a_reader_that_pauses_before_its_fill_stores_nothing_that_is_hit) {
  process reader{redis, items};
  process writer{redis, items};
  EXPECT_EQ(reader.read(1,
                        [&] {
                          writer.write(1, 11);
                          EXPECT_EQ(writer.read(1), 11) << "so the tags have stamps again";
                        }),
            10);
  EXPECT_TRUE(redis.text(item_key(1))) << "the old version is stored, under the old stamp";
  EXPECT_EQ(writer.read(1), 11);
  EXPECT_EQ(reader.read(1), 11);
}

TEST_F(read_through_test, nor_when_nobody_has_read_meanwhile) {
  process reader{redis, items};
  process writer{redis, items};
  EXPECT_EQ(reader.read(1, [&] { writer.write(1, 11); }), 10);
  EXPECT_EQ(reader.read(1), 11);
}

TEST_F(read_through_test, nor_when_all_of_redis_is_flushed_meanwhile) {
  for (const bool read_again : {true, false}) {
    items.versions[1] = 10;
    process reader{redis, items};
    process writer{redis, items};
    EXPECT_EQ(reader.read(1, {}, {.cache = cache_use::refresh}), 10);
    redis.evict(item_key(1));
    EXPECT_EQ(reader.read(1,
                          [&] {
                            writer.write(1, 11);
                            redis.flush();
                            if (read_again) {
                              EXPECT_EQ(writer.read(1), 11);
                            }
                          }),
              10);
    EXPECT_EQ(reader.read(1), 11) << read_again;
  }
}

TEST_F(read_through_test, nor_when_the_tag_is_evicted_before_the_write_or_after_it) {
  for (const bool before : {true, false}) {
    redis.flush();
    items.versions[1] = 10;
    process reader{redis, items};
    process writer{redis, items};
    EXPECT_EQ(reader.read(1,
                          [&] {
                            if (before) redis.evict(item_tag(1));
                            writer.write(1, 11);
                            if (!before) redis.evict(item_tag(1));
                            EXPECT_EQ(writer.read(1), 11);
                          }),
              10);
    EXPECT_EQ(reader.read(1), 11) << before;
  }
}

TEST_F(read_through_test, two_writers_and_a_slow_reader_leave_the_last_version) {
  process reader{redis, items};
  process first{redis, items};
  process second{redis, items};
  EXPECT_EQ(reader.read(1,
                        [&] {
                          first.write(1, 11);
                          EXPECT_EQ(first.read(1, [&] { second.write(1, 12); }), 11);
                        }),
            10);
  EXPECT_EQ(reader.read(1), 12);
  EXPECT_EQ(first.read(1), 12);
}

TEST_F(read_through_test, stamps_are_taken_before_the_load) {
  process reader{redis, items};
  process writer{redis, items};
  // Between the reader's questions and its load: the load sees the write, the stamps do not.
  bool written = false;
  reader.link->decide = [&](const auto& commands) {
    if (!written && has(commands, "GET")) {
      written = true;
      writer.write(1, 11);
    }
    return fate::answered;
  };
  EXPECT_EQ(reader.read(1), 11);
  EXPECT_EQ(writer.read(1), 11);
}

TEST_F(read_through_test, rows_of_a_standby_are_not_stored) {
  process one{redis, items};
  const auto load = [&] { return loaded{items.read(1), false}; };
  EXPECT_EQ(one.read_by(1, {}, load), 10);
  EXPECT_THAT(redis.keys_with(":v:"), IsEmpty());
}

// --- changes in doubt ----------------------------------------------------------------------------

TEST_F(read_through_test, while_a_change_is_in_doubt_its_rows_are_neither_hit_nor_stored) {
  process reader{redis, items};
  process writer{redis, items};
  EXPECT_EQ(reader.read(1), 10);
  const auto changed = process::changes(1);
  writer.through->in_doubt(changed);
  EXPECT_EQ(reader.read(1), 10);
  items.versions[1] = 11;  // the server commits at last
  EXPECT_EQ(reader.read(1), 11);
  EXPECT_EQ(writer.read(1), 11);
  writer.through->committed(changed);
  EXPECT_EQ(reader.read(1), 11);
  const auto loads = items.loads;
  EXPECT_EQ(reader.read(1), 11);
  EXPECT_EQ(items.loads, loads) << "resolved, it is cached again";
}

TEST_F(read_through_test, a_reader_that_loads_while_a_change_comes_to_be_in_doubt_fills_in_vain) {
  process reader{redis, items};
  process writer{redis, items};
  EXPECT_EQ(reader.read(1, [&] { writer.through->in_doubt(process::changes(1)); }), 10);
  items.versions[1] = 11;
  EXPECT_EQ(reader.read(1), 11);
}

TEST_F(read_through_test, another_commit_leaves_the_mark_of_a_change_in_doubt) {
  process reader{redis, items};
  process first{redis, items};
  process second{redis, items};
  first.through->in_doubt(process::changes(1));
  second.write(1, 11);
  first.write(1, 12);  // another transaction of the same process
  EXPECT_EQ(reader.read(1), 12);
  items.versions[1] = 13;  // the change in doubt
  EXPECT_EQ(reader.read(1), 13);
}

TEST_F(read_through_test, of_two_changes_in_doubt_each_ends_its_own_mark) {
  process reader{redis, items};
  process first{redis, items};
  process second{redis, items};
  const auto change = process::changes(1);
  first.through->in_doubt(change);
  second.through->in_doubt(process::changes(1));
  first.through->committed(change);
  EXPECT_EQ(reader.read(1), 10);
  items.versions[1] = 11;
  EXPECT_EQ(reader.read(1), 11);
}

TEST_F(read_through_test, a_change_in_doubt_that_nobody_resolves_ends_by_itself) {
  process one{redis, items};
  one.through->in_doubt(process::changes(1));
  EXPECT_EQ(one.read(1), 10);
  redis.pass(std::chrono::seconds{61});
  EXPECT_EQ(one.read(1), 10);
  EXPECT_EQ(one.read(1), 10);
  EXPECT_EQ(one.answers("hit"), 1);
}

TEST_F(read_through_test, a_mark_that_cannot_be_set_is_kept_here_and_sent_later) {
  process reader{redis, items};
  process writer{redis, items};
  EXPECT_EQ(reader.read(1), 10);
  writer.link->up = false;
  writer.through->in_doubt(process::changes(1));
  items.versions[1] = 11;
  EXPECT_EQ(writer.read(1), 11);
  writer.link->up = true;
  EXPECT_EQ(writer.read(1), 11);
  EXPECT_EQ(reader.read(1), 11) << "the mark is there now";
  items.versions[1] = 12;
  EXPECT_EQ(reader.read(1), 12);
}

// --- strict mode ---------------------------------------------------------------------------------

TEST_F(read_through_test,
       a_crash_between_commit_and_drop_leaves_a_stale_value_but_not_in_strict_mode) {
  for (const bool strict : {false, true}) {
    redis.flush();
    items.versions[1] = 10;
    process reader{redis, items};
    EXPECT_EQ(reader.read(1), 10);
    {
      process writer{
          redis, items, {.strict = strict ? cache_strictness::fail_open : cache_strictness::off}};
      EXPECT_EQ(writer.through->strict(), strict);
      if (strict) {
        EXPECT_TRUE(writer.through->announce(process::changes(1)));
      }
      items.versions[1] = 11;
    }  // and no more of it
    EXPECT_EQ(reader.read(1), strict ? 11 : 10);
  }
}

TEST_F(read_through_test, strict_mode_lets_nobody_store_between_announcement_and_commit) {
  process reader{redis, items};
  process writer{redis, items, {.strict = cache_strictness::fail_closed}};
  const auto changed = process::changes(1);
  EXPECT_EQ(reader.read(1, [&] { EXPECT_TRUE(writer.through->announce(changed)); }), 10);
  EXPECT_EQ(reader.read(1), 10);
  items.versions[1] = 11;
  EXPECT_EQ(reader.read(1), 11);
  writer.through->committed(changed);
  EXPECT_EQ(reader.read(1), 11);
  EXPECT_EQ(reader.read(1), 11);
  EXPECT_EQ(reader.answers("hit"), 1);
}

TEST_F(read_through_test, a_rollback_takes_the_announcement_back) {
  process one{redis, items, {.strict = cache_strictness::fail_closed}};
  const auto changed = process::changes(1);
  EXPECT_TRUE(one.through->announce(changed));
  one.through->rolled_back(changed);
  EXPECT_EQ(one.read(1), 10);
  EXPECT_EQ(one.read(1), 10);
  EXPECT_EQ(one.answers("hit"), 1);
}

TEST_F(read_through_test, without_redis_strict_mode_goes_on_or_refuses_as_told) {
  process open{redis, items, {.strict = cache_strictness::fail_open}};
  process closed{redis, items, {.strict = cache_strictness::fail_closed}};
  open.link->up = false;
  closed.link->up = false;
  EXPECT_TRUE(open.through->announce(process::changes(1)));
  EXPECT_FALSE(closed.through->announce(process::changes(1)));
}

TEST_F(read_through_test, a_server_without_memory_for_the_mark_counts_as_not_told) {
  process closed{redis, items, {.strict = cache_strictness::fail_closed}};
  redis.out_of_memory = true;
  EXPECT_FALSE(closed.through->announce(process::changes(1)));
}

// --- outages -------------------------------------------------------------------------------------

TEST_F(read_through_test, while_redis_is_away_reads_load_and_nothing_is_asked) {
  process one{redis, items};
  EXPECT_EQ(one.read(1), 10);
  one.link->up = false;
  const auto calls = one.link->calls.load();
  EXPECT_EQ(one.read(1), 10);
  EXPECT_EQ(one.link->calls, calls);
  EXPECT_EQ(one.answers("bypass"), 1);
}

TEST_F(read_through_test, a_question_without_an_answer_is_a_load_that_stores_nothing) {
  process one{redis, items};
  one.link->decide = [](const auto&) { return fate::lost_before; };
  EXPECT_EQ(one.read(1), 10);
  EXPECT_EQ(one.answers("error"), 1);
  EXPECT_THAT(redis.keys(), IsEmpty());
}

TEST_F(read_through_test, answers_of_another_shape_are_a_load_that_stores_nothing) {
  class odd final : public redis::caller {
   public:
    std::vector<redis::reply> answers;
    [[nodiscard]] bool available() const noexcept override { return true; }
    [[nodiscard]] std::optional<std::vector<redis::reply>> call(std::span<const redis::command>,
                                                                deadline) override {
      return answers;
    }
  };
  const redis::reply nothing{};
  const redis::reply failure{redis::reply::kind::error, "LOADING Redis is loading"};
  const redis::reply two{.what = redis::reply::kind::array, .items = {nothing, nothing}};
  const redis::reply errors{.what = redis::reply::kind::array,
                            .items = {failure, failure, failure, failure}};
  for (const auto& answers : std::vector<std::vector<redis::reply>>{
           {}, {failure}, {nothing}, {two}, {errors}, {two, two}}) {
    const auto server = std::make_shared<odd>();
    server->answers = answers;
    process one{redis, items, {.name_space = ""}};
    one.through->name_space("odd");
    read_through through{[] {
                           cache_options options;
                           options.name_space = "odd";
                           return options;
                         }(),
                         {}};
    through.attach(server);
    std::optional<std::int64_t> found;
    auto sink = process::sink_of(found);
    const auto tags = [](tag_set& into) { into.add_row("items", "id", 1); };
    through.read(find_item, {1}, {}, {.ttl = {}, .tags = tags}, sink,
                 [&] { return items.read(1); });
    EXPECT_EQ(found, 10);
    EXPECT_FALSE(through.before_use(*server, {}));
  }
}

TEST_F(read_through_test, a_write_that_redis_did_not_hear_of_is_seen_by_its_process_at_once) {
  process writer{redis, items};
  for (const auto how : {fate::lost_before, fate::lost_after}) {
    const auto version = items.versions[1];
    EXPECT_EQ(writer.read(1), version);
    EXPECT_EQ(writer.read(1), version);
    writer.link->decide = [&](const auto&) { return how; };
    writer.write(1, version + 1);
    EXPECT_EQ(writer.read(1), version + 1);
    EXPECT_EQ(writer.figure_of("soundhash_cache_undelivered_tags"), 2);
    writer.link->decide = [](const auto&) { return fate::answered; };
    EXPECT_EQ(writer.read(1), version + 1);
    EXPECT_EQ(writer.figure_of("soundhash_cache_undelivered_tags"), 0);
  }
}

TEST_F(read_through_test, a_refused_drop_counts_as_not_delivered) {
  process writer{redis, items};
  EXPECT_EQ(writer.read(1), 10);
  redis.role = "slave";
  writer.write(1, 11);
  EXPECT_EQ(writer.read(1), 11);
  redis.role = "master";
  EXPECT_EQ(writer.read(1), 11);
}

TEST_F(read_through_test, what_was_not_delivered_goes_first_over_a_new_connection) {
  process writer{redis, items};
  process other{redis, items};
  EXPECT_EQ(other.read(1), 10);
  writer.link->up = false;
  writer.write(1, 11);
  fake_redis session{redis};
  EXPECT_TRUE(writer.through->before_use(session, {}));
  EXPECT_EQ(other.read(1), 11) << "delivered before anybody used the connection";
  writer.link->up = true;
  EXPECT_EQ(writer.read(1), 11);
}

TEST_F(read_through_test, what_an_old_connection_lost_goes_out_when_the_server_is_back) {
  process writer{redis, items};
  process other{redis, items};
  EXPECT_EQ(other.read(1), 10);
  fake_redis session{redis};
  EXPECT_TRUE(writer.through->before_use(session, {}));
  writer.link->decide = [](const auto&) { return fate::lost_before; };
  writer.write(1, 11);
  writer.link->decide = [](const auto&) { return fate::answered; };
  writer.through->resume();
  EXPECT_EQ(writer.figure_of("soundhash_cache_undelivered_tags"), 0);
  EXPECT_EQ(other.read(1), 11);
}

TEST_F(read_through_test, nor_is_anything_left_that_is_lost_only_after_the_server_was_back) {
  process writer{redis, items};
  process other{redis, items};
  EXPECT_EQ(other.read(1), 10);
  bool lost = false;
  writer.link->decide = [&](const auto&) {
    if (std::exchange(lost, true)) return fate::answered;
    writer.through->resume();  // the other connection is there before the writer knows of its own
    return fate::lost_before;
  };
  writer.write(1, 11);
  EXPECT_EQ(writer.figure_of("soundhash_cache_undelivered_tags"), 0);
  EXPECT_EQ(other.read(1), 11);
}

TEST_F(read_through_test, a_connection_that_does_not_take_what_was_not_delivered_is_not_used) {
  process writer{redis, items};
  fake_redis first{redis};
  EXPECT_TRUE(writer.through->before_use(first, {}));
  writer.link->up = false;
  writer.write(1, 11);
  fake_redis session{redis};
  session.decide = [&](const auto& commands) {
    return has(commands, "INFO") ? fate::answered : fate::lost_before;
  };
  EXPECT_FALSE(writer.through->before_use(session, {}));
}

TEST_F(read_through_test, too_many_undelivered_tags_become_all_tags) {
  process writer{redis, items};
  process other{redis, items};
  EXPECT_EQ(other.read(2), 20);
  writer.link->up = false;
  for (int id = 0; id < 10'100; ++id) writer.through->committed(process::changes(id));
  items.versions[2] = 21;
  writer.link->up = true;
  EXPECT_LT(writer.figure_of("soundhash_cache_undelivered_tags"), 200);
  EXPECT_EQ(writer.read(2), 21);
  EXPECT_EQ(other.read(2), 21);
}

TEST_F(read_through_test, a_restarted_server_with_an_old_dump_is_not_believed) {
  process one{redis, items};
  fake_redis before{redis};
  EXPECT_TRUE(one.through->before_use(before, {}));
  EXPECT_EQ(one.read(1), 10);
  const auto dump = redis.dump();
  one.write(1, 11);
  redis.restart(dump, "run-2");
  fake_redis after{redis};
  EXPECT_TRUE(one.through->before_use(after, {}));
  EXPECT_EQ(one.read(1), 11);
  // A further connection to the same run drops nothing.
  fake_redis again{redis};
  EXPECT_TRUE(one.through->before_use(again, {}));
  EXPECT_EQ(one.read(1), 11);
  EXPECT_EQ(one.answers("hit"), 1);
}

TEST_F(read_through_test, a_server_met_for_the_first_time_is_not_believed_either) {
  process old{redis, items};
  EXPECT_EQ(old.read(1), 10);
  items.versions[1] = 11;
  process one{redis, items};
  fake_redis session{redis};
  EXPECT_TRUE(one.through->before_use(session, {}));
  EXPECT_EQ(one.read(1), 11);
}

TEST_F(read_through_test, a_replica_is_not_used) {
  process one{redis, items};
  redis.role = "slave";
  fake_redis session{redis};
  EXPECT_FALSE(one.through->before_use(session, {}));
}

TEST_F(read_through_test, before_the_name_is_known_nothing_is_hit_and_writes_are_remembered) {
  process known{redis, items};
  EXPECT_EQ(known.read(1), 10);
  process one{redis, items, {.name_space = ""}};
  EXPECT_EQ(one.read(1), 10);
  EXPECT_EQ(one.link->calls, 0U);
  fake_redis session{redis};
  EXPECT_FALSE(one.through->before_use(session, {}));
  one.write(1, 11);
  EXPECT_EQ(one.read(1), 11);
  one.through->name_space("test");
  EXPECT_EQ(one.read(1), 11);
  EXPECT_EQ(known.read(1), 11);
}

TEST_F(read_through_test, two_databases_on_one_server_never_mix) {
  fake_items others{.versions = {{1, 99}}};
  process here{redis, items, {.name_space = "here"}};
  process there{redis, others, {.name_space = "there"}};
  EXPECT_EQ(here.read(1), 10);
  EXPECT_EQ(there.read(1), 99);
  EXPECT_EQ(here.read(1), 10);
  EXPECT_TRUE(here.through->clear());
  EXPECT_EQ(there.read(1), 99);
  EXPECT_EQ(others.loads, 1);
}

// --- values --------------------------------------------------------------------------------------

TEST_F(read_through_test, knows_for_a_few_seconds_that_there_is_no_row) {
  process one{redis, items};
  EXPECT_EQ(one.read(7), std::nullopt);
  EXPECT_EQ(one.read(7), std::nullopt);
  EXPECT_EQ(items.loads, 1);
  EXPECT_EQ(one.answers("negative_hit"), 1);
  EXPECT_LE(redis.life(item_key(7)), milliseconds{3300});
  one.write(7, 70);
  EXPECT_EQ(one.read(7), 70);
}

TEST_F(read_through_test, lives_differ_by_a_tenth_and_tags_outlive_them) {
  process one{redis, items};
  std::set<std::int64_t> lives;
  for (int id = 100; id < 200; ++id) {
    items.versions[id] = id;
    EXPECT_EQ(one.read(id), id);
    const auto life = redis.life(item_key(id)).value();
    lives.insert(life.count());
    EXPECT_GE(life, std::chrono::seconds{270});
    EXPECT_LE(life, std::chrono::seconds{330});
    EXPECT_GE(redis.life(item_tag(id)), 2 * life);
  }
  EXPECT_GT(lives.size(), 50U);
  EXPECT_LT(*lives.begin(), 280'000);
  EXPECT_GT(*lives.rbegin(), 320'000);
}

TEST_F(read_through_test, a_value_past_its_end_is_no_hit_also_when_redis_still_has_it) {
  process one{redis, items};
  EXPECT_EQ(one.read(1), 10);
  const auto before = wall::milliseconds.load();
  wall::milliseconds += 331'000;
  EXPECT_EQ(one.read(1), 10);
  wall::milliseconds = before;
  EXPECT_EQ(items.loads, 2);
}

TEST_F(read_through_test, a_value_lives_from_before_its_load_which_it_may_be_older_than) {
  process one{redis, items};
  const auto slow = [] { wall::milliseconds += 200'000; };
  EXPECT_EQ(one.read(1, slow), 10);
  EXPECT_EQ(one.read(1), 10);
  EXPECT_EQ(items.loads, 1);
  wall::milliseconds += 131'000;
  EXPECT_EQ(one.read(1), 10);
  EXPECT_EQ(items.loads, 2);
}

TEST_F(read_through_test, does_not_store_what_is_too_large) {
  process one{redis, items, {.max_value_bytes = 100}};
  EXPECT_EQ(one.read(1), 10);
  EXPECT_THAT(redis.keys_with(":v:"), IsEmpty());
  EXPECT_EQ(one.figure_of("soundhash_cache_fills_total", "outcome=\"too_large\""), 1);
}

TEST_F(read_through_test, a_foreign_value_is_a_miss_and_gives_way) {
  process one{redis, items};
  EXPECT_EQ(one.read(1), 10);
  EXPECT_EQ(one.read(2), 20);
  const auto good = redis.text(item_key(1)).value();
  for (const auto& bad : {std::string{}, std::string{"junk"}, std::string(5000, '\xff'),
                          redis.text(item_key(2)).value()}) {
    redis.put(item_key(1), bad);
    const auto loads = items.loads;
    EXPECT_EQ(one.read(1), 10);
    EXPECT_EQ(items.loads, loads + 1);
    EXPECT_EQ(one.read(1), 10);
    EXPECT_EQ(items.loads, loads + 1);
  }
  EXPECT_EQ(one.figure_of("soundhash_cache_decode_errors_total"), 4);
}

TEST_F(read_through_test, a_foreign_tag_is_neither_hit_nor_filled_until_a_write_drops_it) {
  process one{redis, items};
  redis.put(item_tag(1), "junk");
  EXPECT_EQ(one.read(1), 10);
  EXPECT_THAT(redis.keys_with(":v:"), IsEmpty());
  one.write(1, 11);
  EXPECT_EQ(one.read(1), 11);
  EXPECT_EQ(one.read(1), 11);
  EXPECT_EQ(one.answers("hit"), 1);
}

TEST_F(read_through_test, what_another_version_stored_with_other_types_is_a_miss) {
  process one{redis, items};
  const auto as_text = [&] {
    return loaded{rows{"version"}.add(std::string{"ten"}).build(find_item.name())};
  };
  EXPECT_THROW(one.read_by(1, {}, as_text), decode_error);
  EXPECT_EQ(one.read(1), 10);
  EXPECT_EQ(one.read(1), 10);
  EXPECT_EQ(one.answers("hit"), 1);
}

TEST_F(read_through_test, a_load_that_throws_stores_nothing) {
  process one{redis, items};
  const auto fails = [&]() -> loaded { throw invalid_argument{"x", "y"}; };
  EXPECT_THROW(one.read_by(1, {}, fails), invalid_argument);
  EXPECT_THAT(redis.keys_with(":v:"), IsEmpty());
  EXPECT_EQ(one.read(1), 10);
}

TEST_F(read_through_test, refresh_loads_and_stores_bypass_does_neither) {
  process one{redis, items};
  EXPECT_EQ(one.read(1), 10);
  items.versions[1] = 11;  // by a service that drops no tags
  EXPECT_EQ(one.read(1), 10);
  EXPECT_EQ(one.read(1, {}, {.cache = cache_use::bypass}), 11);
  EXPECT_EQ(one.read(1), 10);
  EXPECT_EQ(one.read(1, {}, {.cache = cache_use::refresh}), 11);
  EXPECT_EQ(one.read(1), 11);
}

TEST_F(read_through_test, a_slow_load_near_its_end_is_refreshed_by_one_caller) {
  process one{redis, items};
  const auto slow = [&] {
    std::this_thread::sleep_for(milliseconds{6});
    return loaded{items.read(1)};
  };
  EXPECT_EQ(one.read_by(1, {}, slow), 10);
  items.versions[1] = 11;
  const auto before = wall::milliseconds.load();
  wall::milliseconds += redis.life(item_key(1))->count() - 1;
  // One millisecond before the end, with a load of six or more, five reads of six refresh.
  std::optional<std::int64_t> seen;
  for (int i = 0; i < 100 && seen != 11; ++i) seen = one.read(1);
  wall::milliseconds = before;
  EXPECT_EQ(seen, 11);
  EXPECT_EQ(one.figure_of("soundhash_cache_early_refresh_total"), 1);
}

TEST_F(read_through_test, an_early_refresh_that_fails_leaves_the_hit) {
  process one{redis, items};
  const auto slow = [&] {
    std::this_thread::sleep_for(milliseconds{6});
    return loaded{items.read(1)};
  };
  EXPECT_EQ(one.read_by(1, {}, slow), 10);
  const auto before = wall::milliseconds.load();
  wall::milliseconds += redis.life(item_key(1))->count() - 1;
  int failures = 0;
  for (int i = 0; i < 100 && failures == 0; ++i) {
    EXPECT_EQ(one.read_by(1, {},
                          [&]() -> loaded {
                            ++failures;
                            throw connection_error{"down", {.code = errc::lost}};
                          }),
              10);
  }
  wall::milliseconds = before;
  EXPECT_EQ(failures, 1);
}

// --- many at once --------------------------------------------------------------------------------

struct many {
  explicit many(process& of) : of_{of} {}

  std::vector<std::optional<std::int64_t>> read(const std::vector<int>& ids, fake_items& items) {
    std::vector<std::optional<std::int64_t>> found(ids.size());
    std::vector<decltype(process::sink_of(found[0]))> sinks;
    std::vector<params> values;
    using tags_function = std::function<void(tag_set&)>;
    std::vector<tags_function> tags;
    for (std::size_t i = 0; i < ids.size(); ++i) {
      sinks.push_back(process::sink_of(found[i]));
      values.push_back({ids[i]});
      tags.emplace_back([id = ids[i]](tag_set& into) { into.add_row("items", "id", id); });
    }
    std::vector<cached> how;
    for (auto& each : tags) how.push_back({.ttl = {}, .tags = each});
    std::vector<read_through::request> requests;
    for (std::size_t i = 0; i < ids.size(); ++i) {
      requests.push_back({find_item, values[i], how[i], sinks[i]});
    }
    of_.through->read_many(requests, {}, [&](std::span<const std::size_t> which) {
      missed.assign(which.begin(), which.end());
      std::vector<loaded> all;
      for (const auto i : which) all.emplace_back(items.read(ids[i]));
      return all;
    });
    return found;
  }

  std::vector<std::size_t> missed;

 private:
  process& of_;
};

TEST_F(read_through_test, reads_many_with_one_question_and_loads_only_those_missing) {
  process one{redis, items};
  items.versions = {{1, 10}, {2, 20}, {3, 30}};
  EXPECT_EQ(one.read(2), 20);
  many reads{one};
  const auto calls = one.link->calls.load();
  EXPECT_THAT(reads.read({1, 2, 3, 4}, items), ElementsAre(10, 20, 30, std::nullopt));
  EXPECT_THAT(reads.missed, ElementsAre(0, 2, 3));
  EXPECT_EQ(one.link->calls, calls + 3) << "values and stamps; new stamps; fills";
  reads.missed.clear();
  EXPECT_THAT(reads.read({4, 3, 2, 1}, items), ElementsAre(std::nullopt, 30, 20, 10));
  EXPECT_THAT(reads.missed, IsEmpty());
  EXPECT_EQ(one.link->calls, calls + 4);
}

TEST_F(read_through_test, of_many_only_those_dropped_are_loaded_and_none_while_redis_is_away) {
  process one{redis, items};
  many reads{one};
  EXPECT_THAT(reads.read({1, 2}, items), ElementsAre(10, 20));
  one.write(1, 11);
  EXPECT_THAT(reads.read({1, 2}, items), ElementsAre(11, 20));
  EXPECT_THAT(reads.missed, ElementsAre(0));
  one.link->up = false;
  one.write(2, 21);
  EXPECT_THAT(reads.read({1, 2}, items), ElementsAre(11, 21));
  EXPECT_THAT(reads.missed, ElementsAre(0, 1));
  one.link->up = true;
  EXPECT_THAT(reads.read({1, 2}, items), ElementsAre(11, 21));
  EXPECT_THAT(reads.missed, ElementsAre(1));
}

// --- threads -------------------------------------------------------------------------------------

TEST_F(read_through_test, many_threads_that_ask_for_one_cold_key_load_it_once) {
  process one{redis, items};
  std::atomic<int> loads{0};
  std::atomic<int> waiting{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < 64; ++i) {
    threads.emplace_back([&] {
      ++waiting;
      while (waiting < 64) std::this_thread::yield();
      const auto found = one.read_by(1, {}, [&] {
        ++loads;
        std::this_thread::sleep_for(milliseconds{1});
        return loaded{rows{"version"}.add(std::int64_t{10}).build(find_item.name())};
      });
      EXPECT_EQ(found, 10);
    });
  }
  for (auto& each : threads) each.join();
  EXPECT_EQ(loads, 1);
}

TEST_F(read_through_test, a_write_that_redis_did_not_hear_of_is_seen_beside_a_slow_load) {
  process one{redis, items};
  EXPECT_EQ(one.read(1,
                     [&] {
                       one.link->decide = [](const auto&) { return fate::lost_before; };
                       items.versions[1] = 11;
                       one.through->committed(process::changes(1));
                       one.link->decide = [](const auto&) { return fate::answered; };
                       std::thread{[&] { EXPECT_EQ(one.read(1), 11); }}.join();
                     }),
            10);
  EXPECT_EQ(one.read(1), 11);
}

/// Also when the write names no tag of the value: a service's own SQL may have forgotten one.
TEST_F(read_through_test, nobody_joins_a_load_that_began_before_its_own_write) {
  process one{redis, items};
  const call_options in_time{.until = deadline::in(std::chrono::seconds{20})};
  for (const bool doubtful : {false, true}) {
    redis.evict(item_key(1));
    EXPECT_EQ(one.read(1,
                       [&] {
                         if (doubtful) {
                           one.through->in_doubt(process::changes(2));
                         } else {
                           one.write(2, 21);
                         }
                         std::thread{[&] { EXPECT_EQ(one.read(1, {}, in_time), 10); }}.join();
                       }),
              10);
    EXPECT_EQ(one.figure_of("soundhash_cache_single_flight_joins_total"), 0);
  }
}

TEST_F(read_through_test, a_reader_beside_a_slow_load_joins_it_but_not_after_a_write) {
  process one{redis, items};
  std::optional<std::int64_t> joined;
  std::thread other;
  EXPECT_EQ(one.read(1,
                     [&] {
                       other = std::thread{[&] { joined = one.read(1); }};
                       EXPECT_TRUE(eventually([&] {
                         return one.figure_of("soundhash_cache_single_flight_joins_total") == 1;
                       }));
                       one.write(1, 11);
                       std::thread{[&] { EXPECT_EQ(one.read(1), 11); }}.join();
                     }),
            10);
  other.join();
  EXPECT_EQ(joined, 10);
}

// --- the near cache ------------------------------------------------------------------------------

TEST_F(read_through_test, a_near_hit_asks_nobody) {
  process one{redis, items, {.near_entries = 100}};
  EXPECT_EQ(one.read(1), 10);
  const auto calls = one.link->calls.load();
  EXPECT_EQ(one.read(1), 10);
  EXPECT_EQ(one.link->calls, calls);
  EXPECT_EQ(one.answers("near_hit"), 1);
}

TEST_F(read_through_test, an_own_write_takes_near_values_away_also_those_under_way) {
  process one{redis, items, {.near_entries = 100}};
  EXPECT_EQ(one.read(1), 10);
  one.write(1, 11);
  EXPECT_EQ(one.read(1, [&] { one.write(1, 12); }), 11);
  EXPECT_EQ(one.read(1), 12);
  one.link->up = false;
  one.write(1, 13);
  EXPECT_EQ(one.read(1), 13);
  one.link->up = true;
  one.through->in_doubt(process::changes(1));
  items.versions[1] = 14;
  EXPECT_EQ(one.read(1), 14);
}

TEST_F(read_through_test, clear_takes_near_values_away) {
  process one{redis, items, {.near_entries = 100}};
  EXPECT_EQ(one.read(1), 10);
  items.versions[1] = 11;
  EXPECT_TRUE(one.through->clear());
  EXPECT_EQ(one.read(1), 11);
  items.versions[1] = 12;
  EXPECT_EQ(one.through->clear("item.*", {}), 1U);
  EXPECT_EQ(one.read(1), 12);
}

}  // namespace
}  // namespace soundhash::db
