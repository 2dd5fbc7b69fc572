#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <soundhash/db/core/page.hpp>
#include <soundhash/db/exec/executor.hpp>
#include <soundhash/db/export.hpp>
#include <soundhash/db/model/video.hpp>

namespace soundhash::db {

/// Are videos whose `processed` is NULL counted as unprocessed? The Python services never see them.
enum class null_processed : std::uint8_t {
  exclude,  ///< `processed = false`, from the partial index idx_videos_unprocessed
  include,  ///< `processed IS NOT TRUE`, which that index cannot serve
};

/// Reads and writes `videos`.
/// Thread safety and lifetime: those of the executor it is made from, which must outlive it.
/// Throws, from every method: as executor; invalid_argument before anything is sent when a text is
/// too long, not UTF-8 or has a NUL byte, a number is not finite, a limit is not 1 to 10000, or a
/// cursor is not of the list.
class SOUNDHASH_DB_EXPORT video_repository {
 public:
  explicit video_repository(executor& on) noexcept : on_{&on} {}

  /// Throws: constraint_violation (unique) when the video_id is taken, (foreign_key) when there is
  /// no such channel.
  video create(const new_video& values, const call_options& options = {});

  [[nodiscard]] std::optional<video> find(std::int32_t id, const call_options& options = {});
  /// By YouTube's identifier.
  [[nodiscard]] std::optional<video> find_by_video_id(std::string_view video_id,
                                                      const call_options& options = {});
  /// A video and its channel, in one query.
  [[nodiscard]] std::optional<video_with_channel> find_with_channel(
      std::string_view video_id, const call_options& options = {});

  /// Changes what is set in `changes`, and updated_at. Returns the row after it, nullopt when there
  /// is none.
  std::optional<video> update(std::int32_t id, const video_changes& changes,
                              const call_options& options = {});

  /// Videos not processed yet, the oldest first.
  [[nodiscard]] std::vector<video> unprocessed(int limit = 100,
                                               null_processed nulls = null_processed::exclude,
                                               const call_options& options = {});
  /// The same with their channels, in one query.
  [[nodiscard]] std::vector<video_with_channel> unprocessed_with_channel(
      int limit = 100, const call_options& options = {});

  /// The same lists in pages. Videos of one created_at come by id, those without one last. For
  /// walks that do not process what they see.
  [[nodiscard]] db::page<video> unprocessed_page(const cursor& after = {}, int limit = 100,
                                                 null_processed nulls = null_processed::exclude,
                                                 const call_options& options = {});
  [[nodiscard]] db::page<video_with_channel> unprocessed_page_with_channel(
      const cursor& after = {}, int limit = 100, const call_options& options = {});

  /// Videos of a channel: those without an upload date, then the newest first.
  [[nodiscard]] db::page<video> by_channel(std::int32_t channel_id, int limit = 100,
                                           const cursor& after = {},
                                           const call_options& options = {});

  /// All videos by id.
  [[nodiscard]] db::page<video> page(const cursor& after = {}, int limit = 100,
                                     const call_options& options = {});
  /// The same with their channels, in one query.
  [[nodiscard]] db::page<video_with_channel> page_with_channel(const cursor& after = {},
                                                               int limit = 100,
                                                               const call_options& options = {});

  /// Sets processing_started to now. False when there is no such video.
  bool mark_processing_started(std::int32_t id, const call_options& options = {});
  /// Sets processed to `success`, processing_completed to now, and processing_error unless `error`
  /// is empty. False when there is no such video.
  bool mark_processed(std::int32_t id, bool success = true, std::string_view error = {},
                      const call_options& options = {});
  /// `mark_processed(id, false, error)`.
  bool mark_failed(std::int32_t id, std::string_view error, const call_options& options = {});

  /// Those of these YouTube identifiers that are stored. 1000 identifiers a query.
  [[nodiscard]] std::set<std::string, std::less<>> existing_video_ids(
      std::span<const std::string> video_ids, const call_options& options = {});

  /// Stores the videos of a channel that are not stored yet, each with a pending job, all or none.
  /// A new video whose job of this type is pending or running already gets no second one. Videos
  /// stored already stay as they are and get no job. The jobs' parameters are the JSON that the
  /// Python services read: {"url": …, "channel_id": YouTube's identifier}.
  /// Three round trips for up to 5000 videos or 16 MiB, one more for each further. Holds the job
  /// type's lock (see job_repository) until the transaction ends.
  /// Each video's `channel_id` is 0 or `channel_id`.
  /// Throws: also constraint_violation (foreign_key) when there is no such channel.
  std::vector<ingested_video> ingest(std::int32_t channel_id, std::span<const new_video> videos,
                                     std::string_view job_type = "video_process",
                                     const call_options& options = {});

 private:
  executor* on_;
};

}  // namespace soundhash::db
