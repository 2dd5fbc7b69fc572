#include "cache/redis_tls.hpp"

#include <new>
#include <system_error>

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include <soundhash/db/core/error.hpp>

#include "cache/link_error.hpp"

namespace soundhash::db::redis {
namespace {

constexpr std::size_t record_bytes = std::size_t{16} << 10U;  // of plain text, at most

/// The cause among what OpenSSL says of a failure: the first. The queue of this thread is empty
/// afterwards, for whoever uses OpenSSL next.
unsigned long cause() noexcept {
  const auto first = ERR_peek_error();
  ERR_clear_error();
  return first;
}

std::string text_of(unsigned long code) {
  if (ERR_SYSTEM_ERROR(code)) return std::generic_category().message(ERR_GET_REASON(code));
  const char* const text = ERR_reason_error_string(code);
  return text != nullptr ? text : "unknown error of OpenSSL";
}

/// Of an encrypted key; OpenSSL would ask at the terminal.
int no_passphrase(char*, int, int, void*) noexcept {
  return -1;
}

void require_used(int status, const char* setting, const std::string& file, const char* accepted) {
  if (status == 1) return;
  throw config_error{setting, "\"" + sanitize(file, 255) + "\" cannot be used: " + text_of(cause()),
                     accepted};
}

void trust(SSL_CTX* context, const std::string& ca_file) {
  if (ca_file.empty()) {
    SSL_CTX_set_default_verify_paths(context);  // a missing store trusts nobody
    return;
  }
  require_used(SSL_CTX_load_verify_file(context, ca_file.c_str()), "SOUNDHASH_DB_REDIS_TLS_CA_FILE",
               ca_file, "a readable file of certificates, in PEM");
}

void identify(SSL_CTX* context, const std::string& certificate, const std::string& key) {
  if (certificate.empty()) return;
  require_used(SSL_CTX_use_certificate_chain_file(context, certificate.c_str()),
               "SOUNDHASH_DB_REDIS_TLS_CERT_FILE", certificate,
               "a readable file with a certificate and those of its authorities, in PEM");
  require_used(SSL_CTX_use_PrivateKey_file(context, key.c_str(), SSL_FILETYPE_PEM),
               "SOUNDHASH_DB_REDIS_TLS_KEY_FILE", key,
               "a readable file with the certificate's key, in PEM, not encrypted");
}

template <class T>
T* require_memory(T* made) {
  if (made == nullptr) throw std::bad_alloc{};
  return made;
}

}  // namespace

void tls_context::freed::operator()(SSL_CTX* context) const noexcept {
  SSL_CTX_free(context);
}

tls_context::tls_context(const redis_tls_options& options)
    : context_{require_memory(SSL_CTX_new(TLS_client_method()))} {
  ERR_clear_error();
  auto* const context = context_.get();
  SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
  // A server's wish to begin anew (TLS 1.2) is refused, so that write() never has to wait.
  SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION);
  SSL_CTX_set_verify(context, SSL_VERIFY_PEER, nullptr);
  SSL_CTX_set_default_passwd_cb(context, &no_passphrase);
  trust(context, options.ca_file);
  identify(context, options.certificate, options.key);
  ERR_clear_error();
}

void tls_session::freed::operator()(SSL* session) const noexcept {
  SSL_free(session);
}

tls_session::tls_session(const tls_context& context, const std::string& host)
    : host_{sanitize(host, 255)},
      session_{require_memory(SSL_new(context.context_.get()))},
      plain_{std::make_unique_for_overwrite<char[]>(record_bytes)} {
  SSL_set0_rbio(session_.get(), require_memory(BIO_new(BIO_s_mem())));
  SSL_set0_wbio(session_.get(), require_memory(BIO_new(BIO_s_mem())));
  verify(host);
  SSL_set_connect_state(session_.get());
  static_cast<void>(read());
}

tls_session::~tls_session() = default;

/// An address is no name: it stands elsewhere in a certificate, and is not told to the server.
void tls_session::verify(const std::string& host) {
  // OpenSSL would take an empty name for none wanted.
  if (host.empty()) throw link_error{"TLS: there is no name to verify"};
  auto* const wanted = SSL_get0_param(session_.get());
  X509_VERIFY_PARAM_set_hostflags(wanted, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
  const auto address = host.substr(0, host.find('%'));  // an IPv6 scope: fe80::1%eth0
  if (X509_VERIFY_PARAM_set1_ip_asc(wanted, address.c_str()) == 1) return;
  ERR_clear_error();
  if (X509_VERIFY_PARAM_set1_host(wanted, host.data(), host.size()) != 1 ||
      SSL_set_tlsext_host_name(session_.get(), host.c_str()) != 1) {
    fail();
  }
}

bool tls_session::established() const noexcept {
  return SSL_is_init_finished(session_.get()) == 1;
}

void tls_session::write(std::string_view plain) {
  ERR_clear_error();
  std::size_t written = 0;
  if (SSL_write_ex(session_.get(), plain.data(), plain.size(), &written) != 1) fail();
}

void tls_session::take(std::string_view records) {
  std::size_t written = 0;
  if (BIO_write_ex(SSL_get_rbio(session_.get()), records.data(), records.size(), &written) != 1) {
    throw std::bad_alloc{};
  }
}

std::string_view tls_session::read() {
  ERR_clear_error();
  std::size_t size = 0;
  const int status = SSL_read_ex(session_.get(), plain_.get(), record_bytes, &size);
  if (status == 1) return {plain_.get(), size};
  const int why = SSL_get_error(session_.get(), status);
  if (why == SSL_ERROR_ZERO_RETURN) closed_ = true;
  if (why != SSL_ERROR_WANT_READ && why != SSL_ERROR_ZERO_RETURN) fail();
  return {};
}

void tls_session::move_records_to(std::string& out) {
  auto* const made = SSL_get_wbio(session_.get());
  const auto size = BIO_ctrl_pending(made);
  if (size == 0) return;
  const auto before = out.size();
  out.resize(before + size);
  std::size_t moved = 0;
  BIO_read_ex(made, out.data() + before, size, &moved);
}

void tls_session::fail() const {
  const auto code = cause();
  auto why = text_of(code);
  const auto is = [&](int reason) {
    return ERR_GET_LIB(code) == ERR_LIB_SSL && ERR_GET_REASON(code) == reason;
  };
  if (is(SSL_R_CERTIFICATE_VERIFY_FAILED)) {
    why += std::string{": "} + X509_verify_cert_error_string(SSL_get_verify_result(session_.get()));
  } else if (is(SSL_R_WRONG_VERSION_NUMBER)) {
    why += "; perhaps the server does not speak TLS at this port";
  }
  throw link_error{"TLS with " + host_ + ": " + why};
}

}  // namespace soundhash::db::redis
