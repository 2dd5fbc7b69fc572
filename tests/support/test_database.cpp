#include "support/test_database.hpp"

#include <cstdlib>
#include <mutex>
#include <string>
#include <string_view>

#include <soundhash/db/migrate/migrator.hpp>

namespace soundhash::db::test {

namespace {

/// Migrating once and copying costs a tenth of migrating each time.
const std::string& migrated_template() {
  static const std::string name = [] {
    const auto options = empty_database_options();
    migrator{options}.up();
    return options.name;
  }();
  return name;
}

database_options new_database(const std::string& template_name) {
  static std::mutex one_at_a_time;
  static int count = 0;
  const std::lock_guard lock{one_at_a_time};
  const auto name = "test_" + std::to_string(++count);
  server().create_database(name, template_name);
  return server().options(name);
}

bool is_pooled() {
  const char* wish = std::getenv("SOUNDHASH_TEST_POOLER");
  return wish != nullptr && wish == std::string_view{"1"};
}

}  // namespace

testing::private_postgres& server() {
  static testing::private_postgres started;
  return started;
}

private_pgbouncer& pooler() {
  // Some tests hold two sessions and look at them from a third.
  static private_pgbouncer started{server().options(), {{"default_pool_size", "4"}}};
  return started;
}

database_options empty_database_options() {
  return new_database("");
}

database_options fresh_database_options() {
  const auto direct = new_database(migrated_template());
  return is_pooled() ? pooler().options(direct.name) : direct;
}

database fresh_database() {
  return database::open(fresh_database_options());
}

}  // namespace soundhash::db::test
