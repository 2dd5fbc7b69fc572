#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

/// A piece of music: its Chromaprint codes, code i beginning at i × `seconds_per_code`.
struct track {
  std::string channel_id;
  std::string channel_name;
  std::string video_id;
  std::string title;
  double duration = 0;  ///< seconds
  std::vector<std::uint32_t> codes;
};

/// An excerpt cut at an arbitrary place and encoded again, fingerprinted alone.
struct clip {
  std::string clip_id;
  std::string encoding;
  std::vector<std::uint32_t> codes;
  std::optional<std::string> expected_video_id;  ///< nullopt: the piece is not among the tracks
  double expected_offset = 0;                    ///< seconds
};

/// One frame of Chromaprint's algorithm 2: 1365 samples at 11 025 Hz.
inline constexpr double seconds_per_code = 1365.0 / 11025.0;

/// The code as the database holds it: 8 lower-case hexadecimal digits.
std::string fingerprint_hash(std::uint32_t code);

/// Throw std::runtime_error naming the file and line.
std::vector<track> load_tracks(const std::filesystem::path& file);
std::vector<clip> load_clips(const std::filesystem::path& file);
