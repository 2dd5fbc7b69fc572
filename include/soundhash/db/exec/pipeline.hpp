#pragma once

#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include <soundhash/db/core/error.hpp>
#include <soundhash/db/core/param.hpp>
#include <soundhash/db/core/query.hpp>
#include <soundhash/db/core/result.hpp>
#include <soundhash/db/core/row_traits.hpp>
#include <soundhash/db/exec/read_rows.hpp>
#include <soundhash/db/export.hpp>

namespace soundhash::db {

/// One statement of a pipeline and what came of it; for executors.
class SOUNDHASH_DB_EXPORT pipeline_step {
 public:
  pipeline_step(const query& what, params bound) : statement{what}, values{std::move(bound)} {}
  virtual ~pipeline_step();
  pipeline_step(const pipeline_step&) = delete;
  pipeline_step& operator=(const pipeline_step&) = delete;

  /// Decodes the rows. Throws: decode_error, cardinality_error.
  virtual void read(const result& rows) = 0;
  /// Throws: the failure, when there is one; invalid_argument when it has not run.
  void require_answer() const;

  const query statement;
  const params values;
  bool answered = false;         ///< it ran
  std::exception_ptr failure{};  ///< and this is why it has no value
};

/// The answer of one statement of a pipeline, there once the pipeline was executed.
/// Thread safety: as a shared_ptr. It may outlive the pipeline.
template <class T>
class pipelined {
 public:
  /// Throws: what the statement's own failure is; invalid_argument before the pipeline was
  /// executed.
  [[nodiscard]] T& get() const {
    step_->require_answer();
    return *step_->value;
  }
  /// False before the pipeline was executed, and when this statement failed.
  [[nodiscard]] bool ok() const noexcept { return step_->answered && !step_->failure; }

 private:
  friend class pipeline;
  struct step : pipeline_step {
    using pipeline_step::pipeline_step;
    std::optional<T> value{};
  };
  template <class Decode>
  struct decoding_step final : step {
    decoding_step(const query& what, params bound, Decode how)
        : step{what, std::move(bound)}, decode{how} {}
    void read(const result& rows) override { decode(rows, this->value); }
    Decode decode;
  };
  explicit pipelined(std::shared_ptr<step> of) : step_{std::move(of)} {}

  std::shared_ptr<step> step_;
};

/// Statements that do not depend on each other, to be executed in one round trip:
/// ```
/// pipeline batch;
/// auto first = batch.maybe<video>(by_id, {1});
/// auto second = batch.maybe<video>(by_id, {2});
/// db.execute(batch);
/// use(first.get(), second.get());
/// ```
/// Thread safety: one thread at a time.
class SOUNDHASH_DB_EXPORT pipeline {
 public:
  pipeline();
  ~pipeline();
  pipeline(pipeline&&) noexcept;
  pipeline& operator=(pipeline&&) noexcept;

  /// Add a statement, to be read as the verb of executor of the same name would.
  template <readable_row T>
  pipelined<T> one(const query& statement, params values = {}) {
    return add<T>(statement, std::move(values), detail::read_one<T>);
  }
  template <readable_row T>
  pipelined<std::optional<T>> maybe(const query& statement, params values = {}) {
    return add<std::optional<T>>(statement, std::move(values),
                                 [](const result& rows, std::optional<std::optional<T>>& to) {
                                   detail::read_maybe(rows, to.emplace());
                                 });
  }
  template <readable_row T>
  pipelined<std::vector<T>> all(const query& statement, params values = {}) {
    return add<std::vector<T>>(statement, std::move(values),
                               [](const result& rows, std::optional<std::vector<T>>& to) {
                                 detail::read_all(rows, to.emplace());
                               });
  }
  /// The number of rows that the statement touched.
  pipelined<std::uint64_t> execute(const query& statement, params values = {});

  [[nodiscard]] std::size_t size() const noexcept { return steps_.size(); }

 private:
  friend class executor;

  template <class T, class Decode>
  pipelined<T> add(const query& statement, params values, Decode decode) {
    auto step = std::make_shared<typename pipelined<T>::template decoding_step<Decode>>(
        statement, std::move(values), decode);
    steps_.push_back(step);
    return pipelined<T>{std::move(step)};
  }

  std::vector<std::shared_ptr<pipeline_step>> steps_;
};

}  // namespace soundhash::db
