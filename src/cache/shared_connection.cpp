#include "cache/shared_connection.hpp"

#include <algorithm>
#include <exception>
#include <utility>

#include "cache/futex.hpp"

namespace soundhash::db::redis {
namespace {

constexpr const char* silence = "no answer within the command timeout";

/// Counts a caller while it is in.
class presence {
 public:
  explicit presence(std::atomic<unsigned>& callers) : callers_{callers} {
    callers_.fetch_add(1, std::memory_order_relaxed);
  }
  ~presence() { callers_.fetch_sub(1, std::memory_order_relaxed); }
  presence(const presence&) = delete;
  presence& operator=(const presence&) = delete;

 private:
  std::atomic<unsigned>& callers_;
};

}  // namespace

/// The commands of one call, on their way. Kept alive by the connection after its caller has left.
struct shared_connection::batch {
  enum class state : std::uint8_t { waiting, asleep, leading, answered, failed };

  batch(std::size_t wanted, std::uint32_t its_signal, deadline leaves_at, deadline silence_ends)
      : expected{wanted}, signal{its_signal}, until{leaves_at}, budget{silence_ends} {
    answers.reserve(wanted);
  }

  [[nodiscard]] bool complete() const noexcept { return answers.size() == expected; }

  /// Tells the caller; returns the signal that wakes it, or 0 when it is awake.
  std::uint32_t tell(state news) noexcept {
    return word.exchange(news, std::memory_order_acq_rel) == state::asleep ? signal : 0U;
  }

  const std::size_t expected;
  const std::uint32_t signal;  // one bit, which others may have too
  const deadline until;        // its caller leaves
  const deadline budget;       // the server was silent for too long
  std::vector<reply> answers;  // the leader's, until the caller is told
  std::atomic<state> word = state::waiting;
  bool abandoned = false;  // under the mutex
};

shared_connection::shared_connection(std::unique_ptr<link> established,
                                     std::chrono::nanoseconds budget)
    : budget_{budget}, link_{std::move(established)} {
  link_->ignore_interruption();
}

shared_connection::~shared_connection() = default;

std::string shared_connection::failure() const {
  const std::lock_guard lock{mutex_};
  return failure_;
}

shared_connection::outcome shared_connection::call(std::span<const command> commands,
                                                   deadline::clock::time_point now, deadline until,
                                                   std::vector<reply>& answers) {
  const presence here{callers_};
  const deadline budget{now + budget_};
  const auto own =
      std::make_shared<batch>(commands.size(), next_signal(), std::min(until, budget), budget);
  lock_type lock{mutex_};
  if (!failure_.empty()) return outcome::failed;
  enqueue(commands, own);
  outcome ended{};
  if (led_) {
    lock.unlock();
    ended = follow(*own);
  } else {
    led_ = true;
    ended = lead(lock, *own);
  }
  if (ended == outcome::answered) answers = std::move(own->answers);
  return ended;
}

std::uint32_t shared_connection::next_signal() noexcept {
  return 1U << (signals_.fetch_add(1, std::memory_order_relaxed) % 32U);
}

/// All or nothing, also when memory runs out.
void shared_connection::enqueue(std::span<const command> commands, const batch_ptr& own) {
  const auto before = unsent_.size();
  queued_.push_back(own);
  try {
    for (const auto& each : commands) each.append_to(unsent_);
  } catch (...) {
    unsent_.resize(before);
    queued_.pop_back();
    throw;
  }
}

shared_connection::outcome shared_connection::follow(batch& own) {
  for (;;) {
    const auto seen = told_.load(std::memory_order_acquire);
    auto word = batch::state::waiting;
    own.word.compare_exchange_strong(word, batch::state::asleep, std::memory_order_acq_rel);
    if (word == batch::state::answered) return outcome::answered;
    if (word == batch::state::failed) return outcome::failed;
    if (word == batch::state::leading) {
      lock_type lock{mutex_};
      return lead(lock, own);
    }
    if (!futex_wait(told_, seen, own.signal, own.until)) return leave(own);
  }
}

/// The deadline has passed; the last word is what stands under the mutex.
shared_connection::outcome shared_connection::leave(batch& own) {
  lock_type lock{mutex_};
  switch (own.word.load(std::memory_order_acquire)) {
    case batch::state::answered:
      return outcome::answered;
    case batch::state::failed:
      return outcome::failed;
    case batch::state::leading:
      return lead(lock, own);
    default:
      own.abandoned = true;
      if (own.until < own.budget) return outcome::left;
      // The one who leads sees the same a moment later; until then nobody else may come.
      if (failure_.empty()) failure_ = silence;
      return outcome::failed;
  }
}

shared_connection::outcome shared_connection::lead(lock_type& lock, batch& own) {
  try {
    const auto ended = lead_until_answered(lock, own);
    own.abandoned = ended == outcome::left;
    send_queued(lock);
    hand_over(lock);
    return ended;
  } catch (const std::exception& failure) {
    if (!lock.owns_lock()) lock.lock();
    fail(lock, failure.what());
    return outcome::failed;
  }
}

/// With the mutex held at the beginning and at the end.
shared_connection::outcome shared_connection::lead_until_answered(lock_type& lock, batch& own) {
  for (bool last = false; !own.complete();) {
    if (last) return outcome::left;
    adopt();
    lock.unlock();
    last = own.until.passed();
    progress(own);
    lock.lock();
  }
  return outcome::answered;
}

/// Takes over what was queued, in the order in which it will be sent.
void shared_connection::adopt() {
  auto& output = link_->output();
  if (output.empty()) {
    output.swap(unsent_);
  } else {
    output += unsent_;
  }
  unsent_.clear();
  in_flight_.insert(in_flight_.end(), std::make_move_iterator(queued_.begin()),
                    std::make_move_iterator(queued_.end()));
  queued_.clear();
}

/// The server works while the next leader wakes up. Unlocks and locks again.
void shared_connection::send_queued(lock_type& lock) {
  if (queued_.empty()) return;
  adopt();
  lock.unlock();
  link_->flush();
  lock.lock();
}

/// One step: sends, waits once, delivers what came. While bytes come, only the leader's own budget
/// ends the connection: what callers who left have asked for may lie there unread since long ago.
void shared_connection::progress(const batch& own) {
  link_->flush();
  const bool came = link_->wait(std::min(own.until, in_flight_.front()->budget));
  if (came) {
    link_->flush();
    link_->receive();
    while (auto answer = link_->next()) deliver(std::move(*answer));
    wake_answered();
  }
  if (own.complete()) return;
  const auto& silent_at = came ? own.budget : in_flight_.front()->budget;
  if (silent_at.passed()) throw link_error{silence};
}

void shared_connection::deliver(reply answer) {
  if (in_flight_.empty()) throw link_error{"broken answer: nobody had asked"};
  auto& first = *in_flight_.front();
  first.answers.push_back(std::move(answer));
  if (!first.complete()) return;
  answered_.push_back(std::move(in_flight_.front()));
  in_flight_.pop_front();
}

void shared_connection::wake_answered() noexcept {
  std::uint32_t signals = 0;
  for (const auto& each : answered_) signals |= each->tell(batch::state::answered);
  answered_.clear();
  wake(signals);
}

void shared_connection::wake(std::uint32_t signals) noexcept {
  if (signals == 0) return;
  told_.fetch_add(1, std::memory_order_release);  // for those who are just falling asleep
  futex_wake(told_, signals);
}

shared_connection::batch_ptr shared_connection::next_leader() {
  const auto stays = [](const batch_ptr& each) { return !each->abandoned; };
  for (const auto* line : {&in_flight_, &queued_}) {
    const auto found = std::ranges::find_if(*line, stays);
    if (found != line->end()) return *found;
  }
  return nullptr;
}

/// Unlocks.
void shared_connection::hand_over(lock_type& lock) noexcept {
  const auto next = next_leader();
  led_ = next != nullptr;
  const auto signal = next ? next->tell(batch::state::leading) : 0U;
  lock.unlock();
  wake(signal);
}

/// Unlocks.
void shared_connection::fail(lock_type& lock, const char* why) {
  failure_ = why;
  link_.reset();
  answered_.insert(answered_.end(), in_flight_.begin(), in_flight_.end());
  answered_.insert(answered_.end(), queued_.begin(), queued_.end());
  in_flight_.clear();
  queued_.clear();
  const auto all = std::exchange(answered_, {});
  lock.unlock();
  std::uint32_t signals = 0;
  for (const auto& each : all) signals |= each->tell(batch::state::failed);
  wake(signals);
}

}  // namespace soundhash::db::redis
