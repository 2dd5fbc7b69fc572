#include "exec/open_stream.hpp"

#include <string>
#include <utility>

#include <soundhash/db/core/error.hpp>

#include "exec/transaction_impl.hpp"

namespace soundhash::db {

open_stream::open_stream(std::shared_ptr<engine> owner, driver::connection& on,
                         const driver::statement& what, std::chrono::nanoseconds acquired)
    : owner_{std::move(owner)},
      event_{.name = what.name, .sql = what.sql, .acquire = acquired},
      started_{deadline::clock::now()} {
  owner_->watchers().on_start(event_);
  try {
    rows_ = std::make_unique<driver::row_stream>(on, what, owner_->patience(), &cost_);
  } catch (const error& failure) {
    end(&failure);
    throw;
  } catch (...) {
    end(nullptr);
    throw;
  }
}

open_stream::~open_stream() {
  end(nullptr);
}

void open_stream::enter(transaction::impl& around) noexcept {
  around_ = &around;
  around.reading = this;
}

void open_stream::leave() noexcept {
  cut_off_ = true;
  end(nullptr);
}

const result* open_stream::next() {
  owner_->pool().require_own();
  if (cut_off_) throw invalid_argument{"stream", "its transaction ended before its last row"};
  if (ended_) return nullptr;
  try {
    const auto* const row = rows_->next();
    row == nullptr ? end(nullptr) : static_cast<void>(++event_.rows);
    return row;
  } catch (const error& failure) {
    end(&failure);
    throw;
  }
}

void open_stream::end(const error* failure) noexcept {
  if (std::exchange(ended_, true)) return;
  if (owner_->pool().is_parents()) {
    rows_->abandon();
  } else {
    if (rows_) rows_->close();
    session_ = {};
    report(failure);
  }
  if (auto* const around = std::exchange(around_, nullptr)) around->stream_ended(failure);
}

void open_stream::report(const error* failure) noexcept {
  event_.prepare = cost_.prepare;
  event_.execute = deadline::clock::now() - started_ - cost_.prepare;
  event_.failure = failure;
  if (failure != nullptr) event_.sqlstate = failure->sqlstate();
  owner_->watchers().on_finish(event_);
}

}  // namespace soundhash::db
