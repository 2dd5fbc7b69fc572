#pragma once

#include <concepts>
#include <cstdint>
#include <optional>
#include <string>
#include <tuple>

#include <soundhash/db/core/row_traits.hpp>
#include <soundhash/db/core/timestamp.hpp>
#include <soundhash/db/model/channel.hpp>

namespace soundhash::db {

/// A row of `videos`.
struct video {
  std::int32_t id = 0;
  std::string video_id;         ///< YouTube's identifier, unique, at most 255 characters
  std::int32_t channel_id = 0;  ///< channels.id
  std::optional<std::string> title;
  std::optional<std::string> description;
  std::optional<double> duration;  ///< seconds
  std::optional<std::int32_t> view_count;
  std::optional<std::int32_t> like_count;
  std::optional<timestamp> upload_date;
  std::optional<std::string> url;
  std::optional<std::string> thumbnail_url;
  std::optional<bool> processed;
  std::optional<timestamp> processing_started;
  std::optional<timestamp> processing_completed;
  std::optional<std::string> processing_error;
  std::optional<timestamp> created_at;
  std::optional<timestamp> updated_at;
};

template <std::same_as<video> T>
struct row_traits<T> {
  static constexpr auto columns =
      std::tuple{column{"id", &T::id},
                 column{"video_id", &T::video_id},
                 column{"channel_id", &T::channel_id},
                 column{"title", &T::title},
                 column{"description", &T::description},
                 column{"duration", &T::duration},
                 column{"view_count", &T::view_count},
                 column{"like_count", &T::like_count},
                 column{"upload_date", &T::upload_date},
                 column{"url", &T::url},
                 column{"thumbnail_url", &T::thumbnail_url},
                 column{"processed", &T::processed},
                 column{"processing_started", &T::processing_started},
                 column{"processing_completed", &T::processing_completed},
                 column{"processing_error", &T::processing_error},
                 column{"created_at", &T::created_at},
                 column{"updated_at", &T::updated_at}};
};

/// A video and the channel it belongs to, read together.
struct video_with_channel {
  db::video video;
  db::channel channel;
};

template <std::same_as<video_with_channel> T>
struct row_traits<T> {
  static constexpr auto columns =
      std::tuple{column{"", &T::video}, column{"channel.", &T::channel}};
};

/// What a video is created from; created_at and updated_at are the server's clock in UTC.
struct new_video {
  std::string video_id{};              ///< at most 255 characters
  std::int32_t channel_id = 0;         ///< channels.id
  std::optional<std::string> title{};  ///< at most 1000 characters
  std::optional<std::string> description{};
  std::optional<double> duration{};  ///< seconds, finite
  std::optional<std::int32_t> view_count{};
  std::optional<std::int32_t> like_count{};
  std::optional<timestamp> upload_date{};
  std::optional<std::string> url{};            ///< at most 500 characters
  std::optional<std::string> thumbnail_url{};  ///< at most 500 characters
  bool processed = false;
  std::optional<timestamp> processing_started{};
  std::optional<timestamp> processing_completed{};
  std::optional<std::string> processing_error{};
};

/// What to change of a video: a member that is not set leaves its column as it is.
struct video_changes {
  std::optional<std::string> title{};  ///< at most 1000 characters
  std::optional<std::string> description{};
  std::optional<double> duration{};  ///< seconds, finite
  std::optional<std::int32_t> view_count{};
  std::optional<std::int32_t> like_count{};
  std::optional<timestamp> upload_date{};
  std::optional<std::string> url{};            ///< at most 500 characters
  std::optional<std::string> thumbnail_url{};  ///< at most 500 characters
};

/// A video that an ingest created, and the job it was given.
struct ingested_video {
  std::int32_t id = 0;
  std::string video_id;
  std::optional<std::int32_t> job_id;  ///< nullopt: a pending or running job was there already
};

template <std::same_as<ingested_video> T>
struct row_traits<T> {
  static constexpr auto columns = std::tuple{column{"id", &T::id}, column{"video_id", &T::video_id},
                                             column{"job_id", &T::job_id}};
};

}  // namespace soundhash::db
