#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include <soundhash/db/core/cache_tag.hpp>
#include <soundhash/db/core/cached.hpp>
#include <soundhash/db/core/deadline.hpp>
#include <soundhash/db/core/error.hpp>
#include <soundhash/db/core/function_ref.hpp>
#include <soundhash/db/core/param.hpp>
#include <soundhash/db/core/query.hpp>
#include <soundhash/db/core/result.hpp>
#include <soundhash/db/core/row_traits.hpp>
#include <soundhash/db/exec/pipeline.hpp>
#include <soundhash/db/exec/read_rows.hpp>
#include <soundhash/db/exec/row_stream.hpp>
#include <soundhash/db/export.hpp>

namespace soundhash::db {

/// Runs statements. `database` is one (each statement on a pooled connection of its own, outside a
/// transaction, one round trip) and `transaction` is one; repositories take either.
/// Thread safety: that of the implementation: `database` is safe for concurrent use, a
/// `transaction` belongs to one thread at a time.
/// Throws, from every verb: connection_error, pool_error, timeout_error, query_error,
/// constraint_violation, transaction_error, commit_in_doubt (a write outside a transaction whose
/// answer was lost), decode_error, cancelled.
class SOUNDHASH_DB_EXPORT executor {
 public:
  virtual ~executor();

  /// Exactly one row. Throws: also cardinality_error for none or several.
  template <readable_row T>
  [[nodiscard]] T one(const query& statement, const params& values = {},
                      const call_options& options = {}) {
    std::optional<T> found;
    run(statement, values, options, [&](const result& rows) { detail::read_one(rows, found); });
    return std::move(*found);
  }
  /// The same, through the cache if there is one. Inside a transaction the cache is not asked, here
  /// and below.
  template <readable_row T>
  [[nodiscard]] T one(const query& statement, const params& values, const call_options& options,
                      const cached& how) {
    std::optional<T> found;
    read_through(statement, values, options, how, found, detail::read_one<T>);
    // A near cache may have kept what maybe() of the same query found: nothing.
    if (!found) throw cardinality_error{statement.name(), 0};
    return std::move(*found);
  }

  /// One row or none. Throws: also cardinality_error for several.
  template <readable_row T>
  [[nodiscard]] std::optional<T> maybe(const query& statement, const params& values = {},
                                       const call_options& options = {}) {
    std::optional<T> found;
    run(statement, values, options, [&](const result& rows) { detail::read_maybe(rows, found); });
    return found;
  }
  template <readable_row T>
  [[nodiscard]] std::optional<T> maybe(const query& statement, const params& values,
                                       const call_options& options, const cached& how) {
    std::optional<T> found;
    read_through(statement, values, options, how, found, detail::read_maybe<T>);
    return found;
  }

  /// All rows, in the server's order.
  template <readable_row T>
  [[nodiscard]] std::vector<T> all(const query& statement, const params& values = {},
                                   const call_options& options = {}) {
    std::vector<T> found;
    run(statement, values, options, [&](const result& rows) { detail::read_all(rows, found); });
    return found;
  }
  template <readable_row T>
  [[nodiscard]] std::vector<T> all(const query& statement, const params& values,
                                   const call_options& options, const cached& how) {
    std::vector<T> found;
    read_through(statement, values, options, how, found, detail::read_all<T>);
    return found;
  }

  /// The number of rows that the statement touched.
  std::uint64_t execute(const query& statement, const params& values = {},
                        const call_options& options = {});

  /// All rows in the server's order, read while the server sends them, in the memory of one row.
  /// The statement must be declared read_only. It holds its connection until the last row was read
  /// or the stream ends; a transaction refuses other statements meanwhile, and must outlive the
  /// stream.
  ///
  /// To end it early is no error. Outside a transaction the connection is closed then, unless the
  /// rest comes within 10 ms. A transaction reads the rest and throws it away; it is lost (and says
  /// so) when that takes more than 2 s.
  ///
  /// `options.until` bounds the whole stream, its reader's time included; without one each wait for
  /// a row is bounded as a call is. The server's statement timeout counts the reader's time too:
  /// what takes long to read goes by pages instead. Throws: here, and while reading;
  /// invalid_argument for a statement that may write.
  template <readable_row T>
  [[nodiscard]] row_stream<T> stream(const query& statement, const params& values = {},
                                     const call_options& options = {}) {
    return row_stream<T>{open_checked_stream(statement, values, options)};
  }

  /// Runs the statements of the pipeline and keeps the answer or failure of each in it.
  /// A database sends all at once, on one connection, and none is affected by another's failure:
  /// each write is a transaction of its own, and the reads that a failed one would have taken along
  /// are sent once more. Writes happen in their order. The deadline bounds all together. A
  /// transaction runs them one after the other, and after one failed, all others fail.
  /// Throws: only when none was sent: connection_error, pool_error, timeout_error, cancelled.
  void execute(pipeline& batch, const call_options& options = {});

  /// Runs `body(executor&)` so that all its statements happen or none: in a transaction of its own
  /// on a `database` (the body may run again after a serialization failure or deadlock), inside
  /// the current one on a `transaction`. Returns what the body returns.
  template <class F>
  auto atomically(F&& body, const call_options& options = {}) {
    using returned = std::invoke_result_t<F&, executor&>;
    if constexpr (std::is_void_v<returned>) {
      run_atomically(options, [&](executor& inside) { body(inside); });
    } else {
      std::optional<returned> value;
      run_atomically(options, [&](executor& inside) { value.emplace(body(inside)); });
      return std::move(*value);
    }
  }

  /// Runs `body(executor&, tag_set& changed)`, which writes to `table` and adds the tags of the
  /// rows that it changed, with old and new values. The cache drops them, and the table's lists,
  /// when the change is committed and before this returns; when it cannot be known what was
  /// changed, all of the table. Returns what the body returns.
  template <class F>
  auto changing(std::string_view table, F&& body, const call_options& options = {}) {
    using returned = std::invoke_result_t<F&, executor&, tag_set&>;
    if constexpr (std::is_void_v<returned>) {
      run_changing(table, options, [&](executor& on, tag_set& changed) { body(on, changed); });
    } else {
      std::optional<returned> value;
      run_changing(table, options,
                   [&](executor& on, tag_set& changed) { value.emplace(body(on, changed)); });
      return std::move(*value);
    }
  }

 protected:
  executor() = default;
  executor(const executor&) = default;
  executor& operator=(const executor&) = default;
  executor(executor&&) = default;
  executor& operator=(executor&&) = default;

  /// Runs the statement and gives its result to `consume`, at most once per successful attempt;
  /// what `consume` throws passes through.
  virtual void run(const query& statement, const params& values, const call_options& options,
                   function_ref<void(const result&)> consume) = 0;

  virtual void run_atomically(const call_options& options, function_ref<void(executor&)> body) = 0;

  /// By default all rows are read at once, and kept.
  virtual std::unique_ptr<row_source> open_stream(const query& statement, const params& values,
                                                  const call_options& options);

  /// Runs all the steps and sets the answer or failure of each; by default one after the other.
  virtual void run_pipeline(std::span<const std::shared_ptr<pipeline_step>> steps,
                            const call_options& options);

  /// Runs a statement that may be answered from a cache; by default there is none.
  virtual void run_cached(const query& statement, const params& values, const call_options& options,
                          const cached& how, read_sink& into);

  /// By default nobody needs the tags.
  virtual void run_changing(std::string_view table, const call_options& options,
                            function_ref<void(executor&, tag_set&)> body);

 private:
  std::unique_ptr<row_source> open_checked_stream(const query& statement, const params& values,
                                                  const call_options& options);

  template <class Value, class Decode>
  void read_through(const query& statement, const params& values, const call_options& options,
                    const cached& how, Value& into, Decode decode) {
    detail::value_sink<Value, Decode> sink{into, decode};
    run_cached(statement, values, options, how, sink);
  }
};

}  // namespace soundhash::db
