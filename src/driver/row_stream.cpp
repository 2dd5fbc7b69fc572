#include "driver/row_stream.hpp"

#include <algorithm>
#include <utility>

#include "driver/connection_impl.hpp"

namespace soundhash::db::driver {
namespace {

/// For a session outside a transaction: reading on for longer costs more than connecting anew.
constexpr std::chrono::milliseconds short_rest{10};
/// For one inside: the transaction would be lost with its session.
constexpr std::chrono::seconds long_rest{2};

statement by_row(statement what) {
  what.by_row = true;
  return what;
}

}  // namespace

row_stream::row_stream(connection& on, const statement& what, std::chrono::milliseconds patience,
                       timing* cost)
    : on_{*on.state_},
      what_{by_row(what)},
      stop_{what.stop},
      limits_{what.until, stop_, patience},
      started_{deadline::clock::now()} {
  on_.require_sendable(what_);
  reply_ = on_.start(what_, limits_, cost);
  what_.values = nullptr;  // its caller's
  if (reply_.at_row) {
    rows_ = columns_of(what_.name, reply_.rows.get());
  } else {
    finish();
  }
}

void row_stream::close() noexcept {
  if (std::exchange(done_, true)) return;
  const bool inside = on_.in_transaction || !what_.begin.empty();
  const auto rest = inside ? deadline::in(long_rest) : deadline::in(short_rest);
  on_.read_off(reply_, std::min(rest, what_.until));
}

const result* row_stream::next() {
  if (done_) return nullptr;
  if (!std::exchange(at_first_, false)) {
    current_.reset();  // first, so that the next row gets its memory while it is in the cache
    try {
      on_.read_on(reply_, limits_, what_.name);
    } catch (...) {
      done_ = true;
      throw;
    }
  }
  if (!reply_.at_row) return finish();
  current_ = std::move(reply_.rows);
  point_to(current_.get(), rows_);
  return &rows_;
}

const result* row_stream::finish() {
  done_ = true;
  on_.last_context.elapsed = deadline::clock::now() - started_;
  on_.require_success(reply_, what_, on_.last_context, sent::maybe);
  return nullptr;
}

}  // namespace soundhash::db::driver
