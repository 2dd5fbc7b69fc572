#pragma once

#include <cstdint>
#include <string>

#include <soundhash/db.hpp>

/// How much is loaded into an empty database.
struct dataset_size {
  std::int32_t channels = 50;
  std::int32_t videos = 5'000;
  std::int32_t jobs = 20'000;
  std::int32_t fingerprints = 200'000;
  std::int32_t matches = 10'000;
};

/// Rows that exist, for the benchmark to look up.
struct dataset_keys {
  std::string channel_id;
  std::string video_id;
  std::string job_target_id;
  std::string job_type;
  std::string fingerprint_hash;
};

/// Brings the schema up to date and, when there is no video yet, loads rows, reporting each table
/// on standard output. Statistics are fresh afterwards.
void load(soundhash::db::database& db, const dataset_size& size);

/// Throws: soundhash::db::cardinality_error when a table is empty.
dataset_keys choose_keys(soundhash::db::database& db);
