#pragma once

#include <memory>
#include <string>
#include <string_view>

#include <soundhash/db/database_options.hpp>

#include "driver/connection.hpp"

namespace soundhash::db::test {

/// A session of the test's own, beside the code under test.
std::unique_ptr<driver::connection> connect(const database_options& options);

/// Runs SQL without parameters, several statements too.
void execute(const database_options& options, std::string_view sql);

/// The rows of a query whose columns are all text: cells joined by " | ", rows by line ends.
std::string query_text(driver::connection& on, std::string_view sql);
std::string query_text(const database_options& options, std::string_view sql);

}  // namespace soundhash::db::test
