#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include <libpq-fe.h>

#include <soundhash/db/core/timestamp.hpp>
#include <soundhash/db/database_options.hpp>
#include <soundhash/db/model/fingerprint.hpp>
#include <soundhash/db/model/video.hpp>

/// libpq as one uses it by hand: prepared statements, parameters as text, nothing in between. The
/// baseline of the rows about PostgreSQL.
class raw_postgres {
 public:
  enum class format : int { text = 0, binary = 1 };

  struct clear {
    void operator()(PGresult* done) const noexcept { PQclear(done); }
  };
  using rows = std::unique_ptr<PGresult, clear>;

  /// Throws: std::runtime_error, as everything here.
  explicit raw_postgres(const soundhash::db::database_options& where);

  void prepare(const char* name, const char* sql);
  /// Runs a prepared statement.
  rows run(const char* name, std::initializer_list<const char*> values, format wanted);
  /// Runs SQL text without parameters.
  rows command(const char* sql);
  /// COPY … FROM STDIN with the whole data at hand; returns the rows stored.
  std::size_t copy(const char* sql, std::string_view data);
  [[nodiscard]] PGconn* get() const noexcept { return connection_.get(); }

 private:
  rows checked(PGresult* got) const;

  struct finish {
    void operator()(PGconn* open) const noexcept { PQfinish(open); }
  };
  std::unique_ptr<PGconn, finish> connection_;
};

/// A row in the order of our columns, read by hand.
soundhash::db::video text_video(const PGresult* from, int row);
soundhash::db::video binary_video(const PGresult* from, int row);
/// Without and with `fingerprint_data` behind the others.
soundhash::db::fingerprint binary_fingerprint(const PGresult* from, int row);
soundhash::db::fingerprint_with_data binary_fingerprint_with_data(const PGresult* from, int row);
