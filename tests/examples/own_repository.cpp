// A service's own table beside the library's: the repository works on the database, in a
// transaction, and in a unit test without any server.

#include <iostream>
#include <stdexcept>

#include <soundhash/db.hpp>
#include <soundhash/db/testing/fake_executor.hpp>

#include "tag_repository.hpp"

namespace sdb = soundhash::db;
using service::tag;
using service::tag_repository;

namespace {

constexpr sdb::query create_table{
    "tag.create_table",
    "CREATE TABLE tags (id serial PRIMARY KEY, label text NOT NULL UNIQUE, weight float8)"};

void require(bool holds, const char* what) {
  if (!holds) throw std::runtime_error{what};
}

void on_a_server() {
  auto db = sdb::database::open(sdb::database_options::from_env());
  db.execute(create_table);
  tag_repository{db}.create("live", 0.5);
  db.with_transaction([](sdb::transaction& tx) {
    tag_repository tags{tx};
    tags.create("cover", {});
    tags.create("remix", 1.0);
  });
  const auto found = tag_repository{db}.with_labels({"live", "cover", "none"});
  require(found.size() == 2 && found.front().label == "cover" && !found.front().weight, "two tags");
}

void without_a_server() {
  sdb::testing::fake_executor fake;
  fake.expect("tag.find", sdb::testing::rows{"id", "label", "weight"}.add(7, "live", 0.5));
  tag_repository tags{fake};
  require(tags.find("live")->id == 7, "the row that was scripted");
  require(fake.calls().at(0).parameters.at(0) == "live", "the label was bound");
  fake.verify();
}

}  // namespace

int main() try {
  without_a_server();
  on_a_server();
  std::cout << "tags work\n";
} catch (const std::exception& problem) {
  std::cerr << problem.what() << '\n';
  return 1;
}
