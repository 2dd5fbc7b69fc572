#include "exec/retry_layer.hpp"

#include "exec/retry_policy.hpp"

namespace soundhash::db {
namespace {

thread_local const retry_layer* innermost = nullptr;

}  // namespace

retry_layer::retry_layer(const transaction_options& options) noexcept
    : options_{options}, outer_{innermost} {
  innermost = this;
}

retry_layer::~retry_layer() {
  innermost = outer_;
}

bool retry_layer::takes(const error& failure) {
  for (const auto* layer = innermost; layer != nullptr; layer = layer->outer_) {
    if (rule_for(failure, layer->options_).limit != retry_limit::never) return true;
  }
  return false;
}

}  // namespace soundhash::db
