#include "driver/link.hpp"

#include <chrono>
#include <memory>
#include <utility>

#include <poll.h>

namespace soundhash::db::driver {
namespace {

/// How much later than the server's limit the client gives up: the server's own answer, which
/// keeps the session, shall win whenever the server is alive.
constexpr std::chrono::milliseconds client_grace{100};

bool is_failure(const PGresult* rows) {
  const auto status = PQresultStatus(rows);
  return status == PGRES_FATAL_ERROR || status == PGRES_BAD_RESPONSE ||
         status == PGRES_NONFATAL_ERROR;
}

bool ends_in_copy(const PGresult* rows) {
  const auto status = PQresultStatus(rows);
  return status == PGRES_COPY_IN || status == PGRES_COPY_OUT || status == PGRES_COPY_BOTH;
}

}  // namespace

deadline wait_limits::client_limit() const {
  if (!until.is_never()) return deadline{until.at() + client_grace};
  return patience.count() == 0 ? until : deadline::in(patience);
}

void link::abort() noexcept {
  if (!std::exchange(closed_, true)) socket_.shut_down();
}

std::string link::message() const {
  if (closed_by_copy_) return "a COPY ahead of it closed the session";
  std::string_view message = PQerrorMessage(raw_);
  if (const auto line_end = message.find('\n'); line_end != std::string_view::npos) {
    message = message.substr(0, line_end);
  }
  return message.empty() ? "the server closed the connection" : sanitize(message, 500);
}

void link::throw_lost(std::string_view name, enum sent how_far, std::string_view state,
                      const std::string& why) {
  abort();
  std::string text = "the connection to " + endpoint_ + " was lost";
  if (!name.empty()) text.append(" during query \"").append(name).append("\"");
  throw connection_error{text + ": " + why,
                         {.code = errc::lost,
                          .sent = how_far,
                          .retryable = true,
                          .connection_usable = false,
                          .sqlstate = std::string{state},
                          .query_name = std::string{name}}};
}

void link::throw_interrupted(wake how, std::string_view name) {
  abort();
  interrupted_ = how;
  const auto query_name = std::string{name};
  if (how == wake::stopped) {
    throw cancelled{"query \"" + query_name + "\" was stopped by its caller; its session is closed",
                    {.code = errc::cancelled,
                     .sent = sent::maybe,
                     .connection_usable = false,
                     .query_name = query_name}};
  }
  throw timeout_error{"query \"" + query_name + "\": " + endpoint_ +
                          " did not answer by the deadline; its session is closed",
                      {.code = errc::deadline_exceeded,
                       .sent = sent::maybe,
                       .connection_usable = false,
                       .query_name = query_name}};
}

void link::wait(short events, const wait_limits& limits, std::string_view name) {
  const auto how = wait_for(PQsocket(raw_), events, limits.client_limit(), limits.stop);
  if (how != wake::ready) throw_interrupted(how, name);
}

/// Reads what the socket has. With TLS one record (16 KiB at most) can stay decrypted inside
/// OpenSSL while poll() sees nothing; libpq takes at least 8 KiB a call, so three calls drain it.
/// A false PQconsumeInput is not an error yet: the server's last words may be in the buffer.
void link::consume() {
  const int calls = PQsslInUse(raw_) != 0 ? 3 : 1;
  for (int i = 0; i < calls; ++i) PQconsumeInput(raw_);
}

/// Reads while writing, or both sides could wait for each other with full buffers.
void link::flush(const wait_limits& limits, std::string_view name) {
  for (;;) {
    const int left = PQflush(raw_);
    if (left == 0) return;
    if (left < 0) return;  // the answer, or its absence, tells why
    wait(POLLIN | POLLOUT, limits, name);
    consume();
  }
}

pg_result link::next_result(const wait_limits& limits, std::string_view name) {
  while (PQisBusy(raw_) != 0 && PQstatus(raw_) == CONNECTION_OK) {
    wait(POLLIN, limits, name);
    consume();
  }
  return pg_result{PQgetResult(raw_)};
}

void link::take(pg_result rows, answer& so_far) {
  if (ends_in_copy(rows.get())) {
    abort();
    closed_by_copy_ = true;
    so_far.copies = true;
  } else if (is_failure(rows.get())) {
    if (!so_far.failed) so_far.failed = std::move(rows);
  } else if (PQresultStatus(rows.get()) == PGRES_PIPELINE_ABORTED) {
    so_far.aborted = true;
  } else {
    ++so_far.succeeded;
    so_far.rows = std::move(rows);
  }
}

/// libpq wants to be told between the end of one statement and the beginning of the next; at any
/// other time this does nothing.
void link::begin_statement(const answer& so_far) noexcept {
  if (so_far.by_row && so_far.ended + 1 == so_far.expected) PQsetSingleRowMode(raw_);
}

void link::read_on(answer& so_far, const wait_limits& limits, std::string_view name) {
  require_not_interrupted(name);
  if (closed_by_copy_) return;
  so_far.at_row = false;
  begin_statement(so_far);
  for (;;) {
    auto rows = next_result(limits, name);
    if (!rows) {
      if (PQstatus(raw_) != CONNECTION_OK) return;
      ++so_far.ended;
      so_far.answered = !so_far.pipeline;
      if (so_far.answered || so_far.ended == so_far.until) return;
      begin_statement(so_far);
      continue;
    }
    const auto status = PQresultStatus(rows.get());
    if (status == PGRES_PIPELINE_SYNC) {
      so_far.answered = true;
      return;
    }
    if (status == PGRES_SINGLE_TUPLE) {
      so_far.rows = std::move(rows);
      so_far.at_row = true;
      return;
    }
    take(std::move(rows), so_far);
    if (so_far.copies) return;  // libpq would give the same for ever
  }
}

std::vector<std::string> link::notifications(deadline until, const stop_signal& stop) {
  struct free_memory {
    void operator()(PGnotify* one) const noexcept { PQfreemem(one); }
  };
  using notification = std::unique_ptr<PGnotify, free_memory>;
  for (std::vector<std::string> payloads;;) {
    consume();
    while (const notification next{PQnotifies(raw_)}) payloads.emplace_back(next->extra);
    if (!payloads.empty()) return payloads;
    if (PQstatus(raw_) != CONNECTION_OK) throw_lost("LISTEN", sent::yes, {}, message());
    if (wait_for(PQsocket(raw_), POLLIN, until, stop) != wake::ready) return {};
  }
}

answer link::collect(const wait_limits& limits, std::string_view name) {
  answer all;
  read_on(all, limits, name);
  return all;
}

void link::read_off(answer& so_far, deadline until) noexcept {
  try {
    const stop_signal no_stop{{}};
    const wait_limits limits{deadline{until.at() - client_grace}, no_stop};  // no grace here
    while (!so_far.answered && usable() && !until.passed()) read_on(so_far, limits, {});
  } catch (const std::exception&) {  // the link is closed by now
  }
  if (!so_far.answered) abort();
}

}  // namespace soundhash::db::driver
