#pragma once

#include <memory>
#include <type_traits>
#include <utility>

namespace soundhash::db {

template <class Signature>
class function_ref;

/// A non-owning reference to a callable, as std::function_ref of C++26.
/// Lifetime: the callable must outlive it; meant for parameters only.
template <class R, class... Args>
class function_ref<R(Args...)> {
 public:
  template <class F>
  requires(std::is_invocable_r_v<R, F&, Args...> &&
           !std::is_same_v<std::remove_cvref_t<F>, function_ref>) function_ref(F&& callable)
  noexcept  // NOLINT(google-explicit-constructor)
      : object_{const_cast<void*>(static_cast<const void*>(std::addressof(callable)))},
        call_{[](void* object, Args... args) -> R {
          return (*static_cast<std::remove_reference_t<F>*>(object))(std::forward<Args>(args)...);
        }} {}

  R operator()(Args... args) const { return call_(object_, std::forward<Args>(args)...); }

 private:
  void* object_;
  R (*call_)(void*, Args...);
};

}  // namespace soundhash::db
