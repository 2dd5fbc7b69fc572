// A service watches every statement: here it counts rows by query, a tracer would open and close
// spans in the same two places.

#include <iostream>
#include <map>
#include <memory>
#include <mutex>
#include <string>

#include <soundhash/db.hpp>
#include <soundhash/db/migrate/migrator.hpp>

namespace sdb = soundhash::db;

class row_counter final : public sdb::interceptor {
 public:
  void on_finish(const sdb::statement_event& event) override {
    if (event.kind != sdb::statement_kind::user || event.failure != nullptr) return;
    const std::lock_guard lock{mutex_};
    rows_[std::string{event.name}] += event.rows;
  }
  std::uint64_t rows(const std::string& query_name) const {
    const std::lock_guard lock{mutex_};
    const auto found = rows_.find(query_name);
    return found == rows_.end() ? 0 : found->second;
  }

 private:
  mutable std::mutex mutex_;
  std::map<std::string, std::uint64_t> rows_;
};

int main() try {
  auto counter = std::make_shared<row_counter>();
  auto options = sdb::database_options::from_env();
  options.interceptors.push_back(counter);
  sdb::migrator{options}.up();
  auto db = sdb::database::open(options);

  db.channels().create({.channel_id = "UC38IQsAvIsxxjztdMZQtwHA"});
  std::cout << counter->rows("channel.create") << " row\n";
  return counter->rows("channel.create") == 1 ? 0 : 1;
} catch (const sdb::error& problem) {
  std::cerr << problem.what() << '\n';
  return 1;
}
