#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <optional>
#include <string>

#include <soundhash/db/core/error.hpp>
#include <soundhash/db/core/function_ref.hpp>
#include <soundhash/db/core/param.hpp>
#include <soundhash/db/core/query.hpp>
#include <soundhash/db/core/result.hpp>

namespace soundhash::db {

/// What names one transaction for good. A server that was promoted or restored gives ids out again
/// that its predecessor had given, so an id counts on one timeline of one cluster only.
struct transaction_identity {
  std::string id;                 ///< empty: it wrote nothing, or was not tracked
  std::string timeline;           ///< 8 hexadecimal digits
  std::string system_identifier;  ///< empty when the role may not read it
};

/// Learns the identity of a transaction before COMMIT and its outcome afterwards.
/// Source: PostgreSQL documentation, "Transaction ID and Snapshot Information Functions".
/// Thread safety: safe for concurrent use.
class transaction_tracker {
 public:
  /// Runs a query and gives its rows to the last argument.
  using runner = function_ref<void(const query&, const params&, function_ref<void(const result&)>)>;

  /// Run inside the transaction.
  /// Throws: as `run`.
  [[nodiscard]] transaction_identity identify(runner run);

  /// Run outside of it, on any session of the database: one question; nullopt while the
  /// transaction still runs.
  /// Throws: as `run`.
  [[nodiscard]] static std::optional<commit_outcome> ask(const transaction_identity& about,
                                                         runner run);

 private:
  enum class answer : std::uint8_t { not_asked, no, yes };
  [[nodiscard]] bool may_read_control_file(runner run);

  std::atomic<answer> control_file_{answer::not_asked};
};

}  // namespace soundhash::db
