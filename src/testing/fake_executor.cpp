#include <utility>

#include <soundhash/db/testing/fake_executor.hpp>

namespace soundhash::db::testing {

namespace {

recorded_call record_of(const query& statement, const params& values) {
  recorded_call call{std::string{statement.name()}, {}};
  for (std::size_t i = 0; i < values.size(); ++i) {
    const auto value = values[i];
    if (value.data == nullptr) {
      call.parameters.emplace_back();
    } else {
      call.parameters.emplace_back(std::in_place, value.data, value.size);
    }
  }
  return call;
}

}  // namespace

unexpected_query::~unexpected_query() = default;

fake_executor::fake_executor() = default;

fake_executor::~fake_executor() = default;

fake_executor& fake_executor::expect(std::string_view query_name, rows found) {
  script_[std::string{query_name}].emplace_back(std::move(found));
  return *this;
}

fake_executor& fake_executor::expect_thrown(std::string_view query_name,
                                            std::exception_ptr failure) {
  script_[std::string{query_name}].emplace_back(std::move(failure));
  return *this;
}

std::string fake_executor::outstanding() const {
  std::string names;
  for (const auto& [name, answers] : script_) {
    if (answers.empty()) continue;
    names += (names.empty() ? "" : ", ") + name + " x" + std::to_string(answers.size());
  }
  return names.empty() ? "nothing" : names;
}

void fake_executor::verify() const {
  if (!first_problem_.empty()) throw unexpected_query{first_problem_};
  if (const auto names = outstanding(); names != "nothing") {
    throw unexpected_query{"expected queries that did not come: " + names};
  }
}

fake_executor::answer fake_executor::next_answer(const query& statement) {
  const auto at = script_.find(statement.name());
  if (at == script_.end() || at->second.empty()) {
    const auto problem = "unexpected query \"" + std::string{statement.name()} +
                         "\"; still expected: " + outstanding();
    if (first_problem_.empty()) first_problem_ = problem;
    throw unexpected_query{problem};
  }
  auto next = std::move(at->second.front());
  at->second.pop_front();
  return next;
}

void fake_executor::run(const query& statement, const params& values, const call_options&,
                        function_ref<void(const result&)> consume) {
  calls_.push_back(record_of(statement, values));
  const auto next = next_answer(statement);
  if (const auto* failure = std::get_if<std::exception_ptr>(&next))
    std::rethrow_exception(*failure);
  consume(std::get<rows>(next).build(statement.name()));
}

void fake_executor::run_atomically(const call_options&, function_ref<void(executor&)> body) {
  try {
    body(*this);
  } catch (...) {
    ++rollbacks_;
    throw;
  }
  ++commits_;
}

}  // namespace soundhash::db::testing
