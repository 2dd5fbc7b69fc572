#pragma once

#include <memory>
#include <source_location>
#include <string>
#include <utility>
#include <vector>

#include <soundhash/db/database_options.hpp>
#include <soundhash/db/exec/executor.hpp>
#include <soundhash/db/exec/transaction.hpp>

#include "engine_from_options.hpp"
#include "exec/autocommit.hpp"
#include "support/recording_listener.hpp"

namespace soundhash::db::test {

/// An executor as `database` is one, whose writes a listener hears and whose reads are never cached
/// but noted with their tags.
class heard_database final : public executor {
 public:
  heard_database(const database_options& options, std::shared_ptr<tag_listener> listener)
      : shared_{engine_from_options(options, {.listener = std::move(listener)})} {}

  struct cached_read {
    std::string query;
    tag_texts tags;
  };
  /// The reads since the last time.
  [[nodiscard]] std::vector<cached_read> taken_reads() { return std::exchange(reads_, {}); }

  [[nodiscard]] transaction begin(
      const transaction_options& options = {},
      const std::source_location& where = std::source_location::current()) {
    return shared_->begin(options, where);
  }
  void with_transaction(function_ref<void(transaction&)> body) {
    shared_->with_transaction({}, body, std::source_location::current());
  }

 private:
  void run(const query& statement, const params& values, const call_options& options,
           function_ref<void(const result&)> consume) override {
    shared_->run(statement, values, options, consume);
  }
  void run_atomically(const call_options&, function_ref<void(executor&)> body) override {
    with_transaction([&](transaction& tx) { body(tx); });
  }
  void run_cached(const query& statement, const params& values, const call_options& options,
                  const cached& how, read_sink& into) override {
    tag_set tags{tag_set::mode::read};
    how.tags(tags);
    reads_.push_back({std::string{statement.name()}, texts_of(tags)});
    executor::run_cached(statement, values, options, how, into);
  }
  void run_changing(std::string_view table, const call_options& options,
                    function_ref<void(executor&, tag_set&)> body) override {
    change_autocommitted(*shared_, table, options, body);
  }

  std::shared_ptr<engine> shared_;
  std::vector<cached_read> reads_;
};

}  // namespace soundhash::db::test
