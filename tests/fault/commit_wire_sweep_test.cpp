#include <algorithm>
#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <functional>
#include <future>
#include <iostream>
#include <memory>
#include <mutex>
#include <optional>
#include <pqxx/pqxx>
#include <random>
#include <string>
#include <string_view>
#include <thread>
#include <tuple>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <soundhash/db/core/error.hpp>
#include <soundhash/db/database.hpp>
#include <soundhash/db/testing/private_postgres.hpp>

#include "support/caught.hpp"
#include "support/eventually.hpp"
#include "support/sql.hpp"
#include "support/tcp_proxy.hpp"
#include "support/test_database.hpp"

/// The link ends at every byte of COMMIT and of its answer, and of a write outside a transaction.
/// What the library says of each row is compared with what a session beside the link finds.
namespace soundhash::db {
namespace {

using namespace std::chrono_literals;
using test::caught;
using test::direction;
using test::effect;
using test::link_fault;
using ::testing::AllOf;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr query insert{"sweep.insert", "INSERT INTO ids (id) VALUES ($1)"};
constexpr query read{"sweep.read", "SELECT 1", access::read_only};
constexpr query divide{"sweep.divide", "SELECT 1 / $1::int", access::read_only};
constexpr query count_all{"sweep.count", "SELECT count(*) FROM ids", access::read_only};
constexpr query insert_and_wait{
    "sweep.wait",
    "INSERT INTO ids SELECT $1::int FROM set_config('synchronous_commit', 'on', true)"};

const std::string commit_message{
    "Q\0\0\0\x0b"
    "COMMIT\0",
    12};
constexpr std::string_view commit_tag{
    "C\0\0\0\x0b"
    "COMMIT\0",
    12};

/// A link that falls silent, or lost the thread, is given up after this time; one that ends tells
/// so at once.
constexpr auto silence_limit = 500ms;
constexpr auto ending_limit = 9s;
/// The library promises 250 ms; the machine of a test may be busy.
constexpr auto tolerance = 2s;

const std::string ready{"Z\0\0\0\x05I", 6};

enum class verdict : std::uint8_t { stored, not_stored, in_doubt };

struct outcome {
  verdict said{};
  std::optional<commit_in_doubt> doubt{};
  std::string message{};
  std::chrono::nanoseconds excess{};  ///< over the deadline
};

/// Does one write with this id, by this deadline.
using write = void (*)(database&, int id, deadline until);

void write_in_transaction(database& db, int id, deadline until) {
  db.with_transaction({.until = until, .track_outcome = true},
                      [&](transaction& tx) { tx.execute(insert, {id}); });
}

/// The connection has not prepared the statement: two round trips, and the first changes nothing.
void write_alone(database& db, int id, deadline until) {
  db.execute(insert, {id}, {.until = until, .stop = {}});
}

void write_and_wait_in_transaction(database& db, int id, deadline until) {
  db.with_transaction({.until = until, .track_outcome = true},
                      [&](transaction& tx) { tx.execute(insert_and_wait, {id}); });
}

void write_and_wait(database& db, int id, deadline until) {
  db.execute(insert_and_wait, {id}, {.until = until, .stop = {}});
}

outcome verdict_of(write run, database& db, int id, std::chrono::milliseconds limit) {
  const auto until = deadline::in(limit);
  outcome seen;
  try {
    run(db, id, until);
  } catch (const commit_in_doubt& e) {
    seen = {verdict::in_doubt, e, e.what()};
  } catch (const error& e) {
    seen = {verdict::not_stored, {}, e.what()};
  }
  seen.excess = deadline::clock::now() - until.at();
  return seen;
}

/// Where and how one link ends or lies.
struct position {
  direction on;
  std::size_t after;
  effect what;
  unsigned bit = 0;
};

std::ostream& operator<<(std::ostream& out, const position& at) {
  constexpr const char* names[] = {"FIN", "RST", "silence", "flipped bit"};
  return out << names[static_cast<int>(at.what)] << " " << at.bit << " after byte " << at.after
             << (at.on == direction::to_server ? " of the request" : " of the answer");
}

/// A link of its own to a database, and the truth beside it.
class observed_link {
 public:
  observed_link(database_options options, const std::string& name)
      : observer_{test::connect(options)}, proxy_{options}, name_{name} {
    auto linked = proxy_.options();
    linked.application_name = name;
    linked.pool.size = 2;
    linked.pool.max_overflow = 0;
    linked.pool.recent_use = 0ms;  // dead ones of the run before are noticed
    db_ = std::make_unique<database>(database::open(linked));
  }

  database& db() { return *db_; }
  test::tcp_proxy& proxy() { return proxy_; }

  /// A session that has prepared nothing but `read`, and no other traffic. What the run before cut
  /// may have been a connect of the pool, which then counts as an outage for a moment.
  void make_ready() {
    EXPECT_TRUE(test::eventually([&] { return reads(); })) << "the pool does not recover";
  }

  /// True when the row is there after all sessions of this link are gone.
  bool finds(int id) {
    wait_for_sessions_to_end();
    const params values{id};
    return !ask("observer.row", "SELECT id FROM ids WHERE id = $1", values).empty();
  }

 private:
  bool reads() {
    try {
      static_cast<void>(db_->one<std::int32_t>(read));
      return true;
    } catch (const connection_error&) {
      return false;
    }
  }

  /// Looking at processes is cheap, asking the server is not.
  void wait_for_sessions_to_end() {
    const params values{name_};
    EXPECT_TRUE(test::eventually([&] {
      proxy_.cut();
      const auto left = ask("observer.sessions",
                            "SELECT pid FROM pg_stat_activity WHERE application_name = $1", values);
      for (std::size_t i = 0; i < left.size(); ++i) {
        const auto pid = left[i][0].as<std::int32_t>();
        EXPECT_TRUE(test::eventually([&] { return ::kill(pid, 0) != 0; })) << "session " << pid;
      }
      return left.empty();
    })) << "sessions of "
        << name_ << " stay";
  }

  result ask(std::string_view name, std::string_view sql, const params& values) {
    return observer_->run(
        {.name = name, .sql = sql, .values = &values, .until = deadline::in(30s)});
  }

  std::unique_ptr<driver::connection> observer_;
  test::tcp_proxy proxy_;
  std::string name_;
  std::unique_ptr<database> db_;
};

/// By which the exchange of a run may be shorter than the recorded one, on either side.
constexpr int most_digits = 16;

struct tally {
  int runs = 0;
  int missed = 0;     ///< the deadline came before the fault, or the fault was behind the end
  int passed_by = 0;  ///< the latter, at the end
  int stored = 0;
  int not_stored = 0;
  int in_doubt = 0;
  int resolved = 0;
  int unknown = 0;
  std::chrono::nanoseconds excess = std::chrono::nanoseconds::min();
};

std::chrono::milliseconds limit_for(effect what) {
  const bool ends = what == effect::fin || what == effect::rst;
  return ends ? std::chrono::milliseconds{ending_limit} : silence_limit;
}

/// What is sent and answered when nothing fails.
struct exchange {
  std::string request;
  std::string answer;
  /// What only prepares the statement. A cut in there costs two connections and stores nothing or
  /// is tried again, so a short run has each byte once, with one of the ends.
  std::size_t prepared_request = 0;
  std::size_t prepared_answer = 0;
};

/// All combinations, again and again, instead of each once.
bool full() {
  return std::getenv("SOUNDHASH_TEST_FULL") != nullptr;
}

class commit_wire_sweep : public ::testing::Test {
 protected:
  commit_wire_sweep() { test::execute(options_, "CREATE TABLE ids (id int PRIMARY KEY)"); }

  int next_id() { return ++id_; }

  /// As two runs have it: what is left of a deadline stands in it, and may have a digit more or
  /// less where one of them had to wait.
  exchange recorded(write run, std::chrono::milliseconds limit) {
    for (auto first = recorded_once(run, limit);;) {
      auto second = recorded_once(run, limit);
      const auto sizes = [](const exchange& of) {
        return std::pair{of.request.size(), of.answer.size()};
      };
      if (sizes(first) == sizes(second)) return second;
      first = std::move(second);
    }
  }

  exchange recorded_once(write run, std::chrono::milliseconds limit) {
    observed_link link{options_, "recording"};
    link.make_ready();
    link.proxy().record_anew();
    const int id = next_id();
    EXPECT_EQ(verdict_of(run, link.db(), id, limit).said, verdict::stored);
    exchange all{link.proxy().recorded(direction::to_server),
                 link.proxy().recorded(direction::to_client)};
    EXPECT_TRUE(link.finds(id));
    return all;
  }

  static void add_positions(const exchange& bytes, effect what, std::vector<position>& to) {
    const auto add = [&](direction on, std::size_t size, std::size_t every_from) {
      for (std::size_t k = 0; k <= size; ++k) {
        const bool thinned_out = !full() && k < every_from && k % 3 != static_cast<unsigned>(what);
        if (!thinned_out) to.push_back({on, k, what});
      }
    };
    add(direction::to_server, bytes.request.size(), bytes.prepared_request);
    add(direction::to_client, bytes.answer.size(), bytes.prepared_answer);
  }

  /// How near a run came to its position.
  enum class reach : std::uint8_t {
    struck,
    passed_by,  ///< all was sent and answered in fewer bytes: a timeout has a digit less
    too_slow,   ///< the deadline came before the fault
  };

  reach run_once(observed_link& link, write run, const std::string& trigger, const position& at,
                 std::chrono::milliseconds limit) {
    link.make_ready();
    const int id = next_id();
    const auto before = link.proxy().struck();
    link.proxy().arm(
        {.what = at.what, .on = at.on, .after = at.after, .trigger = trigger, .bit = at.bit});
    const auto seen = verdict_of(run, link.db(), id, limit);
    const bool struck = link.proxy().struck() != before;
    const auto answers = resolve(link, seen, at.what);
    const bool found = link.finds(id);

    const std::lock_guard lock{mutex_};
    count(seen, answers, struck);
    EXPECT_TRUE(seen.said == verdict::in_doubt || found == (seen.said == verdict::stored))
        << "a false verdict at " << at << ", row " << (found ? "present" : "absent") << "; "
        << seen.message;
    for (const auto answer : answers) {
      EXPECT_TRUE(answer == commit_outcome::unknown ||
                  found == (answer == commit_outcome::committed))
          << "a false answer of resolve() at " << at;
    }
    EXPECT_LE(seen.excess, tolerance) << at;
    if (struck) expect_row(at, found, seen);
    if (struck) return reach::struck;
    return seen.said == verdict::stored ? reach::passed_by : reach::too_slow;
  }

  /// What must be so wherever the bytes were cut; another test may know more.
  virtual void expect_row(const position&, bool, const outcome&) {}

  /// Asks while the link is silent, when "unknown" is all one may hope for, and after it healed.
  static std::vector<commit_outcome> resolve(observed_link& link, const outcome& seen,
                                             effect what) {
    std::vector<commit_outcome> answers;
    if (!seen.doubt) return answers;
    if (what == effect::silence) {
      answers.push_back(seen.doubt->resolve(200ms));
      link.proxy().cut();
    }
    answers.push_back(seen.doubt->resolve(5s));
    return answers;
  }

  void count(const outcome& seen, const std::vector<commit_outcome>& answers, bool struck) {
    ++tally_.runs;
    if (!struck) ++tally_.missed;
    if (seen.said == verdict::stored) ++tally_.stored;
    if (seen.said == verdict::not_stored) ++tally_.not_stored;
    if (seen.said == verdict::in_doubt) ++tally_.in_doubt;
    if (!answers.empty())
      ++(answers.back() == commit_outcome::unknown ? tally_.unknown : tally_.resolved);
    tally_.excess = std::max(tally_.excess, seen.excess);
  }

  /// All positions, in a random order, on several links, so that the silences overlap.
  void sweep(write run, const std::string& trigger, std::vector<position> all) {
    constexpr unsigned seed = 20'240'601;
    std::shuffle(all.begin(), all.end(), std::mt19937{seed});
    std::atomic<std::size_t> next{0};
    std::vector<position> never_struck;
    {
      std::vector<std::jthread> workers;
      for (int w = 0; w < 12; ++w) {
        workers.emplace_back([&, w] {
          observed_link link{options_, "sweep " + std::to_string(w)};
          for (auto i = next++; i < all.size(); i = next++) {
            // On a busy machine the deadline can come first; that run counts, the position stays
            // and is given more time.
            auto came = reach::too_slow;
            for (int tries = 1; tries < 10 && came == reach::too_slow; ++tries) {
              came = run_once(link, run, trigger, all[i], tries * limit_for(all[i].what));
            }
            const std::lock_guard lock{mutex_};
            if (came == reach::too_slow) never_struck.push_back(all[i]);
            if (came == reach::passed_by) ++tally_.passed_by;
          }
        });
      }
    }
    EXPECT_THAT(never_struck, IsEmpty()) << "positions that no run reached";
    EXPECT_LE(tally_.passed_by, most_digits) << "positions behind the last byte";
    report(all.size());
  }

  void report(std::size_t positions) {
    const auto excess = std::chrono::duration_cast<std::chrono::milliseconds>(tally_.excess);
    std::cout << "[ SWEEP    ] " << positions << " positions, " << tally_.runs << " runs ("
              << tally_.missed << " too slow for their fault): " << tally_.stored << " stored, "
              << tally_.not_stored << " not stored, " << tally_.in_doubt << " in doubt, of which "
              << tally_.resolved << " resolved and " << tally_.unknown << " unknown; latest return "
              << excess.count() << " ms after its deadline\n";
  }

  database_options options_ = test::empty_database_options();
  std::atomic<int> id_{1'000'000};  // of one width, so that all requests are equally long
  std::mutex mutex_;
  tally tally_;
};

/// All bits of all bytes from `from` on; in a short run one of each byte.
void add_flips(direction on, std::size_t from, std::size_t size, std::vector<position>& to) {
  for (std::size_t k = from; k < size; ++k) {
    for (unsigned bit = 0; bit < 8; ++bit) {
      if (full() || bit == 5 * k % 8) to.push_back({on, k, effect::flip, bit});
    }
  }
}

class around_commit : public commit_wire_sweep {
 protected:
  void expect_row(const position& at, bool found, const outcome& seen) override {
    if (at.what == effect::flip) return;  // other commands and other answers, each with its truth
    const bool arrived = at.on == direction::to_client || at.after == commit_message.size();
    EXPECT_EQ(found, arrived) << at;
    EXPECT_NE(seen.said, verdict::not_stored) << "COMMIT was under way at " << at;
    const bool answered = at.on == direction::to_client && at.after == answer_size_;
    if (answered && at.what == effect::rst) return;  // it may take back what was not read
    EXPECT_EQ(seen.said, answered ? verdict::stored : verdict::in_doubt) << at;
  }
  /// What the sweep is about, from a run without a fault.
  exchange commit_exchange() {
    const auto all = recorded(write_in_transaction, ending_limit);
    const auto answer_from = all.answer.rfind(commit_tag);
    EXPECT_THAT(all.request, EndsWith(commit_message));
    EXPECT_NE(answer_from, std::string::npos);
    exchange commit{commit_message, all.answer.substr(answer_from)};
    EXPECT_EQ(commit.answer, std::string{commit_tag} + ready);
    answer_size_ = commit.answer.size();
    return commit;
  }

  std::size_t answer_size_ = 0;
};

TEST_F(around_commit, every_byte) {
  const auto commit = commit_exchange();
  std::vector<position> positions;
  for (int round = 0; round < (full() ? 10 : 1); ++round) {
    for (const auto what : {effect::fin, effect::rst, effect::silence}) {
      add_positions(commit, what, positions);
    }
  }
  sweep(write_in_transaction, commit_message, positions);
  EXPECT_GT(tally_.stored, 0);
  EXPECT_GE(tally_.resolved, tally_.in_doubt * 9 / 10);
}

TEST_F(around_commit, a_flipped_bit_makes_no_false_verdict) {
  const auto commit = commit_exchange();
  std::vector<position> positions;
  add_flips(direction::to_server, 0, commit.request.size(), positions);
  add_flips(direction::to_client, 0, commit.answer.size(), positions);
  // The bits by which the tag becomes another message: the start of a COPY, a setting, a notice of
  // somebody, or the greeting of a backend.
  for (const unsigned bit : {1U, 2U, 3U, 4U}) {
    positions.push_back({direction::to_client, 0, effect::flip, bit});
  }
  sweep(write_in_transaction, commit_message, positions);
}

using autocommit = commit_wire_sweep;

TEST_F(autocommit, every_byte) {
  std::vector<position> positions;
  std::string trigger;
  for (const auto what : {effect::fin, effect::rst, effect::silence}) {
    auto all = recorded(write_alone, limit_for(what));
    trigger = all.request.substr(0, 24);
    all.prepared_request = all.request.find(trigger, 1);
    all.prepared_answer = all.answer.find(ready) + ready.size();
    ASSERT_THAT(all.request.substr(0, all.prepared_request), HasSubstr(insert.sql()));
    ASSERT_THAT(all.request.substr(all.prepared_request), HasSubstr(insert.name()));
    ASSERT_THAT(all.answer.substr(all.prepared_answer),
                AllOf(HasSubstr("INSERT 0 1"), EndsWith(ready)));
    add_positions(all, what, positions);
  }
  sweep(write_alone, trigger, positions);
  EXPECT_GT(tally_.stored, 0);
  EXPECT_GT(tally_.not_stored, 0);
  EXPECT_GT(tally_.in_doubt, 0);
  EXPECT_EQ(tally_.resolved, 0) << "nobody knows the transaction of such a write";
}

TEST_F(autocommit, a_flipped_bit_in_the_answer_makes_no_false_verdict) {
  const auto all = recorded(write_alone, silence_limit);
  std::vector<position> positions;
  add_flips(direction::to_client, all.answer.find(ready) + ready.size(), all.answer.size(),
            positions);
  sweep(write_alone, all.request.substr(0, 24), positions);
}

// The server itself ends COMMIT another way

class commit_of_the_server : public ::testing::Test {
 protected:
  commit_of_the_server() { test::execute(options_, "CREATE TABLE ids (id int PRIMARY KEY)"); }

  bool finds(int id) {
    return test::query_text(options_, "SELECT count(*)::text FROM ids WHERE id = " +
                                          std::to_string(id)) == "1\n";
  }

  database_options options_ = test::empty_database_options();
  database db_ = database::open(options_);
};

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"  // libpqxx 7 has another name for it

/// libpqxx says that a row is stored, and the oracle of this file sees that it is not.
TEST_F(commit_of_the_server, libpqxx_loses_a_row_silently_where_we_throw) {
  pqxx::connection session{"host='" + options_.host + "' port=" + std::to_string(options_.port) +
                           " dbname=" + options_.name + " user=" + options_.user};
  pqxx::work work{session};
  work.exec_params("INSERT INTO ids (id) VALUES ($1)", 1);
  EXPECT_THROW(work.exec_params("SELECT 1 / $1::int", 0), pqxx::sql_error);
  EXPECT_NO_THROW(work.commit());
  EXPECT_FALSE(finds(1));

  auto tx = db_.begin();
  tx.execute(insert, {2});
  EXPECT_THROW(tx.execute(divide, {0}), query_error);
  EXPECT_EQ(caught<transaction_error>([&] { tx.commit(); }).code(), errc::rolled_back);
  EXPECT_FALSE(finds(2));
}

#pragma GCC diagnostic pop

TEST_F(commit_of_the_server, a_serialization_failure_at_commit_is_a_rollback) {
  const transaction_options serializable{.isolation = isolation::serializable};
  auto first = db_.begin(serializable);
  auto second = db_.begin(serializable);
  for (auto* tx : {&first, &second}) EXPECT_EQ(tx->one<std::int64_t>(count_all), 0);
  first.execute(insert, {1});
  second.execute(insert, {2});
  first.commit();
  const auto e = caught<transaction_error>([&] { second.commit(); });
  EXPECT_EQ(e.code(), errc::serialization);
  EXPECT_EQ(e.sqlstate(), "40001");
  EXPECT_TRUE(e.connection_usable());
  EXPECT_TRUE(finds(1));
  EXPECT_FALSE(finds(2));
}

TEST_F(commit_of_the_server, a_foreign_key_that_fails_at_commit_is_a_rollback) {
  test::execute(options_,
                "ALTER TABLE ids ADD COLUMN parent int DEFAULT 0, ADD CONSTRAINT known_parent "
                "FOREIGN KEY (parent) REFERENCES ids DEFERRABLE INITIALLY DEFERRED");
  auto tx = db_.begin();
  tx.execute(insert, {1});
  const auto e = caught<constraint_violation>([&] { tx.commit(); });
  EXPECT_EQ(e.kind(), constraint_kind::foreign_key);
  EXPECT_EQ(e.constraint(), "known_parent");
  EXPECT_FALSE(finds(1));
}

/// The commit record is on disk, but the answer waits for a standby that never comes: the moment
/// in which the server stops existing for the client, and yet has stored the row.
class between_flush_and_answer : public ::testing::TestWithParam<write> {
 protected:
  between_flush_and_answer() {
    test::execute(options_, "DROP TABLE IF EXISTS ids; CREATE TABLE ids (id int PRIMARY KEY)");
    static_cast<void>(db_.one<std::int32_t>(read));
  }

  static testing::private_postgres& server() {
    static testing::private_postgres started{
        {.settings = {{"synchronous_standby_names", "nobody"}, {"synchronous_commit", "local"}}}};
    return started;
  }

  /// Starts a write and does `act` to its session when it waits for the standby.
  outcome disturbed(int id, const std::function<void(const std::string& pid)>& act) {
    auto writing = std::async(std::launch::async,
                              [&] { return verdict_of(GetParam(), db_, id, ending_limit); });
    std::string pid;
    EXPECT_TRUE(test::eventually([&] {
      pid = test::query_text(options_,
                             "SELECT pid::text FROM pg_stat_activity WHERE wait_event = 'SyncRep'");
      return !pid.empty();
    }));
    act(pid);
    return writing.get();
  }

  bool finds(int id) {
    std::string count;
    EXPECT_TRUE(test::eventually([&] {
      try {
        count = test::query_text(options_,
                                 "SELECT count(*)::text FROM ids WHERE id = " + std::to_string(id));
      } catch (const connection_error&) {
      } catch (const commit_in_doubt&) {  // the server ended while it was asked
      }
      return !count.empty();
    })) << "the server did not come back";
    return count == "1\n";
  }

  /// The row is hidden until the server has noticed that its session ended: a new session may come
  /// before that.
  void expect_row(int id) {
    EXPECT_TRUE(test::eventually([&] { return finds(id); }));
  }

  void expect_committed_in_doubt(const outcome& seen, int id) {
    EXPECT_EQ(seen.said, verdict::in_doubt) << seen.message;
    expect_row(id);
    const bool tracked = GetParam() == write_and_wait_in_transaction;
    ASSERT_TRUE(seen.doubt);
    EXPECT_EQ(seen.doubt->resolve(10s),
              tracked ? commit_outcome::committed : commit_outcome::unknown);
  }

  database_options options_ = server().options();
  database db_ = database::open(options_);
};

INSTANTIATE_TEST_SUITE_P(fault, between_flush_and_answer,
                         ::testing::Values(write_and_wait_in_transaction, write_and_wait),
                         [](const auto& tested) {
                           return tested.param == write_and_wait ? "alone" : "transaction";
                         });

TEST_P(between_flush_and_answer, a_killed_backend_leaves_a_doubt_that_resolves_to_committed) {
  const auto seen = disturbed(1, [](const std::string& pid) { ::kill(std::stoi(pid), SIGKILL); });
  expect_committed_in_doubt(seen, 1);
}

TEST_P(between_flush_and_answer, a_terminated_backend_leaves_a_doubt_that_resolves_to_committed) {
  const auto seen = disturbed(1, [&](const std::string& pid) {
    test::execute(options_, "SELECT pg_terminate_backend(" + pid + ")");
  });
  expect_committed_in_doubt(seen, 1);
}

TEST_P(between_flush_and_answer, a_cancelled_wait_is_a_commit) {
  const auto seen = disturbed(1, [&](const std::string& pid) {
    test::execute(options_, "SELECT pg_cancel_backend(" + pid + ")");
  });
  EXPECT_EQ(seen.said, verdict::stored) << seen.message;
  EXPECT_TRUE(finds(1));
}

TEST_P(between_flush_and_answer, a_deadline_in_the_wait_leaves_a_doubt) {
  const auto seen = verdict_of(GetParam(), db_, 1, silence_limit);
  EXPECT_LE(seen.excess, tolerance);
  ASSERT_TRUE(seen.doubt) << seen.message;
  EXPECT_EQ(seen.doubt->resolve(1s), commit_outcome::unknown) << "nobody sees the row yet";
  test::execute(options_,
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE wait_event = 'SyncRep'");
  expect_committed_in_doubt(seen, 1);
}

}  // namespace
}  // namespace soundhash::db
