#pragma once

#include <concepts>
#include <cstdint>
#include <optional>
#include <string>
#include <tuple>

#include <soundhash/db/core/row_traits.hpp>
#include <soundhash/db/core/timestamp.hpp>

namespace soundhash::db {

/// A row of `match_results`: two fingerprints that were found alike.
struct match_result {
  std::int32_t id = 0;
  std::optional<std::int32_t> query_fingerprint_id;    ///< audio_fingerprints.id
  std::optional<std::int32_t> matched_fingerprint_id;  ///< audio_fingerprints.id
  double similarity_score = 0;
  std::optional<double> match_confidence;
  std::optional<std::string> query_source;
  std::optional<std::string> query_url;
  std::optional<std::string> query_user;
  std::optional<bool> responded;
  std::optional<timestamp> response_sent_at;
  std::optional<timestamp> created_at;
};

template <std::same_as<match_result> T>
struct row_traits<T> {
  static constexpr auto columns =
      std::tuple{column{"id", &T::id},
                 column{"query_fingerprint_id", &T::query_fingerprint_id},
                 column{"matched_fingerprint_id", &T::matched_fingerprint_id},
                 column{"similarity_score", &T::similarity_score},
                 column{"match_confidence", &T::match_confidence},
                 column{"query_source", &T::query_source},
                 column{"query_url", &T::query_url},
                 column{"query_user", &T::query_user},
                 column{"responded", &T::responded},
                 column{"response_sent_at", &T::response_sent_at},
                 column{"created_at", &T::created_at}};
};

/// What a match result is created from; created_at is the server's clock in UTC.
struct new_match_result {
  std::optional<std::int32_t> query_fingerprint_id{};    ///< audio_fingerprints.id
  std::optional<std::int32_t> matched_fingerprint_id{};  ///< audio_fingerprints.id
  double similarity_score = 0;                           ///< finite
  std::optional<double> match_confidence{};              ///< finite
  std::optional<std::string> query_source{};             ///< at most 50 characters
  std::optional<std::string> query_url{};                ///< at most 1000 characters
  std::optional<std::string> query_user{};               ///< at most 100 characters
  bool responded = false;
  std::optional<timestamp> response_sent_at{};
};

}  // namespace soundhash::db
