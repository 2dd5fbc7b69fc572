#pragma once

#include <deque>
#include <exception>
#include <map>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include <soundhash/db/exec/executor.hpp>
#include <soundhash/db/export.hpp>
#include <soundhash/db/testing/rows.hpp>

namespace soundhash::db::testing {

/// The code under test and the test's script disagree. Not a `soundhash::db::error`, so that code
/// which handles database errors does not swallow it.
class SOUNDHASH_DB_EXPORT unexpected_query : public std::logic_error {
 public:
  using std::logic_error::logic_error;
  ~unexpected_query() override;
};

/// One statement that the code under test ran.
struct recorded_call {
  std::string query_name;
  /// The bound values in the form in which they travel: scalars as text, bytes and arrays in
  /// binary; nullopt for NULL.
  std::vector<std::optional<std::string>> parameters;
};

/// An executor without a database, for unit tests of repositories:
/// ```
/// fake_executor fake;
/// fake.expect("tag.find", rows{"id", "label"}.add(7, "live"));
/// tag_repository tags{fake};
/// EXPECT_EQ(tags.find("live")->id, 7);
/// EXPECT_EQ(fake.calls().at(0).parameters.at(0), "live");
/// fake.verify();
/// ```
/// Answers of one query name are given in the order in which they were expected; different names
/// may come in any order.
/// Thread safety: one thread at a time.
class SOUNDHASH_DB_EXPORT fake_executor final : public executor {
 public:
  fake_executor();
  ~fake_executor() override;

  /// The next call of this query answers so.
  fake_executor& expect(std::string_view query_name, rows found = {});

  /// The next call of this query throws a copy of `failure`.
  template <class Exception>
  requires std::derived_from<Exception, std::exception> fake_executor& expect_error(
      std::string_view query_name, Exception failure) {
    return expect_thrown(query_name, std::make_exception_ptr(std::move(failure)));
  }

  /// All statements so far, the unexpected ones too.
  [[nodiscard]] const std::vector<recorded_call>& calls() const noexcept { return calls_; }
  /// How often the body of `atomically` ended well, and how often by an exception.
  [[nodiscard]] int commits() const noexcept { return commits_; }
  [[nodiscard]] int rollbacks() const noexcept { return rollbacks_; }

  /// Throws: unexpected_query when a query came that was not expected, or one that was did not.
  void verify() const;

 private:
  using answer = std::variant<rows, std::exception_ptr>;

  fake_executor& expect_thrown(std::string_view query_name, std::exception_ptr failure);
  answer next_answer(const query& statement);
  [[nodiscard]] std::string outstanding() const;

  void run(const query& statement, const params& values, const call_options& options,
           function_ref<void(const result&)> consume) override;
  void run_atomically(const call_options& options, function_ref<void(executor&)> body) override;

  std::map<std::string, std::deque<answer>, std::less<>> script_;
  std::vector<recorded_call> calls_;
  std::string first_problem_;
  int commits_ = 0;
  int rollbacks_ = 0;
};

}  // namespace soundhash::db::testing
