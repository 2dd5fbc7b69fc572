#pragma once

#include <concepts>
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

template <std::same_as<fingerprint> T>
struct row_traits<T> {
  static constexpr auto columns = std::tuple{column{"id", &T::id},
                                             column{"video_id", &T::video_id},
                                             column{"start_time", &T::start_time},
                                             column{"end_time", &T::end_time},
                                             column{"fingerprint_hash", &T::fingerprint_hash},
                                             column{"sample_rate", &T::sample_rate},
                                             column{"segment_length", &T::segment_length},
                                             column{"confidence_score", &T::confidence_score},
                                             column{"peak_count", &T::peak_count},
                                             column{"created_at", &T::created_at},
                                             column{"n_fft", &T::n_fft},
                                             column{"hop_length", &T::hop_length}};
};

/// A whole row of `audio_fingerprints`.
struct fingerprint_with_data {
  db::fingerprint fingerprint;
  /// Opaque: the Python services store a pickled numpy array here, about 186 kB.
  std::optional<bytes> fingerprint_data;
};

template <std::same_as<fingerprint_with_data> T>
struct row_traits<T> {
  static constexpr auto columns =
      std::tuple{column{"", &T::fingerprint}, column{"fingerprint_data", &T::fingerprint_data}};
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

template <std::same_as<hash_at> T>
struct row_traits<T> {
  static constexpr auto columns = std::tuple{column{"fingerprint_hash", &T::fingerprint_hash},
                                             column{"start_time", &T::start_time}};
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

template <std::same_as<video_match> T>
struct row_traits<T> {
  static constexpr auto columns = std::tuple{column{"id", &T::id},
                                             column{"video_id", &T::video_id},
                                             column{"channel_id", &T::channel_id},
                                             column{"title", &T::title},
                                             column{"duration", &T::duration},
                                             column{"url", &T::url},
                                             column{"offset_seconds", &T::offset_seconds},
                                             column{"votes", &T::votes}};
};

}  // namespace soundhash::db
