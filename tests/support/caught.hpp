#pragma once

#include <stdexcept>
#include <typeinfo>
#include <utility>

namespace soundhash::db::test {

/// The exception of exactly type E that `run` throws; another type passes through.
/// Throws: logic_error when nothing is thrown.
template <class E, class F>
E caught(F&& run) {
  try {
    std::forward<F>(run)();
  } catch (const E& e) {
    if (typeid(e) != typeid(E)) throw;
    return e;
  }
  throw std::logic_error{"nothing was thrown"};
}

}  // namespace soundhash::db::test
