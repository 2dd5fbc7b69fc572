#pragma once

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

template <>
struct row_traits<match_result> {
  static constexpr auto columns =
      std::tuple{column{"id", &match_result::id},
                 column{"query_fingerprint_id", &match_result::query_fingerprint_id},
                 column{"matched_fingerprint_id", &match_result::matched_fingerprint_id},
                 column{"similarity_score", &match_result::similarity_score},
                 column{"match_confidence", &match_result::match_confidence},
                 column{"query_source", &match_result::query_source},
                 column{"query_url", &match_result::query_url},
                 column{"query_user", &match_result::query_user},
                 column{"responded", &match_result::responded},
                 column{"response_sent_at", &match_result::response_sent_at},
                 column{"created_at", &match_result::created_at}};
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
