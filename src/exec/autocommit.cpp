#include "exec/autocommit.hpp"

#include <memory>
#include <source_location>

#include <soundhash/db/core/error.hpp>

#include "exec/change_log.hpp"
#include "exec/engine.hpp"

namespace soundhash::db {
namespace {

/// Each statement its own transaction, and a note of what may have come of them.
class noted_statements final : public executor {
 public:
  explicit noted_statements(engine& shared) noexcept : shared_{shared} {}

  /// A statement may still happen.
  [[nodiscard]] bool in_doubt() const noexcept { return in_doubt_; }
  /// A statement did happen.
  [[nodiscard]] bool done() const noexcept { return done_; }

 private:
  void run(const query& statement, const params& values, const call_options& options,
           function_ref<void(const result&)> consume) override {
    bool answered = false;
    try {
      shared_.run(statement, values, options, [&](const result& rows) {
        answered = true;
        done_ = true;  // whatever the reading of its rows throws
        consume(rows);
      });
    } catch (const error& failure) {
      in_doubt_ = in_doubt_ || (!answered && failure.sent() == sent::maybe);
      throw;
    } catch (...) {
      in_doubt_ = in_doubt_ || !answered;
      throw;
    }
  }

  std::unique_ptr<row_source> open_stream(const query& statement, const params& values,
                                          const call_options& options) override {
    return shared_.open_stream(statement, values, options);
  }

  /// A transaction that ends in any other way than these two was rolled back.
  void run_atomically(const call_options& options, function_ref<void(executor&)> body) override {
    try {
      shared_.with_transaction(
          {.until = options.until, .stop = options.stop}, [&](transaction& tx) { body(tx); },
          std::source_location::current());
      done_ = true;
    } catch (const commit_in_doubt&) {
      in_doubt_ = true;
      throw;
    }
  }

  engine& shared_;
  bool done_ = false;
  bool in_doubt_ = false;
};

}  // namespace

void change_autocommitted(engine& shared, std::string_view table, const call_options& options,
                          function_ref<void(executor&, tag_set&)> body) {
  if (shared.listener()->strict()) {
    const auto announced = [&](transaction& tx) { tx.changing(table, body, options); };
    return shared.with_transaction({.until = options.until, .stop = options.stop}, announced,
                                   std::source_location::current());
  }
  change_log changes{shared.listener()};
  auto rows = changes.no_rows();
  noted_statements each{shared};
  try {
    body(each, rows);
  } catch (...) {
    changes.add_all(table);
    if (each.in_doubt()) {
      changes.in_doubt();
    } else if (each.done()) {
      changes.committed();
    }
    throw;
  }
  changes.add(table, rows);
  changes.committed();
}

}  // namespace soundhash::db
