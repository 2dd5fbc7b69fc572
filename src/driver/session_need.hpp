#pragma once

#include <string_view>

namespace soundhash::db::driver {

/// What a statement wants of a session that lasts: "SET", "LISTEN", "an advisory lock of the
/// session". A pooler that gives each transaction another session would lose it, or leave it to a
/// stranger. Empty: nothing. Goes by the first words and by the names of functions, so that a
/// function of the database that does such a thing inside is not found.
std::string_view session_need(std::string_view sql);

/// Why a statement cannot run by itself, with or without a pooler: it has a protocol of its own, or
/// begins what would end unseen. Empty: it can. Goes by the first words.
std::string_view misuse(std::string_view sql);

}  // namespace soundhash::db::driver
