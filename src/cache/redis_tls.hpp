#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

#include <soundhash/db/cache/cache_options.hpp>

struct ssl_ctx_st;  // OpenSSL's SSL_CTX
struct ssl_st;      // and SSL

namespace soundhash::db::redis {

/// The files of the options, read: whom to trust, and who we are.
/// Thread safety: safe for concurrent use.
class tls_context {
 public:
  /// Throws: config_error naming the setting and the file when one cannot be used.
  explicit tls_context(const redis_tls_options& options);

 private:
  friend class tls_session;
  struct freed {
    void operator()(ssl_ctx_st* context) const noexcept;
  };
  std::unique_ptr<ssl_ctx_st, freed> context_;
};

/// TLS of one connection, as a filter: plain bytes become records to send, records that came become
/// plain bytes. It does no input and no output, so that its owner's socket, deadlines and
/// interruption are all there are. TLS 1.2 or later; the server must have a certificate for `host`,
/// a name or an address. Every function throws link_error once the session is of no more use.
/// Thread safety: one thread at a time.
class tls_session {
 public:
  /// Begins the handshake.
  tls_session(const tls_context& context, const std::string& host);
  ~tls_session();
  tls_session(const tls_session&) = delete;
  tls_session& operator=(const tls_session&) = delete;

  /// Is the handshake over, and the server the one that was wanted?
  [[nodiscard]] bool established() const noexcept;
  /// Has the server said that nothing more will come?
  [[nodiscard]] bool closed() const noexcept { return closed_; }

  /// Plain bytes to be sent, once established.
  void write(std::string_view plain);
  /// What came; read() gives what it says.
  void take(std::string_view records);
  /// The next plain bytes, good until the next call; empty: more must come first. Goes on with the
  /// handshake.
  [[nodiscard]] std::string_view read();
  /// Appends what is to be sent: of write(), and what TLS itself has to say after a read().
  void move_records_to(std::string& out);

 private:
  struct freed {
    void operator()(ssl_st* session) const noexcept;
  };
  void verify(const std::string& host);
  [[noreturn]] void fail() const;

  const std::string host_;
  std::unique_ptr<ssl_st, freed> session_;
  std::unique_ptr<char[]> plain_;
  bool closed_ = false;
};

}  // namespace soundhash::db::redis
