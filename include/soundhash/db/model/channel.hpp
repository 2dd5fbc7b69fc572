#pragma once

#include <concepts>
#include <cstdint>
#include <optional>
#include <string>
#include <tuple>

#include <soundhash/db/core/row_traits.hpp>
#include <soundhash/db/core/timestamp.hpp>

namespace soundhash::db {

/// A row of `channels`: one YouTube channel.
struct channel {
  std::int32_t id = 0;
  std::string channel_id;  ///< YouTube's identifier, unique, at most 255 characters
  std::optional<std::string> channel_name;
  std::optional<std::string> description;
  std::optional<std::int32_t> subscriber_count;
  std::optional<std::int32_t> video_count;
  std::optional<timestamp> created_at;
  std::optional<timestamp> updated_at;
  std::optional<timestamp> last_processed;
  std::optional<bool> is_active;
};

template <std::same_as<channel> T>
struct row_traits<T> {
  static constexpr auto columns = std::tuple{column{"id", &T::id},
                                             column{"channel_id", &T::channel_id},
                                             column{"channel_name", &T::channel_name},
                                             column{"description", &T::description},
                                             column{"subscriber_count", &T::subscriber_count},
                                             column{"video_count", &T::video_count},
                                             column{"created_at", &T::created_at},
                                             column{"updated_at", &T::updated_at},
                                             column{"last_processed", &T::last_processed},
                                             column{"is_active", &T::is_active}};
};

/// What a channel is created from; created_at and updated_at are the server's clock in UTC.
struct new_channel {
  std::string channel_id{};                   ///< at most 255 characters
  std::optional<std::string> channel_name{};  ///< at most 500 characters
  std::optional<std::string> description{};
  std::optional<std::int32_t> subscriber_count{};
  std::optional<std::int32_t> video_count{};
  std::optional<timestamp> last_processed{};
  bool is_active = true;
};

/// What to change of a channel: a member that is not set leaves its column as it is.
struct channel_changes {
  std::optional<std::string> channel_name{};  ///< at most 500 characters
  std::optional<std::string> description{};
  std::optional<std::int32_t> subscriber_count{};
  std::optional<std::int32_t> video_count{};
  std::optional<bool> is_active{};
};

}  // namespace soundhash::db
