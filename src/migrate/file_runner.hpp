#pragma once

#include <chrono>
#include <cstddef>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include <soundhash/db/core/function_ref.hpp>
#include <soundhash/db/migrate/migrator.hpp>

#include "migrate/advisory_lock.hpp"
#include "migrate/history_table.hpp"
#include "migrate/migration_file.hpp"
#include "migrate/session.hpp"

namespace soundhash::db::migrate {

/// One file to run.
struct file_run {
  const migration_file& file;
  migration_direction direction;
  const migration_record* begun;  ///< its row of the history, or nullptr

  [[nodiscard]] const migration_script& script() const {
    return direction == migration_direction::up ? file.up : *file.down;
  }
  /// The statements that a half-applied file has behind it.
  [[nodiscard]] std::size_t statements_done() const;
};

/// SHA-256 over the first `count` statements, for a half-applied file. Empty for none.
std::string done_checksum(const std::vector<sql_statement>& statements, std::size_t count);

/// Runs files on a session that holds the migration lock.
/// Thread safety: one thread at a time. What it is given must outlive it.
class file_runner {
 public:
  file_runner(session& on, advisory_lock& lock, const migrator_options& options)
      : on_{on}, lock_{lock}, options_{options}, records_{on} {}

  /// Runs one file and records it.
  /// Throws: migration_error: migration_failed when nothing of it remains, migration_half_applied
  /// when a non-transactional file stopped or changed where it was already done.
  void run(const file_run& what);

 private:
  void run_in_transaction(const file_run& what);
  void transaction_once(const file_run& what);
  void run_stepwise(const file_run& what);
  void run_step(const file_run& what, std::size_t index, bool resumed);
  bool run_step_in_transaction(const file_run& what, std::size_t index);
  void run_step_alone(const file_run& what, std::size_t index);
  void check_done(const file_run& what) const;
  void note_failure(const file_run& what, const error& failure) noexcept;

  void record_end(const file_run& what);
  void set_done(std::size_t done);
  void record_step(std::size_t done);
  void with_lock_retries(const file_run& what, function_ref<void()> attempt);
  void set_limits(const migration_script& script, std::string_view scope);
  void tell(const file_run& what, migration_event::kind kind, std::string detail = {}) const;
  [[nodiscard]] std::string failure_text(const file_run& what, const error& failure) const;
  [[nodiscard]] std::chrono::milliseconds elapsed() const;

  session& on_;
  advisory_lock& lock_;
  const migrator_options& options_;
  history_table records_;

  // Of the file at work:
  std::vector<sql_statement> statements_;
  migration_record row_;
  std::size_t statement_ = 0;  // from 1; 0: before the first
  std::size_t completed_ = 0;  // statements that are done and recorded
  std::chrono::steady_clock::time_point started_;
};

}  // namespace soundhash::db::migrate
