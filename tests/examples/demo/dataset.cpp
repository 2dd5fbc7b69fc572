#include "dataset.hpp"

#include <fstream>
#include <stdexcept>
#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace {

using nlohmann::json;

template <class T, class Parse>
std::vector<T> load_lines(const std::filesystem::path& file, Parse parse) {
  std::ifstream in{file};
  if (!in) throw std::runtime_error{fmt::format("cannot read {}", file.string())};
  std::vector<T> loaded;
  std::string line;
  while (std::getline(in, line)) {
    try {
      loaded.push_back(parse(json::parse(line)));
    } catch (const json::exception& problem) {
      throw std::runtime_error{
          fmt::format("{}, line {}: {}", file.string(), loaded.size() + 1, problem.what())};
    }
  }
  return loaded;
}

track parse_track(const json& line) {
  return {.channel_id = line.at("channel_id"),
          .channel_name = line.at("channel_name"),
          .video_id = line.at("video_id"),
          .title = line.at("title"),
          .duration = line.at("duration"),
          .codes = line.at("codes")};
}

clip parse_clip(const json& line) {
  clip parsed{.clip_id = line.at("clip_id"),
              .encoding = line.at("encoding"),
              .codes = line.at("codes"),
              .expected_video_id = std::nullopt};
  if (const auto& expected = line.at("expected"); !expected.is_null()) {
    parsed.expected_video_id = expected.at("video_id").get<std::string>();
    parsed.expected_offset = expected.at("offset_seconds");
  }
  return parsed;
}

}  // namespace

std::string fingerprint_hash(std::uint32_t code) {
  return fmt::format("{:08x}", code);
}

std::vector<track> load_tracks(const std::filesystem::path& file) {
  return load_lines<track>(file, parse_track);
}

std::vector<clip> load_clips(const std::filesystem::path& file) {
  return load_lines<clip>(file, parse_clip);
}
