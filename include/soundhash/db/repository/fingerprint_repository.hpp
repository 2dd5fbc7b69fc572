#pragma once

#include <cstdint>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <soundhash/db/core/page.hpp>
#include <soundhash/db/exec/executor.hpp>
#include <soundhash/db/export.hpp>
#include <soundhash/db/model/fingerprint.hpp>

namespace soundhash::db {

/// How `match` counts.
struct match_options {
  /// Offsets that differ by no more than this agree. Seconds, 0.000001 to 3600. One frame of the
  /// fingerprints (hop_length / sample_rate) is right; whole seconds let unrelated hits agree.
  double bin_seconds = 512.0 / 22050.0;
  /// Fewer votes are no match. 1 or more.
  int min_votes = 3;
  /// Fingerprints looked at for one hash of the clip. A hash that is stored more often than this
  /// (silence) says little; which of its rows are taken is up to the server. 1 to 10000.
  int max_per_hash = 100;
  /// Videos returned. 1 to 10000.
  int limit = 10;
};

/// Reads and writes `audio_fingerprints`. `fingerprint_data`, nearly all of a row's bytes, is read
/// only by the methods named `…_with_data`.
/// Thread safety and lifetime: those of the executor it is made from, which must outlive it.
/// Throws, from every method: as executor; invalid_argument before anything is sent when a text is
/// too long, not UTF-8 or has a NUL byte, a number is not finite or out of its range, a limit is
/// not 1 to 10000, or a cursor is not of the list; in a batch it carries the row.
class SOUNDHASH_DB_EXPORT fingerprint_repository {
 public:
  explicit fingerprint_repository(executor& on) noexcept : on_{&on} {}

  /// Throws: constraint_violation (foreign_key) when there is no such video.
  fingerprint create(const new_fingerprint& values, const call_options& options = {});

  /// Stores all or none and returns the ids in the order of `rows`. One statement for up to 2000
  /// rows or 16 MiB, a transaction of such statements above; nothing is sent for no rows.
  /// Throws: constraint_violation (foreign_key) when there is no such video.
  std::vector<std::int32_t> create_batch(std::span<const new_fingerprint> rows,
                                         const call_options& options = {});

  /// Has the video fingerprints made with these parameters?
  [[nodiscard]] bool exists(std::int32_t video_id, std::int32_t sample_rate, std::int32_t n_fft,
                            std::int32_t hop_length, const call_options& options = {});

  [[nodiscard]] std::optional<fingerprint_with_data> find_with_data(
      std::int32_t id, const call_options& options = {});
  /// Fingerprints with this hash, by video and start_time.
  [[nodiscard]] db::page<fingerprint> find_by_hash(std::string_view hash, int limit = 1000,
                                                   const cursor& after = {},
                                                   const call_options& options = {});
  [[nodiscard]] db::page<fingerprint_with_data> find_by_hash_with_data(
      std::string_view hash, int limit = 1000, const cursor& after = {},
      const call_options& options = {});
  /// Fingerprints with any of these hashes, in no order; given twice, a hash counts once. At most
  /// `max_per_hash` of each, 1 to 10000. One statement for up to 1000 hashes; several statements do
  /// not share a snapshot outside a transaction.
  [[nodiscard]] std::vector<fingerprint> find_by_hashes(std::span<const std::string> hashes,
                                                        int max_per_hash = 1000,
                                                        const call_options& options = {});

  /// Fingerprints of a video that begin at `from` or later and before `to`, in seconds, by
  /// start_time. Infinite bounds are allowed, NaN is not.
  [[nodiscard]] std::vector<fingerprint> by_video(
      std::int32_t video_id, double from = 0, double to = std::numeric_limits<double>::infinity(),
      const call_options& options = {});
  /// The same in pages.
  [[nodiscard]] db::page<fingerprint> by_video_page(
      std::int32_t video_id, const cursor& after = {}, int limit = 1000, double from = 0,
      double to = std::numeric_limits<double>::infinity(), const call_options& options = {});

  /// All fingerprints by id.
  [[nodiscard]] db::page<fingerprint> page(const cursor& after = {}, int limit = 1000,
                                           const call_options& options = {});

  /// Hashes and start times of a video, by start_time.
  [[nodiscard]] std::vector<hash_at> hashes_of_video(std::int32_t video_id,
                                                     const call_options& options = {});
  /// The same in pages.
  [[nodiscard]] db::page<hash_at> hashes_of_video_page(std::int32_t video_id,
                                                       const cursor& after = {}, int limit = 1000,
                                                       const call_options& options = {});

  /// Finds the videos that a clip comes from, the most votes first, and where in them it begins.
  ///
  /// A hit is a stored fingerprint with a hash of the clip. If the clip comes from that video, all
  /// its hits agree on where it begins: `delta = start_time − offset`. With w = bin_seconds each
  /// hit falls into the bin `floor(delta / w)`, and votes are counted in windows of two
  /// neighbouring bins, one window beginning at every bin. So deltas that differ by up to w always
  /// share a window, wherever the borders of the bins happen to lie, and deltas that differ by 2w
  /// or more never do. The votes of a window are the distinct offsets of the clip that hit it: one
  /// place of the clip votes once, however often its hash is stored (silence) or given. A video's
  /// best window counts; among equal votes the one with the fewest hits, then the earliest.
  /// offset_seconds is the mean delta of the window's hits.
  /// Source: A. Wang, "An Industrial-Strength Audio Search Algorithm", ISMIR 2003 (the histogram of
  /// offset differences).
  ///
  /// One statement for up to 1000 hashes. More are sent in such statements, cut between offsets, so
  /// that no vote is counted twice, and one more reads the videos; outside a transaction these do
  /// not share a snapshot.
  [[nodiscard]] std::vector<video_match> match(std::span<const query_hash> clip,
                                               const match_options& how = {},
                                               const call_options& options = {});

 private:
  executor* on_;
};

}  // namespace soundhash::db
