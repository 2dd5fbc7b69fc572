#pragma once

#include <soundhash/db/core/error.hpp>
#include <soundhash/db/exec/transaction.hpp>

namespace soundhash::db {

/// Marks that the body of `with_transaction` runs on this thread, so that calls of a database
/// inside it leave to the body what the body would run again for: one failure is tried again by one
/// layer, and tries do not multiply. Lives on the stack of that thread.
class retry_layer {
 public:
  /// Lifetime: `options` must outlive this object.
  explicit retry_layer(const transaction_options& options) noexcept;
  ~retry_layer();
  retry_layer(const retry_layer&) = delete;
  retry_layer& operator=(const retry_layer&) = delete;

  /// Will a body that runs on this thread run again when this failure leaves it?
  [[nodiscard]] static bool takes(const error& failure);

 private:
  const transaction_options& options_;
  const retry_layer* const outer_;
};

}  // namespace soundhash::db
