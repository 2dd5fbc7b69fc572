#pragma once

#include <functional>
#include <stop_token>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include <soundhash/db/database_options.hpp>

namespace soundhash::db {

/// Waits for notifications of new jobs (migration 0101) on a connection and a thread of its own,
/// and connects again when the connection ends. Calls `wake` for each that is about one of the
/// types, and whenever it begins to listen: what came before was missed.
/// Thread safety: construction and destruction by one thread.
class job_listener {
 public:
  job_listener(const database_options& options, std::vector<std::string> job_types,
               std::function<void()> wake);

 private:
  void run(const std::stop_token& stop);
  void listen(const std::stop_token& stop);
  void note_change(bool listening, std::string_view why);

  const database_options options_;
  const std::vector<std::string> job_types_;
  const std::function<void()> wake_;
  bool listening_ = false;
  bool complained_ = false;  // that it does not listen
  std::jthread thread_;      // last: it uses the others
};

}  // namespace soundhash::db
