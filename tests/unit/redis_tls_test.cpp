#include "cache/redis_tls.hpp"

#include <array>
#include <chrono>
#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <thread>

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <openssl/bio.h>
#include <openssl/ssl.h>
#include <sys/socket.h>

#include "cache/link_error.hpp"
#include "cache/redis_link.hpp"
#include "support/caught.hpp"
#include "support/certificates.hpp"
#include "support/sockets.hpp"
#include "testing/temporary_directory.hpp"

/// A session whose other end is OpenSSL's server; the test carries the bytes.
namespace soundhash::db::redis {
namespace {

using namespace std::chrono_literals;
using test::caught;
using ::testing::HasSubstr;

/// The server, in memory.
class tls_server {
 public:
  tls_server(const test::certificate& own, int version) {
    SSL_CTX_set_min_proto_version(context_.get(), version);
    SSL_CTX_set_max_proto_version(context_.get(), version);
    SSL_CTX_use_certificate_file(context_.get(), own.file.c_str(), SSL_FILETYPE_PEM);
    SSL_CTX_use_PrivateKey_file(context_.get(), own.key.c_str(), SSL_FILETYPE_PEM);
    SSL_CTX_set_msg_callback(context_.get(), &note);
    SSL_CTX_set_msg_callback_arg(context_.get(), this);
    session_.reset(SSL_new(context_.get()));
    SSL_set_bio(session_.get(), BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
    SSL_set_accept_state(session_.get());
  }

  [[nodiscard]] SSL* get() const { return session_.get(); }
  /// Messages that came of a change of keys.
  [[nodiscard]] int key_updates() const { return key_updates_; }

  /// Takes records, and returns what they say.
  std::string take(const std::string& records) {
    BIO_write(SSL_get_rbio(get()), records.data(), static_cast<int>(records.size()));
    std::string plain;
    std::array<char, 1024> buffer{};
    for (std::size_t size = 0; SSL_read_ex(get(), buffer.data(), buffer.size(), &size) == 1;) {
      plain.append(buffer.data(), size);
    }
    return plain;
  }
  void write(std::string_view plain) {
    std::size_t size = 0;
    ASSERT_EQ(SSL_write_ex(get(), plain.data(), plain.size(), &size), 1);
  }
  /// What is to be sent.
  std::string records() {
    std::string out(BIO_ctrl_pending(SSL_get_wbio(get())), '\0');
    BIO_read(SSL_get_wbio(get()), out.data(), static_cast<int>(out.size()));
    return out;
  }

 private:
  static void note(int sent, int, int type, const void* bytes, std::size_t size, SSL*, void* self) {
    if (sent == 0 && type == SSL3_RT_HANDSHAKE && size > 0 &&
        *static_cast<const unsigned char*>(bytes) == SSL3_MT_KEY_UPDATE) {
      ++static_cast<tls_server*>(self)->key_updates_;
    }
  }

  std::unique_ptr<SSL_CTX, decltype(&SSL_CTX_free)> context_{SSL_CTX_new(TLS_method()),
                                                             &SSL_CTX_free};
  std::unique_ptr<SSL, decltype(&SSL_free)> session_{nullptr, &SSL_free};
  int key_updates_ = 0;
};

class redis_tls_session_test : public ::testing::Test {
 protected:
  tls_context context() {
    redis_tls_options options;
    options.ca_file = own_.file.string();
    return tls_context{options};
  }
  tls_session begin(const std::string& host = "localhost") { return tls_session{context(), host}; }
  /// Carries bytes until nobody has any.
  static void shake_hands(tls_session& client, tls_server& server) {
    for (auto sent = records_of(client); !sent.empty(); sent = records_of(client)) {
      server.take(sent);
      client.take(server.records());
      EXPECT_EQ(client.read(), "");
    }
    ASSERT_TRUE(client.established());
  }
  static std::string records_of(tls_session& client) {
    std::string out;
    client.move_records_to(out);
    return out;
  }

  testing::temporary_directory folder_{"soundhash-db-tls-", {}};
  test::certificate own_ =
      test::make_certificate(folder_.path(), "server", "DNS:localhost,IP:127.0.0.1,IP:::1");
};

TEST_F(redis_tls_session_test, a_name_is_told_to_the_server_and_an_address_is_not) {
  for (const std::string host : {"localhost", "127.0.0.1", "::1", "::1%lo"}) {
    tls_server server{own_, TLS1_3_VERSION};
    auto client = begin(host);
    shake_hands(client, server);
    const char* const told = SSL_get_servername(server.get(), TLSEXT_NAMETYPE_host_name);
    EXPECT_EQ(told != nullptr ? told : std::string{}, host == "localhost" ? host : "");
  }
}

TEST_F(redis_tls_session_test, no_name_is_no_name_to_verify) {
  EXPECT_THAT(caught<link_error>([&] { begin(""); }).what(), HasSubstr("no name to verify"));
}

TEST_F(redis_tls_session_test, records_may_come_byte_by_byte) {
  tls_server server{own_, TLS1_3_VERSION};
  auto client = begin();
  shake_hands(client, server);
  server.write("one");
  server.write("two");
  std::string plain;
  for (const char byte : server.records()) {
    client.take({&byte, 1});
    plain += client.read();
  }
  EXPECT_EQ(plain, "onetwo");
}

TEST_F(redis_tls_session_test, a_change_of_keys_is_answered) {
  tls_server server{own_, TLS1_3_VERSION};
  auto client = begin();
  shake_hands(client, server);
  ASSERT_EQ(SSL_key_update(server.get(), SSL_KEY_UPDATE_REQUESTED), 1);
  server.write("with new keys");
  client.take(server.records());
  EXPECT_EQ(client.read(), "with new keys");
  client.write("answer");
  EXPECT_EQ(server.take(records_of(client)), "answer");
  EXPECT_EQ(server.key_updates(), 1);
}

TEST_F(redis_tls_session_test, the_wish_to_begin_anew_does_not_keep_from_writing) {
  tls_server server{own_, TLS1_2_VERSION};
  auto client = begin();
  shake_hands(client, server);
  ASSERT_EQ(SSL_renegotiate(server.get()), 1);
  ASSERT_EQ(SSL_do_handshake(server.get()), 1);
  client.take(server.records());
  EXPECT_EQ(client.read(), "");
  client.write("goes on");
  EXPECT_NE(records_of(client), "");
}

TEST_F(redis_tls_session_test, what_came_before_the_end_is_read_before_it) {
  tls_server server{own_, TLS1_3_VERSION};
  auto client = begin();
  shake_hands(client, server);
  server.write("last words");
  SSL_shutdown(server.get());
  client.take(server.records());
  EXPECT_EQ(client.read(), "last words");
  EXPECT_FALSE(client.closed());
  EXPECT_EQ(client.read(), "");
  EXPECT_TRUE(client.closed());
}

TEST_F(redis_tls_session_test, an_older_protocol_is_refused) {
  tls_server server{own_, TLS1_1_VERSION};
  SSL_set_security_level(server.get(), 0);
  auto client = begin();
  server.take(records_of(client));
  client.take(server.records());
  EXPECT_THAT(caught<link_error>([&] { static_cast<void>(client.read()); }).what(),
              HasSubstr("protocol version"));
}

/// What a server says before it hangs up tells more than that it did.
TEST_F(redis_tls_session_test, a_link_hears_an_alert_although_it_can_send_no_more) {
  std::array<int, 2> ends{};
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()), 0);
  ::fcntl(ends[0], F_SETFL, O_NONBLOCK);
  link client{ends[0], nullptr};
  std::optional<test::descriptor> socket{ends[1]};
  tls_server server{own_, TLS1_3_VERSION};
  std::thread other{[&] {
    std::string buffer(10'000, '\0');
    while (SSL_is_init_finished(server.get()) == 0) {
      const auto size = ::recv(socket->get(), buffer.data(), buffer.size(), 0);
      ASSERT_GT(size, 0);
      server.take(buffer.substr(0, static_cast<std::size_t>(size)));
      ASSERT_TRUE(test::send_all(*socket, server.records()));
    }
  }};
  client.secure(context(), "localhost", deadline::in(10s));
  other.join();
  server.take(std::string{"\x17\x03\x03\x00\x20", 5} + std::string(32, 'x'));
  ASSERT_TRUE(test::send_all(*socket, server.records()));
  socket.reset();
  const command ping{"PING"};
  EXPECT_THAT(caught<link_error>([&] {
                client.send({&ping, 1}, deadline::in(10s));
              }).what(),
              HasSubstr("alert bad record mac"));
}

TEST_F(redis_tls_session_test, bytes_that_are_no_records_are_told) {
  auto client = begin();
  client.take("-ERR unknown command\r\n");
  EXPECT_THAT(caught<link_error>([&] { static_cast<void>(client.read()); }).what(),
              HasSubstr("perhaps the server does not speak TLS"));
}

}  // namespace
}  // namespace soundhash::db::redis
