#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>

#include <soundhash/db/export.hpp>

// clang-format off
/// Errors. Every exception that this library throws on purpose derives from `error`.
///
/// | event                                                 | type                 | code()                  | sent()    | retryable() |
/// |-------------------------------------------------------|----------------------|-------------------------|-----------|-------------|
/// | nobody listens on host and port                       | connection_error     | refused                 | no        | yes         |
/// | host name has no address                              | connection_error     | name_resolution         | no        | yes         |
/// | connect not finished in its time                      | connection_error     | connect_timeout         | no        | yes         |
/// | server starting up or shutting down (57P03)           | connection_error     | not_ready               | no        | yes         |
/// | server has no free slot (53300)                       | connection_error     | too_many_connections    | no        | yes         |
/// | wrong password, role, pg_hba (28xxx)                  | connection_error     | authentication          | no        | no          |
/// | unknown database, bad option                          | connection_error     | configuration           | no        | no          |
/// | TLS refused, certificate wrong                        | connection_error     | tls                     | no        | no          |
/// | behind PgBouncer, needs a session                     | connection_error     | refused_behind_pooler   | no        | no          |
/// | link lost before anything was sent                    | connection_error     | lost                    | no        | yes         |
/// | link lost under a read, or before COMMIT              | connection_error     | lost                    | maybe     | yes         |
/// | server is a standby now (25006 confirmed)             | connection_error     | demoted_primary         | yes       | yes         |
/// | no connection within the acquire timeout              | pool_error           | pool_timeout            | no        | yes         |
/// | too many callers wait already                         | pool_error           | pool_overloaded         | no        | yes         |
/// | pool was closed                                       | pool_error           | pool_closed             | no        | no          |
/// | thread waits for a connection it holds itself         | pool_error           | nested_acquire          | no        | no          |
/// | used in the child of a fork                           | pool_error           | used_after_fork         | no        | no          |
/// | deadline passed before sending                        | timeout_error        | deadline_exceeded       | no        | no          |
/// | no answer by the deadline (read, or before COMMIT)    | timeout_error        | deadline_exceeded       | maybe     | no          |
/// | 57014 from the statement timeout of the options       | timeout_error        | statement_timeout       | yes       | no          |
/// | 57014 from the call's own shorter deadline            | timeout_error        | statement_deadline      | yes       | no          |
/// | 57014 from somebody's pg_cancel_backend               | query_error          | query_cancelled         | yes       | no          |
/// | any other error of the server                         | query_error          | server_error            | yes       | no          |
/// | unique, foreign key, not null, check, exclusion       | constraint_violation | constraint              | yes       | no          |
/// | 40001 / 40P01 after the last try                      | transaction_error    | serialization, deadlock | yes       | yes         |
/// | commit() refused, or answered by ROLLBACK or an error | transaction_error    | rolled_back             | yes       | no          |
/// | strict cache could not be told before COMMIT          | transaction_error    | unannounced             | yes       | yes         |
/// | COMMIT (or autocommit write) sent, no answer          | commit_in_doubt      | commit_in_doubt         | maybe     | no          |
/// | cell does not fit the C++ type                        | decode_error         | decode                  | yes       | no          |
/// | argument has a NUL, is too long, out of range         | invalid_argument     | invalid_argument        | no        | no          |
/// | COPY from or to the client, BEGIN, over 65535 values  | invalid_argument     | invalid_argument        | no        | no          |
/// | `one` got no row; `one` or `maybe` got several        | cardinality_error    | no_row, several_rows    | yes       | no          |
/// | stop requested through the stop_token                 | cancelled            | cancelled               | no, maybe | no          |
/// | setting unreadable                                    | config_error         | configuration           | no        | no          |
/// | migration drift, lock, half applied, mismatch         | migration_error      | migration_…             | –         | no          |
///
/// No message holds a password, a connection string or a bound value. Text of the server is
/// escaped and capped.
// clang-format on
namespace soundhash::db {

/// What went wrong, finer than the exception type. See the table above.
enum class errc : std::uint8_t {
  refused,
  name_resolution,
  connect_timeout,
  not_ready,
  too_many_connections,
  authentication,
  configuration,
  tls,
  refused_behind_pooler,
  lost,
  demoted_primary,
  pool_timeout,
  pool_overloaded,
  pool_closed,
  nested_acquire,
  used_after_fork,
  deadline_exceeded,
  statement_timeout,
  statement_deadline,
  query_cancelled,
  server_error,
  constraint,
  serialization,
  deadlock,
  rolled_back,
  unannounced,
  commit_in_doubt,
  decode,
  invalid_argument,
  no_row,
  several_rows,
  cancelled,
  migration_failed,
  migration_pending,
  migration_drift,
  migration_half_applied,
  migration_locked,
  migration_mismatch,
};

/// The name of a code as it stands in the table: "pool_timeout". Lives for ever.
SOUNDHASH_DB_EXPORT std::string_view to_string(errc code) noexcept;

/// Did the statement reach the server? `maybe`: bytes left, no answer came.
enum class sent : std::uint8_t { no, maybe, yes };

/// The name: "no", "maybe", "yes". Lives for ever.
SOUNDHASH_DB_EXPORT std::string_view to_string(sent value) noexcept;

/// What every error knows beside its message.
struct error_details {
  errc code{};
  enum sent sent = sent::no;
  bool retryable = false;         ///< The same call may well succeed if made again.
  bool connection_usable = true;  ///< The connection survived; it is never reused when false.
  std::string sqlstate{};         ///< Five characters, or empty when the server sent none.
  std::string query_name{};       ///< Empty when no named query was involved.
  std::string constraint{};       ///< Name of the violated constraint, else empty.
};

/// Root of all errors of this library.
/// Thread safety: const use from several threads is safe. Copying never throws.
class SOUNDHASH_DB_EXPORT error : public std::runtime_error {
 public:
  /// `message` must say what, where and what to do; it is shown as it is.
  error(const std::string& message, error_details details);
  ~error() override;
  error(const error&) noexcept;
  error& operator=(const error&) noexcept;

  [[nodiscard]] errc code() const noexcept;
  [[nodiscard]] enum sent sent() const noexcept;
  [[nodiscard]] bool retryable() const noexcept;
  [[nodiscard]] bool connection_usable() const noexcept;
  /// Views live as long as this error.
  [[nodiscard]] std::string_view sqlstate() const noexcept;
  [[nodiscard]] std::string_view query_name() const noexcept;

 protected:
  [[nodiscard]] const error_details& details() const noexcept { return *details_; }

 private:
  std::shared_ptr<const error_details> details_;
};

/// No session with the server, or the one we had is gone.
class SOUNDHASH_DB_EXPORT connection_error : public error {
 public:
  using error::error;
  ~connection_error() override;
};

/// The pool gave no connection; the server may be healthy.
class SOUNDHASH_DB_EXPORT pool_error : public error {
 public:
  using error::error;
  ~pool_error() override;
};

/// A deadline or a statement timeout passed.
class SOUNDHASH_DB_EXPORT timeout_error : public error {
 public:
  using error::error;
  ~timeout_error() override;
};

/// The server answered with an error that has no type of its own here.
class SOUNDHASH_DB_EXPORT query_error : public error {
 public:
  using error::error;
  ~query_error() override;
};

/// Which kind of constraint a statement violated.
enum class constraint_kind : std::uint8_t {
  unique,
  foreign_key,
  not_null,
  check,
  exclusion,
  other
};

/// A constraint of the schema refused the row.
class SOUNDHASH_DB_EXPORT constraint_violation : public error {
 public:
  using error::error;
  ~constraint_violation() override;
  [[nodiscard]] constraint_kind kind() const noexcept;
  /// Name of the constraint, or of the column for `not_null`. Lives as long as this error.
  [[nodiscard]] std::string_view constraint() const noexcept;
};

/// The transaction was certainly rolled back.
class SOUNDHASH_DB_EXPORT transaction_error : public error {
 public:
  using error::error;
  ~transaction_error() override;
};

/// What became of a transaction whose COMMIT got no answer.
enum class commit_outcome : std::uint8_t { committed, rolled_back, unknown };

/// What is known of a change in doubt, for whoever looks into the server's log.
struct doubt_details {
  int backend_pid = 0;           ///< process of the session; 0 when unknown
  std::string transaction_id{};  ///< as pg_xact_status() takes it; empty unless tracked
};

/// COMMIT (or a write outside a transaction) was sent and its answer did not arrive: the change may
/// or may not be durable. Never retried by this library unless the body was declared idempotent (or
/// read_only).
class SOUNDHASH_DB_EXPORT commit_in_doubt : public error {
 public:
  /// Asks the server about the transaction; may block up to the given time.
  using resolver = std::function<commit_outcome(std::chrono::milliseconds)>;

  commit_in_doubt(const std::string& message, error_details details, doubt_details known = {},
                  resolver resolve = {});
  ~commit_in_doubt() override;
  commit_in_doubt(const commit_in_doubt&) noexcept;
  commit_in_doubt& operator=(const commit_in_doubt&) noexcept;

  [[nodiscard]] int backend_pid() const noexcept { return known_->backend_pid; }
  /// Lives as long as this error.
  [[nodiscard]] std::string_view transaction_id() const noexcept { return known_->transaction_id; }

  /// Asks the server through another connection what became of the transaction. `unknown` when the
  /// transaction was not tracked (`transaction_options::track_outcome`), the server is unreachable,
  /// a standby, or was promoted since (another timeline gives the same ids out again), or it does
  /// not know any more. Never guesses. The server must also have the system identifier of before;
  /// where the role may not call pg_control_system(), as on some managed servers, that alone is not
  /// checked: then do not resolve after pointing the host's name at another cluster.
  /// Throws: nothing of the network; `std::bad_alloc` only.
  [[nodiscard]] commit_outcome resolve(std::chrono::milliseconds timeout) const;

 private:
  std::shared_ptr<const doubt_details> known_;
  std::shared_ptr<const resolver> resolve_;
};

/// A cell of a result does not fit the C++ type that was asked for. The connection stays usable.
class SOUNDHASH_DB_EXPORT decode_error : public error {
 public:
  decode_error(std::string_view query_name, std::string_view column, std::string_view sql_type,
               std::string_view cpp_type, std::string_view problem);
  ~decode_error() override;
  /// Views live as long as this error.
  [[nodiscard]] std::string_view column() const noexcept { return *column_; }

 private:
  std::shared_ptr<const std::string> column_;
};

/// A value was refused before anything was sent.
class SOUNDHASH_DB_EXPORT invalid_argument : public error {
 public:
  /// `argument` names the parameter, column or option; `row` is the index of the row in a batch.
  invalid_argument(std::string_view argument, std::string_view problem,
                   std::optional<std::size_t> row = std::nullopt);
  ~invalid_argument() override;
  [[nodiscard]] std::string_view argument() const noexcept { return *argument_; }
  [[nodiscard]] std::optional<std::size_t> row() const noexcept { return row_; }

 private:
  std::shared_ptr<const std::string> argument_;
  std::optional<std::size_t> row_;
};

/// `one` or `maybe` got another number of rows than promised.
class SOUNDHASH_DB_EXPORT cardinality_error : public error {
 public:
  cardinality_error(std::string_view query_name, std::size_t rows);
  ~cardinality_error() override;
};

/// The caller's stop_token asked to stop.
class SOUNDHASH_DB_EXPORT cancelled : public error {
 public:
  using error::error;
  ~cancelled() override;
};

/// A setting cannot be read.
class SOUNDHASH_DB_EXPORT config_error : public error {
 public:
  /// `problem` must not repeat a secret; `accepted` describes the accepted form.
  config_error(std::string_view variable, std::string_view problem, std::string_view accepted);
  ~config_error() override;
  /// The variable or option at fault. Lives as long as this error.
  [[nodiscard]] std::string_view variable() const noexcept { return *variable_; }

 private:
  std::shared_ptr<const std::string> variable_;
};

/// The schema and the migration files do not go together, or a migration could not run.
class SOUNDHASH_DB_EXPORT migration_error : public error {
 public:
  /// `code` is one of the `migration_…` codes.
  migration_error(errc code, const std::string& message, std::string_view sqlstate = {});
  ~migration_error() override;
};

/// `text` with control characters escaped as `\xNN` and cut after `cap` bytes (with "…"), so that
/// foreign text cannot forge log lines.
SOUNDHASH_DB_EXPORT std::string sanitize(std::string_view text, std::size_t cap = 1024);

}  // namespace soundhash::db
