// Hooks, resizing and the state of the pool.

#include <iostream>
#include <stdexcept>

#include <soundhash/db.hpp>

namespace sdb = soundhash::db;

int main() try {
  auto options = sdb::database_options::from_env();
  options.hooks.on_connect = [](sdb::hooked_session& session) {
    static constexpr sdb::query work_mem{"session.work_mem", "SET work_mem = '32MB'"};
    session.execute(work_mem);
  };
  auto db = sdb::database::open(options);
  db.resize_pool(20, 10);  // at run time
  const auto pool = db.pool_stats();
  std::cout << pool.used << " used, " << pool.idle << " idle, " << pool.waiting << " waiting\n";

  static constexpr sdb::query show{"session.show", "SELECT current_setting('work_mem')",
                                   sdb::access::read_only};
  if (db.one<std::string>(show) != "32MB") throw std::runtime_error{"the hook did not run"};
  if (pool.limit != 30) throw std::runtime_error{"the pool was not resized"};
} catch (const std::exception& problem) {
  std::cerr << problem.what() << '\n';
  return 1;
}
