#pragma once

#include <chrono>
#include <memory>

#include <soundhash/db/exec/row_stream.hpp>
#include <soundhash/db/exec/transaction.hpp>
#include <soundhash/db/observe/interceptor.hpp>

#include "driver/row_stream.hpp"
#include "exec/engine.hpp"

namespace soundhash::db {

/// A statement whose rows are being read. The interceptors hear of one statement, from its sending
/// to its last row.
/// Thread safety: one thread at a time.
class open_stream final : public row_source {
 public:
  /// Sends it on this session, which must be free until the stream ended, and waits for its first
  /// row. Throws: as driver::row_stream.
  open_stream(std::shared_ptr<engine> owner, driver::connection& on, const driver::statement& what,
              std::chrono::nanoseconds acquired);
  ~open_stream() override;

  /// The session goes back to the pool when the stream ends.
  void own(connection_pool::lease session) noexcept { session_ = std::move(session); }
  /// The transaction hears of its end.
  void enter(transaction::impl& around) noexcept;
  /// The transaction ends: no more rows can be read.
  void leave() noexcept;

  const result* next() override;
  void refuse(const error& why) noexcept override { end(&why); }

 private:
  void end(const error* failure) noexcept;
  void report(const error* failure) noexcept;

  std::shared_ptr<engine> owner_;
  connection_pool::lease session_;
  transaction::impl* around_ = nullptr;
  statement_event event_;
  driver::timing cost_;
  deadline::clock::time_point started_;
  std::unique_ptr<driver::row_stream> rows_;  ///< also after the end, for who reads the last row
  bool ended_ = false;
  bool cut_off_ = false;
};

}  // namespace soundhash::db
