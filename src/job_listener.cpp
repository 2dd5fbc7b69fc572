#include "job_listener.hpp"

#include <algorithm>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <random>
#include <utility>

#include <spdlog/logger.h>

#include <soundhash/db/core/deadline.hpp>
#include <soundhash/db/observe/logger.hpp>

#include "conninfo_from_options.hpp"
#include "core/backoff.hpp"
#include "driver/connection.hpp"

namespace soundhash::db {
namespace {

void pause_for(std::chrono::nanoseconds span, const std::stop_token& stop) {
  std::mutex mutex;
  std::condition_variable_any never;
  std::unique_lock lock{mutex};
  never.wait_for(lock, stop, span, [] { return false; });
}

}  // namespace

job_listener::job_listener(const database_options& options, std::vector<std::string> job_types,
                           std::function<void()> wake)
    : options_{options},
      job_types_{std::move(job_types)},
      wake_{std::move(wake)},
      thread_{[this](const std::stop_token& stop) { run(stop); }} {}

void job_listener::run(const std::stop_token& stop) {
  for (backoff pauses{std::random_device{}()}; !stop.stop_requested();) {
    try {
      listen(stop);
    } catch (const std::exception& failure) {
      if (std::exchange(listening_, false)) pauses.reset();
      note_change(false, failure.what());
      pause_for(pauses.next(), stop);
    }
  }
}

void job_listener::listen(const std::stop_token& stop) {
  const auto until = [&] { return deadline::in(options_.pool.connect_timeout); };
  const auto session = driver::connection::open(session_conninfo(options_), until());
  session->command("LISTEN soundhash_jobs", until());
  listening_ = true;
  note_change(true, {});
  wake_();
  while (!stop.stop_requested()) {
    const auto types = session->notifications(deadline::never(), stop);
    if (std::find_first_of(types.begin(), types.end(), job_types_.begin(), job_types_.end()) !=
        types.end()) {
      wake_();
    }
  }
}

void job_listener::note_change(bool listening, std::string_view why) {
  if (listening != complained_) return;
  complained_ = !listening;
  if (listening) {
    logger()->info("jobs: the server tells again of new jobs");
  } else {
    logger()->warn("jobs: new jobs are found by polling alone until the server tells of them: {}",
                   why);
  }
}

}  // namespace soundhash::db
