#include "cache/crc32c.hpp"

#include <array>
#include <cstddef>
#include <cstring>

namespace soundhash::db {
namespace {

constexpr std::uint32_t polynomial = 0x82F63B78;  // reflected

using table = std::array<std::uint32_t, 256>;

/// The first table advances by one byte, the n-th by n (slicing by 8).
constexpr std::array<table, 8> make_tables() {
  std::array<table, 8> made{};
  for (std::uint32_t byte = 0; byte < 256; ++byte) {
    auto crc = byte;
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1U) ^ ((crc & 1U) != 0 ? polynomial : 0U);
    made[0][byte] = crc;
  }
  for (std::size_t by = 1; by < made.size(); ++by) {
    for (std::size_t byte = 0; byte < 256; ++byte) {
      const auto before = made[by - 1][byte];
      made[by][byte] = (before >> 8U) ^ made[0][before & 255U];
    }
  }
  return made;
}

constexpr auto tables = make_tables();

std::uint32_t byte_at(std::string_view data, std::size_t i) {
  return static_cast<unsigned char>(data[i]);
}

std::uint32_t step(std::uint32_t crc, std::uint32_t byte) {
  return (crc >> 8U) ^ tables[0][(crc ^ byte) & 255U];
}

#if defined(__x86_64__) && defined(__GNUC__)
__attribute__((target("sse4.2"))) std::uint32_t by_instruction(std::string_view data) noexcept {
  std::uint64_t crc = 0xFFFFFFFF;
  for (; data.size() >= 8; data.remove_prefix(8)) {
    std::uint64_t word = 0;
    std::memcpy(&word, data.data(), sizeof word);
    crc = __builtin_ia32_crc32di(crc, word);
  }
  auto rest = static_cast<std::uint32_t>(crc);
  for (const char c : data) rest = __builtin_ia32_crc32qi(rest, static_cast<unsigned char>(c));
  return ~rest;
}

using function = std::uint32_t (*)(std::string_view) noexcept;

function best() noexcept {
  return __builtin_cpu_supports("sse4.2") != 0 ? &by_instruction : &crc32c_by_tables;
}
#endif

}  // namespace

std::uint32_t crc32c_by_tables(std::string_view data) noexcept {
  std::uint32_t crc = 0xFFFFFFFF;
  for (; data.size() >= 8; data.remove_prefix(8)) {
    for (std::size_t i = 0; i < 4; ++i) crc ^= byte_at(data, i) << (8 * i);
    std::uint32_t next = 0;
    for (std::size_t i = 0; i < 4; ++i) {
      next ^= tables[7 - i][(crc >> (8 * i)) & 255U] ^ tables[3 - i][byte_at(data, 4 + i)];
    }
    crc = next;
  }
  for (std::size_t i = 0; i < data.size(); ++i) crc = step(crc, byte_at(data, i));
  return ~crc;
}

std::uint32_t crc32c(std::string_view data) noexcept {
#if defined(__x86_64__) && defined(__GNUC__)
  static const auto chosen = best();
  return chosen(data);
#else
  return crc32c_by_tables(data);
#endif
}

}  // namespace soundhash::db
