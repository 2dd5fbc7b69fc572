#include "support/sql.hpp"

#include <chrono>
#include <optional>

#include "conninfo_from_options.hpp"

namespace soundhash::db::test {
namespace {

deadline soon() {
  return deadline::in(std::chrono::seconds{30});
}

}  // namespace

std::unique_ptr<driver::connection> connect(const database_options& options) {
  return driver::connection::open(session_conninfo(options), soon());
}

void execute(const database_options& options, std::string_view sql) {
  connect(options)->command(sql, soon());
}

std::string query_text(driver::connection& on, std::string_view sql) {
  const auto rows = on.run({.name = {}, .sql = sql, .until = soon()});
  std::string text;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    for (std::size_t c = 0; c < rows.columns().size(); ++c) {
      if (c > 0) text += " | ";
      text += rows[i][c].as<std::optional<std::string>>().value_or("NULL");
    }
    text += '\n';
  }
  return text;
}

std::string query_text(const database_options& options, std::string_view sql) {
  return query_text(*connect(options), sql);
}

}  // namespace soundhash::db::test
