#pragma once

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

template <>
struct row_traits<video> {
  static constexpr auto columns =
      std::tuple{column{"id", &video::id},
                 column{"video_id", &video::video_id},
                 column{"channel_id", &video::channel_id},
                 column{"title", &video::title},
                 column{"description", &video::description},
                 column{"duration", &video::duration},
                 column{"view_count", &video::view_count},
                 column{"like_count", &video::like_count},
                 column{"upload_date", &video::upload_date},
                 column{"url", &video::url},
                 column{"thumbnail_url", &video::thumbnail_url},
                 column{"processed", &video::processed},
                 column{"processing_started", &video::processing_started},
                 column{"processing_completed", &video::processing_completed},
                 column{"processing_error", &video::processing_error},
                 column{"created_at", &video::created_at},
                 column{"updated_at", &video::updated_at}};
};

/// A video and the channel it belongs to, read together.
struct video_with_channel {
  db::video video;
  db::channel channel;
};

template <>
struct row_traits<video_with_channel> {
  static constexpr auto columns = std::tuple{column{"", &video_with_channel::video},
                                             column{"channel.", &video_with_channel::channel}};
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

template <>
struct row_traits<ingested_video> {
  static constexpr auto columns =
      std::tuple{column{"id", &ingested_video::id}, column{"video_id", &ingested_video::video_id},
                 column{"job_id", &ingested_video::job_id}};
};

}  // namespace soundhash::db
