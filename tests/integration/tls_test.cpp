#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <soundhash/db/core/error.hpp>
#include <soundhash/db/testing/private_postgres.hpp>

#include "conninfo_from_options.hpp"
#include "support/caught.hpp"
#include "support/certificates.hpp"
#include "support/eventually.hpp"
#include "support/sql.hpp"
#include "support/tcp_proxy.hpp"
#include "support/test_database.hpp"

/// Sessions over TLS, with certificates that the test makes.
namespace soundhash::db {
namespace {

using namespace std::chrono_literals;
using test::caught;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

namespace fs = std::filesystem;

class tls_test : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    server_ = new testing::private_postgres{{.tcp = true}};
    const fs::path data = fs::path{server_->options().host} / "data";
    const auto own = test::make_certificate(data, "server");
    root_ = own.file;
    other_root_ = test::make_certificate(data, "other").file;
    struct stat owner {};
    ASSERT_EQ(::stat(data.c_str(), &owner), 0);
    for (const auto& file : {own.file, own.key}) {
      ASSERT_EQ(::chown(file.c_str(), owner.st_uid, owner.st_gid), 0);
      ASSERT_EQ(::chmod(file.c_str(), S_IRUSR | S_IWUSR), 0);
    }
    test::execute(server_->options(), "ALTER SYSTEM SET ssl = on");
    test::execute(server_->options(), "SELECT pg_reload_conf()");
    ASSERT_TRUE(test::eventually([] {
      return test::query_text(server_->options(), "SELECT current_setting('ssl')") == "on\n";
    }));
  }
  static void TearDownTestSuite() { delete server_; }

  static database_options options(const std::string& sslmode, const fs::path& root = {},
                                  const std::string& host = "localhost") {
    auto by_tls = server_->tcp_options();
    by_tls.host = host;
    by_tls.parameters["sslmode"] = sslmode;
    if (!root.empty()) by_tls.parameters["sslrootcert"] = root.string();
    return by_tls;
  }

  static connection_error failure_of(const database_options& unable) {
    return caught<connection_error>(
        [&] { driver::connection::open(session_conninfo(unable), deadline::in(30s)); });
  }

  /// All cells of a query, of a session that the server confirms to be encrypted or not.
  static std::vector<std::string> cells(driver::connection& on, const std::string& sql) {
    const auto rows =
        on.run({.name = {}, .sql = sql, .access = access::read_only, .until = deadline::in(60s)});
    std::vector<std::string> all;
    for (std::size_t r = 0; r < rows.size(); ++r) all.push_back(rows[r][0].as<std::string>());
    return all;
  }
  static bool encrypted(driver::connection& session) {
    return test::query_text(session,
                            "SELECT ssl::text FROM pg_stat_ssl WHERE pid = pg_backend_pid()") ==
           "true\n";
  }

  static inline testing::private_postgres* server_ = nullptr;
  static inline fs::path root_;
  static inline fs::path other_root_;
};

// What OpenSSL has decrypted poll() does not see: results around its record size of 16 KiB, of many
// records and of many rows must come to their end.
TEST_F(tls_test, results_of_every_size_arrive) {
  const auto secret_session = test::connect(options("require"));
  const auto plain = test::connect(server_->options());
  ASSERT_TRUE(encrypted(*secret_session));
  ASSERT_FALSE(encrypted(*plain));
  for (const std::string sql : {
           "SELECT repeat('x', n) FROM generate_series(16000, 16700, 7) AS n",
           "SELECT repeat(md5(n::text), n) FROM generate_series(1, 700) AS n",
           "SELECT md5(n::text) FROM generate_series(1, 100000) AS n",
           "SELECT repeat(md5(n::text), 250000) FROM generate_series(1, 4) AS n",
       }) {
    EXPECT_TRUE(cells(*secret_session, sql) == cells(*plain, sql)) << sql;
  }
  for (int length = 8'000; length < 8'400; ++length) {
    const auto got = cells(*secret_session, "SELECT repeat('y', " + std::to_string(length) + ")");
    ASSERT_EQ(got.at(0).size(), static_cast<std::size_t>(length));
  }
}

TEST_F(tls_test, values_larger_than_any_buffer_travel_both_ways) {
  const auto session = test::connect(options("require"));
  const params values{std::string(8'000'000, 'x')};
  const auto rows = session->run(
      {.name = {}, .sql = "SELECT $1::text || $1::text", .values = &values, .until = {}});
  EXPECT_EQ(rows[0][0].bytes().size(), 16'000'000U);
}

TEST_F(tls_test, a_deadline_ends_a_statement) {
  const auto session = test::connect(options("require"));
  const auto e = caught<timeout_error>([&] {
    session->run({.name = {}, .sql = "SELECT pg_sleep(60)", .until = deadline::in(200ms)});
  });
  EXPECT_EQ(e.code(), errc::statement_deadline);
  EXPECT_TRUE(session->usable());
}

TEST_F(tls_test, a_session_can_be_cut) {
  const auto session = test::connect(options("require"));
  session->cut();
  EXPECT_FALSE(session->ping(deadline::in(30s)));
}

TEST_F(tls_test, the_right_root_verifies_the_server) {
  EXPECT_TRUE(encrypted(*test::connect(options("verify-full", root_))));
}

TEST_F(tls_test, another_root_refuses_the_server) {
  const auto e = failure_of(options("verify-full", other_root_));
  EXPECT_EQ(e.code(), errc::tls);
  EXPECT_FALSE(e.retryable());
  EXPECT_THAT(e.what(), AllOf(HasSubstr("certificate"), HasSubstr("sslmode")));
}

TEST_F(tls_test, another_name_refuses_the_server) {
  EXPECT_EQ(failure_of(options("verify-full", root_, "127.0.0.1")).code(), errc::tls);
  EXPECT_TRUE(encrypted(*test::connect(options("verify-ca", root_, "127.0.0.1"))));
}

TEST_F(tls_test, a_root_that_is_not_there_is_told) {
  const auto e = failure_of(options("verify-full", root_.string() + ".missing"));
  EXPECT_EQ(e.code(), errc::tls);
  EXPECT_THAT(e.what(), HasSubstr("missing"));
}

TEST_F(tls_test, a_server_without_tls_is_refused_before_the_password_is_sent) {
  const test::tcp_proxy plain{server_->options()};  // a Unix socket has no TLS
  auto required = plain.options();
  required.parameters["sslmode"] = "require";
  required.password = secret{"canary"};
  const auto e = failure_of(required);
  EXPECT_EQ(e.code(), errc::tls);
  EXPECT_EQ(e.sent(), sent::no);
  EXPECT_THAT(e.what(), AllOf(HasSubstr("SSL"), Not(HasSubstr("canary"))));
}

}  // namespace
}  // namespace soundhash::db
