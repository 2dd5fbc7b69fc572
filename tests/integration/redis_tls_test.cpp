#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <soundhash/db/core/error.hpp>
#include <soundhash/db/database.hpp>

#include "cache/redis_client.hpp"
#include "support/caught.hpp"
#include "support/certificates.hpp"
#include "support/eventually.hpp"
#include "support/figure_of.hpp"
#include "support/private_redis.hpp"
#include "support/tcp_proxy.hpp"
#include "support/test_database.hpp"
#include "testing/temporary_directory.hpp"

/// Redis over TLS, with certificates that the test makes.
namespace soundhash::db::redis {
namespace {

using namespace std::chrono_literals;
using test::caught;
using test::make_certificate;
using test::private_redis;
using ::testing::AllOf;
using ::testing::AnyOf;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

namespace fs = std::filesystem;

/// What a call may take beside its budget on a busy machine.
constexpr auto grace = 3s;

std::string ask(caller& server, const command& said) {
  const auto answers = server.call({&said, 1}, deadline::in(10s));
  return answers && answers->size() == 1 ? answers->front().text : "nothing";
}

/// The files of all tests, which the servers can read too.
struct files {
  testing::temporary_directory folder{"soundhash-db-tls-", testing::user_for_servers()};
  test::certificate server =
      make_certificate(folder.path(), "server", "DNS:localhost,IP:127.0.0.1");
  test::certificate elsewhere = make_certificate(folder.path(), "elsewhere", "DNS:redis.invalid");
  test::certificate expired = test::make_expired_certificate(folder.path(), "expired");
  test::certificate client = make_certificate(folder.path(), "client");
  test::certificate stranger = make_certificate(folder.path(), "stranger");

  [[nodiscard]] fs::path file(const std::string& name, const std::string& content) const {
    auto path = folder.path() / name;
    std::ofstream{path} << content;
    return path;
  }
};

class redis_tls_test : public ::testing::Test {
 protected:
  static void SetUpTestSuite() { files_ = new files; }
  static void TearDownTestSuite() { delete files_; }

  /// What a server with this certificate is told, which knows one client's.
  static std::vector<std::string> arguments(const test::certificate& own,
                                            const std::string& ask_clients = "no") {
    return {"--tls-cert-file",    own.file.string(),    "--tls-key-file",
            own.key.string(),     "--tls-ca-cert-file", files_->client.file.string(),
            "--tls-auth-clients", ask_clients};
  }
  static test::private_redis_options secured(const test::certificate& own,
                                             const std::string& ask_clients = "no") {
    return {.tcp = true, .tls = true, .arguments = arguments(own, ask_clients)};
  }
  static private_redis& server() {
    static private_redis one{secured(files_->server)};
    return one;
  }

  /// To a server at localhost, which has this certificate. Budgets that a busy machine does not use
  /// up.
  static cache_options options(const private_redis& to, const fs::path& root) {
    auto made = to.tcp_options();
    made.host = "localhost";
    made.tls.enabled = true;
    made.tls.ca_file = root.string();
    made.connect_timeout = 10s;
    made.command_timeout = 10s;
    return made;
  }
  static cache_options options() { return options(server(), files_->server.file); }

  static std::unique_ptr<client> connected(const cache_options& options) {
    auto made = std::make_unique<client>(options);
    EXPECT_TRUE(made->wait_until_available(deadline::in(10s))) << made->stats().why;
    return made;
  }
  /// Why it is not connected.
  static std::string refusal(const cache_options& options) {
    const auto refused = session::open(options, deadline::in(10s));
    EXPECT_FALSE(refused.available());
    return refused.failure();
  }

  static inline files* files_ = nullptr;
};

database_options upstream_of(const private_redis& server) {
  database_options where;
  where.host = "127.0.0.1";
  where.port = server.tcp_options().port;
  return where;
}

TEST_F(redis_tls_test, nothing_passes_in_the_clear) {
  private_redis guarded{{.tcp = true,
                         .tls = true,
                         .password = "canary-password",
                         .arguments = arguments(files_->server)}};
  const test::tcp_proxy link{upstream_of(guarded)};
  auto by_link = options(guarded, files_->server.file);
  by_link.port = link.options().port;
  const auto client = connected(by_link);
  EXPECT_EQ(ask(*client, {"SET", "a", "canary-value"}), "OK");
  EXPECT_EQ(ask(*client, {"GET", "a"}), "canary-value");
  EXPECT_EQ(guarded.ask({"GET", "a"}), "canary-value");
  for (const auto way : {test::direction::to_server, test::direction::to_client}) {
    EXPECT_GT(link.recorded(way).size(), 500U);
    EXPECT_THAT(link.recorded(way), Not(HasSubstr("canary")));
  }
}

TEST_F(redis_tls_test, values_around_records_and_slices_travel_both_ways) {
  const auto client = connected(options());
  for (const std::size_t edge : {16'384UL, 65'536UL, 131'072UL}) {
    for (std::size_t size = edge - 60; size < edge + 10; size += 3) {
      const std::string value(size, static_cast<char>('a' + size % 26));
      ASSERT_EQ(ask(*client, {"ECHO", value}), value) << size;
    }
  }
  const std::string large(20'000'000, 'x');
  EXPECT_TRUE(ask(*client, {"ECHO", large}) == large);
  EXPECT_EQ(client->stats().opens, 0U);
}

TEST_F(redis_tls_test, each_of_eight_threads_gets_its_own_answers) {
  auto shared = options();
  shared.connections = 1;
  const auto client = connected(shared);
  constexpr int threads = 8;
  constexpr int calls = 1000;
  std::atomic<int> right = 0;
  std::vector<std::thread> all;
  for (int t = 0; t < threads; ++t) {
    all.emplace_back([&, t] {
      for (int i = 0; i < calls; ++i) {
        const auto own = std::to_string(t) + ":" + std::to_string(i) + std::string(300, '!');
        if (ask(*client, {"ECHO", own}) == own) ++right;
      }
    });
  }
  for (auto& each : all) each.join();
  EXPECT_EQ(right, threads * calls);
  EXPECT_EQ(client->stats().opens, 0U);
}

TEST_F(redis_tls_test, an_address_is_verified_as_an_address) {
  auto by_address = options();
  by_address.host = "127.0.0.1";
  EXPECT_EQ(ask(*connected(by_address), {"PING"}), "PONG");
  private_redis by_name{secured(files_->stranger)};
  by_address = options(by_name, files_->stranger.file);
  by_address.host = "127.0.0.1";
  EXPECT_EQ(refusal(by_address),
            "TLS with 127.0.0.1: certificate verify failed: IP address mismatch");
}

TEST_F(redis_tls_test, an_unknown_authority_is_refused) {
  auto wrong = options();
  wrong.tls.ca_file = files_->stranger.file.string();
  EXPECT_THAT(refusal(wrong), StartsWith("TLS with localhost: certificate verify failed: self"));
  wrong.tls.ca_file.clear();  // the system's
  EXPECT_THAT(refusal(wrong), StartsWith("TLS with localhost: certificate verify failed: self"));
}

TEST_F(redis_tls_test, another_name_is_refused) {
  private_redis other{secured(files_->elsewhere)};
  EXPECT_EQ(refusal(options(other, files_->elsewhere.file)),
            "TLS with localhost: certificate verify failed: hostname mismatch");
}

TEST_F(redis_tls_test, an_expired_certificate_is_refused) {
  private_redis late{secured(files_->expired)};
  EXPECT_EQ(refusal(options(late, files_->expired.file)),
            "TLS with localhost: certificate verify failed: certificate has expired");
}

TEST_F(redis_tls_test, a_client_shows_its_certificate_where_one_is_asked_for) {
  private_redis strict{secured(files_->server, "yes")};
  auto shown = options(strict, files_->server.file);
  EXPECT_THAT(refusal(shown),
              AllOf(StartsWith("TLS with localhost: "), HasSubstr("alert certificate required")));
  shown.tls.certificate = files_->stranger.file.string();
  shown.tls.key = files_->stranger.key.string();
  EXPECT_THAT(refusal(shown),
              AllOf(StartsWith("TLS with localhost: "), HasSubstr("alert unknown ca")));
  shown.tls.certificate = files_->client.file.string();
  shown.tls.key = files_->client.key.string();
  EXPECT_EQ(ask(*connected(shown), {"PING"}), "PONG");
}

TEST_F(redis_tls_test, tls_1_2_will_do) {
  auto wanted = secured(files_->server);
  wanted.arguments.insert(wanted.arguments.end(), {"--tls-protocols", "TLSv1.2"});
  private_redis older{wanted};
  const auto client = connected(options(older, files_->server.file));
  const std::string large(200'000, 'x');
  EXPECT_EQ(ask(*client, {"ECHO", large}), large);
}

/// Redis waits for the end of a line; when the random bytes of the hello have one, it complains.
TEST_F(redis_tls_test, a_server_without_tls_is_found_out) {
  private_redis plain{{.tcp = true}};
  const std::string hint = "perhaps the server does not speak TLS at this port";
  const auto refused = session::open(options(plain, files_->server.file), deadline::in(500ms));
  EXPECT_THAT(refused.failure(), AnyOf("TLS with localhost: no answer in time; " + hint,
                                       "TLS with localhost: wrong version number; " + hint));
}

TEST_F(redis_tls_test, a_server_that_wants_tls_refuses_who_speaks_plainly) {
  auto plain = options();
  plain.tls = {};
  EXPECT_THAT(refusal(plain), HasSubstr("perhaps the server expects TLS"));
}

TEST_F(redis_tls_test, files_that_cannot_be_used_are_refused_when_the_client_is_made) {
  const auto empty = files_->file("empty.pem", "");
  const auto garbage = files_->file("garbage.key", "-----BEGIN PRIVATE KEY-----\nc4n4ry\n");
  const auto encrypted = files_->folder.path() / "encrypted.key";
  ASSERT_EQ(std::system(("openssl pkcs8 -topk8 -passout pass:c4n4ry -in " +
                         files_->client.key.string() + " -out " + encrypted.string())
                            .c_str()),
            0);
  const auto told = [&](const auto& change) {
    auto broken = options();
    broken.tls.certificate = files_->client.file.string();
    broken.tls.key = files_->client.key.string();
    change(broken.tls);
    const auto e = caught<config_error>([&] { client{broken}; });
    EXPECT_THAT(e.what(), Not(HasSubstr("c4n4ry")));
    return std::string{e.variable()} + " " + e.what();
  };
  EXPECT_THAT(told([&](auto& tls) { tls.ca_file = "/nowhere/ca.pem"; }),
              AllOf(StartsWith("SOUNDHASH_DB_REDIS_TLS_CA_FILE "), HasSubstr("/nowhere/ca.pem"),
                    HasSubstr("No such file")));
  EXPECT_THAT(told([&](auto& tls) { tls.ca_file = empty; }),
              AllOf(StartsWith("SOUNDHASH_DB_REDIS_TLS_CA_FILE "), HasSubstr("no certificate")));
  EXPECT_THAT(told([&](auto& tls) { tls.certificate = "/nowhere/client.crt"; }),
              AllOf(StartsWith("SOUNDHASH_DB_REDIS_TLS_CERT_FILE "), HasSubstr("No such file")));
  EXPECT_THAT(told([&](auto& tls) { tls.key = "/nowhere/client.key"; }),
              AllOf(StartsWith("SOUNDHASH_DB_REDIS_TLS_KEY_FILE "), HasSubstr("No such file")));
  EXPECT_THAT(told([&](auto& tls) { tls.key = files_->stranger.key; }),
              AllOf(StartsWith("SOUNDHASH_DB_REDIS_TLS_KEY_FILE "), HasSubstr("mismatch")));
  for (const auto& key : {garbage, encrypted}) {
    EXPECT_THAT(told([&](auto& tls) { tls.key = key; }),
                AllOf(StartsWith("SOUNDHASH_DB_REDIS_TLS_KEY_FILE "), HasSubstr(key.string())));
  }
}

TEST_F(redis_tls_test, each_reconnect_reads_the_files_again) {
  const auto copied = files_->folder.path() / "renewed.crt";
  fs::copy_file(files_->stranger.file, copied);
  client client{options(server(), copied)};
  EXPECT_FALSE(client.available());
  EXPECT_TRUE(test::eventually([&] { return !client.stats().why.empty(); }));
  EXPECT_THAT(client.stats().why, HasSubstr("certificate verify failed"));
  fs::copy_file(files_->server.file, copied, fs::copy_options::overwrite_existing);
  EXPECT_TRUE(client.wait_until_available(deadline::in(20s))) << client.stats().why;
  fs::remove(copied);
  // Gone while it is in use: the reconnect says so.
  server().ask({"CLIENT", "KILL", "TYPE", "normal"});
  EXPECT_EQ(ask(client, {"PING"}), "nothing");
  EXPECT_TRUE(test::eventually([&] {
    return client.stats().why.find("SOUNDHASH_DB_REDIS_TLS_CA_FILE") != std::string::npos;
  })) << client.stats().why;
}

TEST_F(redis_tls_test, a_server_that_says_goodbye_has_closed_the_connection) {
  auto only = session::open(options(), deadline::in(10s));
  ASSERT_TRUE(only.available()) << only.failure();
  server().ask({"CLIENT", "KILL", "TYPE", "normal"});
  EXPECT_FALSE(only.next_push(deadline::in(10s)));
  EXPECT_EQ(only.failure(), "the server closed the connection");
}

TEST_F(redis_tls_test, a_server_that_was_stopped_is_used_once_it_is_back) {
  private_redis mortal{secured(files_->server)};
  const auto client = connected(options(mortal, files_->server.file));
  mortal.stop();
  EXPECT_EQ(ask(*client, {"PING"}), "nothing");
  EXPECT_EQ(client->stats().opens, 1U);
  mortal.start();
  EXPECT_TRUE(client->wait_until_available(deadline::in(20s))) << client->stats().why;
  EXPECT_EQ(ask(*client, {"PING"}), "PONG");
}

TEST_F(redis_tls_test, a_handshake_that_is_cut_is_told) {
  test::tcp_proxy link{upstream_of(server())};
  auto by_link = options();
  by_link.port = link.options().port;
  for (const auto what : {test::effect::fin, test::effect::rst}) {
    link.arm({.what = what, .after = 300});
    EXPECT_THAT(refusal(by_link),
                StartsWith("TLS with localhost: the server hung up during the handshake"));
  }
}

/// A link that falls silent, at the first byte, in the middle of the certificate, or near the end.
TEST_F(redis_tls_test, a_handshake_that_hangs_is_over_by_the_connect_timeout) {
  test::tcp_proxy link{upstream_of(server())};
  auto by_link = options();
  by_link.port = link.options().port;
  by_link.connect_timeout = 500ms;
  int hangs = 0;
  for (const std::size_t passing : {1U, 300U, 600U}) {
    link.arm({.what = test::effect::silence, .after = passing});
    const auto began = deadline::clock::now();
    const auto hung = session::open(by_link, deadline::in(by_link.connect_timeout));
    EXPECT_LT(deadline::clock::now() - began, by_link.connect_timeout + grace);
    EXPECT_EQ(link.struck(), ++hangs) << passing;
    EXPECT_THAT(hung.failure(), HasSubstr("no answer in time")) << passing;
  }
}

TEST_F(redis_tls_test, the_end_of_a_client_does_not_wait_for_a_handshake) {
  test::tcp_proxy link{upstream_of(server())};
  auto by_link = options();
  by_link.port = link.options().port;
  by_link.connect_timeout = 60s;
  link.arm({.what = test::effect::silence, .after = 300});
  auto hanging = std::make_unique<client>(by_link);
  EXPECT_FALSE(hanging->available());
  EXPECT_TRUE(test::eventually([&] { return link.struck() == 1; }));
  const auto began = deadline::clock::now();
  hanging.reset();
  EXPECT_LT(deadline::clock::now() - began, grace);
}

TEST_F(redis_tls_test, a_server_that_is_stopped_costs_one_budget_and_is_used_again) {
  private_redis mortal{secured(files_->server)};
  auto impatient = options(mortal, files_->server.file);
  impatient.connect_timeout = 200ms;
  impatient.command_timeout = 200ms;
  client client{impatient};
  ASSERT_TRUE(client.wait_until_available(deadline::in(10s))) << client.stats().why;
  mortal.pause();
  const auto began = deadline::clock::now();
  EXPECT_EQ(ask(client, {"PING"}), "nothing");
  EXPECT_LT(deadline::clock::now() - began, 200ms + grace);
  EXPECT_TRUE(test::eventually([&] {  // the next handshake hangs too
    return client.stats().why.find("TLS with localhost: no answer in time") != std::string::npos;
  })) << client.stats().why;
  mortal.resume();
  EXPECT_TRUE(client.wait_until_available(deadline::in(20s))) << client.stats().why;
  EXPECT_EQ(ask(client, {"ECHO", "after"}), "after");
}

TEST_F(redis_tls_test, a_link_cut_within_a_record_is_a_miss_and_is_made_again) {
  test::tcp_proxy link{upstream_of(server())};
  auto by_link = options();
  by_link.port = link.options().port;
  by_link.connections = 1;
  server().ask({"SET", "large", std::string(300'000, 'x')});
  const std::vector<std::pair<test::effect, std::string>> faults{
      {test::effect::fin, "connection lost: it ended without the close_notify of TLS"},
      {test::effect::rst, "connection lost: "},
      {test::effect::flip, "bad record mac"}};
  for (const auto& [what, cause] : faults) {
    link.arm({.what = what, .after = 100'000});
    auto only = session::open(by_link, deadline::in(10s));
    ASSERT_TRUE(only.available()) << only.failure();
    EXPECT_EQ(ask(only, {"GET", "large"}), "nothing");
    EXPECT_THAT(only.failure(), HasSubstr(cause));
  }
  EXPECT_EQ(link.struck(), 3);

  link.arm({.what = test::effect::fin, .after = 100'000});
  const auto client = connected(by_link);
  EXPECT_EQ(ask(*client, {"GET", "large"}), "nothing");
  EXPECT_EQ(client->stats().opens, 1U);
  EXPECT_TRUE(client->wait_until_available(deadline::in(20s))) << client->stats().why;
  EXPECT_EQ(ask(*client, {"GET", "large"}).size(), 300'000U);
}

TEST_F(redis_tls_test, sentinels_speak_tls_too) {
  auto wanted = secured(files_->server);
  wanted.sentinel_of = server().tcp_options().port;
  wanted.password = "of-sentinel";
  wanted.arguments.insert(wanted.arguments.end(), {"--tls-replication", "yes"});
  wanted.arguments[5] = files_->server.file.string();  // whom it trusts: the master
  const private_redis sentinel{wanted};
  auto by_sentinel = options();
  by_sentinel.host = "nowhere.invalid";
  by_sentinel.sentinels = {{"localhost", sentinel.tcp_options().port}};
  by_sentinel.sentinel_password = secret{"of-sentinel"};
  EXPECT_EQ(ask(*connected(by_sentinel), {"PING"}), "PONG");
  by_sentinel.tls.ca_file = files_->stranger.file.string();
  EXPECT_THAT(refusal(by_sentinel), HasSubstr("TLS with localhost: certificate verify failed"));
}

TEST_F(redis_tls_test, a_database_caches_near_and_far_and_clears) {
  auto wanted = test::fresh_database_options();
  wanted.cache = options();
  wanted.cache.near_cache.entries = 100;
  auto db = database::open(wanted);
  auto other = database::open(wanted);
  for (auto* each : {&db, &other}) {
    each->warm_up();
    EXPECT_TRUE(test::eventually([&] {
      return test::cache_is_well(*each) &&
             test::figure_of(*each, "soundhash_cache_near_trusted") == 1;
    }));
  }
  const auto made = db.channels().create({.channel_id = "UC", .channel_name = "before"});
  EXPECT_EQ(other.channels().find(made.id).value().channel_name, "before");
  EXPECT_TRUE(test::eventually([&] {
    (void)other.channels().find(made.id);
    return test::cache_hits(other) > 0;
  }));
  db.channels().update(made.id, {.channel_name = "after"});
  EXPECT_TRUE(test::eventually(
      [&] { return other.channels().find(made.id).value().channel_name == "after"; }));
  db.cache().set("greeting", "hello", 30s);
  EXPECT_EQ(other.cache().get("greeting"), "hello");
  db.cache().clear("greet*");
  EXPECT_TRUE(test::eventually([&] { return !other.cache().get("greeting"); }));
}

TEST_F(redis_tls_test, without_trust_results_are_the_databases) {
  auto wanted = test::fresh_database_options();
  wanted.cache = options();
  wanted.cache.tls.ca_file = files_->stranger.file.string();
  auto db = database::open(wanted);
  const auto made = db.channels().create({.channel_id = "UC", .channel_name = "before"});
  EXPECT_EQ(db.channels().find(made.id).value().channel_name, "before");
  db.channels().update(made.id, {.channel_name = "after"});
  EXPECT_EQ(db.channels().find(made.id).value().channel_name, "after");
  EXPECT_EQ(test::figure_of(db, "soundhash_cache_breaker_open"), 1);
  wanted.cache.tls.ca_file = "/nowhere/ca.pem";
  EXPECT_EQ(caught<config_error>([&] { static_cast<void>(database::open(wanted)); }).variable(),
            "SOUNDHASH_DB_REDIS_TLS_CA_FILE");
}

}  // namespace
}  // namespace soundhash::db::redis
