#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <tuple>

#include <soundhash/db/core/codec.hpp>
#include <soundhash/db/core/row_traits.hpp>
#include <soundhash/db/core/timestamp.hpp>

namespace soundhash::db {

/// A row of `audio_fingerprints` without `fingerprint_data`, which is nearly all of its bytes.
struct fingerprint {
  std::int32_t id = 0;
  std::int32_t video_id = 0;                ///< videos.id
  double start_time = 0;                    ///< seconds from the start of the video
  double end_time = 0;                      ///< seconds from the start of the video
  std::string fingerprint_hash;             ///< at most 64 characters; MD5 in hexadecimal
  std::optional<std::int32_t> sample_rate;  ///< Hz
  std::optional<double> segment_length;     ///< seconds
  std::optional<double> confidence_score;
  std::optional<std::int32_t> peak_count;
  std::optional<timestamp> created_at;
  std::int32_t n_fft = 0;       ///< samples
  std::int32_t hop_length = 0;  ///< samples
};

template <>
struct row_traits<fingerprint> {
  static constexpr auto columns =
      std::tuple{column{"id", &fingerprint::id},
                 column{"video_id", &fingerprint::video_id},
                 column{"start_time", &fingerprint::start_time},
                 column{"end_time", &fingerprint::end_time},
                 column{"fingerprint_hash", &fingerprint::fingerprint_hash},
                 column{"sample_rate", &fingerprint::sample_rate},
                 column{"segment_length", &fingerprint::segment_length},
                 column{"confidence_score", &fingerprint::confidence_score},
                 column{"peak_count", &fingerprint::peak_count},
                 column{"created_at", &fingerprint::created_at},
                 column{"n_fft", &fingerprint::n_fft},
                 column{"hop_length", &fingerprint::hop_length}};
};

/// A whole row of `audio_fingerprints`.
struct fingerprint_with_data {
  db::fingerprint fingerprint;
  /// Opaque: the Python services store a pickled numpy array here, about 186 kB.
  std::optional<bytes> fingerprint_data;
};

template <>
struct row_traits<fingerprint_with_data> {
  static constexpr auto columns =
      std::tuple{column{"", &fingerprint_with_data::fingerprint},
                 column{"fingerprint_data", &fingerprint_with_data::fingerprint_data}};
};

/// What a fingerprint is created from; created_at is the server's clock in UTC.
struct new_fingerprint {
  std::int32_t video_id = 0;                ///< videos.id
  double start_time = 0;                    ///< seconds, finite
  double end_time = 0;                      ///< seconds, finite
  std::string fingerprint_hash{};           ///< at most 64 characters
  std::optional<bytes> fingerprint_data{};  ///< opaque
  /// Hz, 1 or more. nullopt stores 22050 too, as the Python services do.
  std::optional<std::int32_t> sample_rate = 22050;
  std::optional<double> segment_length{};    ///< seconds, finite
  std::optional<double> confidence_score{};  ///< finite
  std::optional<std::int32_t> peak_count{};
  std::int32_t n_fft = 2048;      ///< samples, 1 or more
  std::int32_t hop_length = 512;  ///< samples, 1 or more
};

/// One hash of a video and where it begins.
struct hash_at {
  std::string fingerprint_hash;
  double start_time = 0;  ///< seconds from the start of the video
};

template <>
struct row_traits<hash_at> {
  static constexpr auto columns = std::tuple{column{"fingerprint_hash", &hash_at::fingerprint_hash},
                                             column{"start_time", &hash_at::start_time}};
};

/// One hash of a clip that is looked for.
struct query_hash {
  std::string hash{};  ///< at most 64 characters
  double offset = 0;   ///< seconds from the start of the clip, finite
};

/// A video in which a clip was found, and where.
struct video_match {
  std::int32_t id = 0;          ///< videos.id
  std::string video_id;         ///< YouTube's identifier
  std::int32_t channel_id = 0;  ///< channels.id
  std::optional<std::string> title;
  std::optional<double> duration;  ///< seconds
  std::optional<std::string> url;
  /// Where the clip begins in the video, seconds: the mean over the hits that voted for it.
  double offset_seconds = 0;
  std::int64_t votes = 0;  ///< places of the clip that agree on the offset
};

template <>
struct row_traits<video_match> {
  static constexpr auto columns = std::tuple{column{"id", &video_match::id},
                                             column{"video_id", &video_match::video_id},
                                             column{"channel_id", &video_match::channel_id},
                                             column{"title", &video_match::title},
                                             column{"duration", &video_match::duration},
                                             column{"url", &video_match::url},
                                             column{"offset_seconds", &video_match::offset_seconds},
                                             column{"votes", &video_match::votes}};
};

}  // namespace soundhash::db
