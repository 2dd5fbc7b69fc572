// libpqxx code on a pooled, configured, counted connection.

#include <iostream>
#include <pqxx/pqxx>

#include <soundhash/db.hpp>
#include <soundhash/db/native.hpp>

namespace sdb = soundhash::db;

int main() try {
  auto db = sdb::database::open(sdb::database_options::from_env());
  auto lease = db.acquire();
  pqxx::work tx{sdb::native(lease)};
  const auto sum = tx.exec("SELECT sum(n) FROM generate_series(1, 100) n")[0][0].as<int>();
  tx.commit();
  std::cout << sum << '\n';
  return sum == 5050 ? 0 : 1;
} catch (const std::exception& problem) {
  std::cerr << problem.what() << '\n';
  return 1;
}
