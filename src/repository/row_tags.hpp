#pragma once

#include <cstdint>
#include <string_view>

#include <soundhash/db/core/cache_tag.hpp>
#include <soundhash/db/model/channel.hpp>
#include <soundhash/db/model/video.hpp>

// Which reads are cached, under which tags, and which tags each write drops: the table is in
// src/README.md, "Reads, tags and writes".

namespace soundhash::db {

namespace table {
inline constexpr std::string_view channels = "channels";
inline constexpr std::string_view videos = "videos";
inline constexpr std::string_view audio_fingerprints = "audio_fingerprints";
inline constexpr std::string_view match_results = "match_results";
inline constexpr std::string_view processing_jobs = "processing_jobs";
}  // namespace table

/// A channel that was written. Its identifiers never change, so old and new tags are the same.
inline void add_row(tag_set& changed, std::int32_t id, std::string_view channel_id) {
  changed.add_row(table::channels, "id", id);
  changed.add_row(table::channels, "channel_id", channel_id);
}
inline void add_row(tag_set& changed, const channel& row) {
  add_row(changed, row.id, row.channel_id);
}

/// A video that was written. No statement of the repositories moves it to another channel.
inline void add_row(tag_set& changed, std::int32_t id, std::string_view video_id,
                    std::int32_t channel_id) {
  changed.add_row(table::videos, "id", id);
  changed.add_row(table::videos, "video_id", video_id);
  changed.add_row(table::videos, "channel_id", channel_id);
}
inline void add_row(tag_set& changed, const video& row) {
  add_row(changed, row.id, row.video_id, row.channel_id);
}

/// A job that was written.
inline void add_job(tag_set& changed, std::int32_t id) {
  changed.add_row(table::processing_jobs, "id", id);
}

}  // namespace soundhash::db
