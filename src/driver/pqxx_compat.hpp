#pragma once

#include <memory>
#include <pqxx/version>
#include <utility>

#include <libpq-fe.h>

#if PQXX_VERSION_MAJOR < 7
#include <pqxx/connection_base>

#include <pqxx/connectionpolicy.hxx>
#else
#include <pqxx/connection>
#endif

/// The differences between libpqxx 6.4 and 7+: how an established session is handed over. Nothing
/// above this file tests the version.
namespace soundhash::db::driver {

#if PQXX_VERSION_MAJOR < 7

/// Gives libpqxx one handle and never another: libpqxx 6 would otherwise reconnect silently, and
/// the settings and prepared statements of the session would be gone.
class adopted_policy final : public pqxx::connectionpolicy {
 public:
  explicit adopted_policy(PGconn* session) : pqxx::connectionpolicy{""}, session_{session} {}
  handle do_startconnect(handle current) override {
    return current != nullptr ? current : std::exchange(session_, nullptr);
  }
  handle do_completeconnect(handle current) override { return current; }
  handle do_dropconnect(handle current) noexcept override { return current; }
  bool is_ready(handle current) const noexcept override { return current != nullptr; }

 private:
  PGconn* session_;
};

/// A libpqxx connection around a session that is open already; it owns the handle. As
/// basic_connection of libpqxx 6 (which cannot be given a handle) does.
class native_connection final : public pqxx::connection_base {
 public:
  explicit native_connection(PGconn* session) : pqxx::connection_base{policy_}, policy_{session} {
    init();
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
    inhibit_reactivation(true);
#pragma GCC diagnostic pop
  }
  ~native_connection() {
    close();
  }
  native_connection(const native_connection&) = delete;
  native_connection& operator=(const native_connection&) = delete;

 private:
  adopted_policy policy_;
};

inline std::unique_ptr<native_connection> adopt(PGconn* session) {
  return std::make_unique<native_connection>(session);
}

/// What native.hpp hands out.
inline pqxx::connection_base* public_face(native_connection& adopted) {
  return &adopted;
}

#else

using native_connection = pqxx::connection;

/// `new` allocates before it takes the handle: whoever throws, the caller still owns the session.
inline std::unique_ptr<native_connection> adopt(PGconn* session) {
  return std::unique_ptr<native_connection>{
      new native_connection(pqxx::connection::seize_raw_connection(session))};
}

inline pqxx::connection* public_face(native_connection& adopted) {
  return &adopted;
}

#endif

}  // namespace soundhash::db::driver
