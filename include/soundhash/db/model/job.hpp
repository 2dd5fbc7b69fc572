#pragma once

#include <concepts>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <tuple>

#include <soundhash/db/core/row_traits.hpp>
#include <soundhash/db/core/timestamp.hpp>

namespace soundhash::db {

/// The status texts that the services write. The column takes any text of at most 20 characters,
/// so that `job::status` is a text: one that is not listed here survives being read and written.
namespace job_status {
inline constexpr std::string_view pending = "pending";
inline constexpr std::string_view running = "running";
inline constexpr std::string_view completed = "completed";
inline constexpr std::string_view failed = "failed";
inline constexpr std::string_view cancelled = "cancelled";
}  // namespace job_status

/// A row of `processing_jobs`.
struct job {
  std::int32_t id = 0;
  std::optional<std::string> job_type;    ///< "video_process", "channel_ingest", …
  std::optional<std::string> status;      ///< see job_status
  std::optional<std::string> target_id;   ///< what it is about: a YouTube identifier
  std::optional<std::string> parameters;  ///< JSON
  std::optional<double> progress;         ///< 0 to 1
  std::optional<std::string> current_step;
  std::optional<timestamp> created_at;
  std::optional<timestamp> started_at;
  std::optional<timestamp> completed_at;
  std::optional<std::string> error_message;
  std::optional<std::int32_t> retry_count;
  std::optional<std::int32_t> max_retries;
};

template <std::same_as<job> T>
struct row_traits<T> {
  static constexpr auto columns = std::tuple{column{"id", &T::id},
                                             column{"job_type", &T::job_type},
                                             column{"status", &T::status},
                                             column{"target_id", &T::target_id},
                                             column{"parameters", &T::parameters},
                                             column{"progress", &T::progress},
                                             column{"current_step", &T::current_step},
                                             column{"created_at", &T::created_at},
                                             column{"started_at", &T::started_at},
                                             column{"completed_at", &T::completed_at},
                                             column{"error_message", &T::error_message},
                                             column{"retry_count", &T::retry_count},
                                             column{"max_retries", &T::max_retries}};
};

/// What a job is created from; created_at is the server's clock in UTC.
struct new_job {
  std::string job_type{};   ///< at most 50 characters
  std::string target_id{};  ///< at most 255 characters
  std::optional<std::string>
      parameters{};  ///< JSON; video_process of the Python services needs "url"
  std::string status = std::string{job_status::pending};  ///< at most 20 characters
  double progress = 0;                                    ///< 0 to 1
  std::optional<std::string> current_step{};              ///< at most 200 characters
  std::int32_t retry_count = 0;                           ///< 0 or more
  std::int32_t max_retries = 3;                           ///< 0 or more
};

/// What goes with a change of status: a member that is not set, or an empty text, leaves its column
/// as it is.
struct job_update {
  std::optional<double> progress{};           ///< 0 to 1
  std::optional<std::string> current_step{};  ///< at most 200 characters
  std::optional<std::string> error_message{};
};

/// How many jobs have one status.
struct status_count {
  std::optional<std::string> status;  ///< nullopt: jobs whose status is NULL
  std::int64_t count = 0;
};

template <std::same_as<status_count> T>
struct row_traits<T> {
  static constexpr auto columns =
      std::tuple{column{"status", &T::status}, column{"count", &T::count}};
};

}  // namespace soundhash::db
