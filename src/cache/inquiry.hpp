#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <soundhash/db/core/cache_tag.hpp>
#include <soundhash/db/core/deadline.hpp>
#include <soundhash/db/core/query.hpp>

#include "cache/envelope.hpp"
#include "cache/key_space.hpp"
#include "cache/redis_call.hpp"
#include "cache/stamp.hpp"
#include "cache/tag_keys.hpp"

namespace soundhash::db {

/// What Redis says of one value and its tags.
struct inquiry {
  inquiry(const query& of, std::string value_key, const key_space& keys, const tag_set& on)
      : statement{of}, key{std::move(value_key)}, tags{keys, on} {}

  const query& statement;
  std::string key;
  tag_keys tags;

  // Answered by ask().
  std::optional<std::string> stored{};
  std::vector<stamp> stamps{};  ///< of all tags, when `usable`
  bool cold = false;            ///< a tag had no stamp: `stored`, if anything, is not valid
  bool usable = false;          ///< every tag has a stamp, so that a load may be stored under them

  [[nodiscard]] envelope_label label() const noexcept { return {statement, key, stamps}; }
};

/// How the values are wanted.
enum class ask_for : std::uint8_t { values_and_stamps, stamps };

/// Asks for all in one MGET, and gives tags without a stamp one, for `row_tag_life` or, if they are
/// of a table or of all, `table_tag_life`, in one more call when there are such. False: Redis did
/// not answer, or not as it should.
///
/// A new stamp is put by SET NX and read by GET, so that all who meet a cold tag agree; a mark lets
/// neither happen.
[[nodiscard]] bool ask(std::span<inquiry* const> about, ask_for what,
                       std::chrono::milliseconds row_tag_life, redis::caller& server,
                       deadline until);

/// Tags of tables are on every value: their end would end them all, so it comes late.
inline constexpr std::chrono::milliseconds table_tag_life = std::chrono::hours{24 * 30};

}  // namespace soundhash::db
