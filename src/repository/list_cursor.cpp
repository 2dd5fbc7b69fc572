#include "repository/list_cursor.hpp"

#include <array>

#include <soundhash/db/core/error.hpp>

namespace soundhash::db {
namespace {

// The text is base64url without padding (RFC 4648) of: the list's mark, the keys, and a checksum of
// both, four bytes each around the keys. The marks and sums are FNV-1a, folded to 32 bits: against
// mistakes, not against forgers, who could as well ask for the list.

constexpr std::string_view alphabet =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
constexpr std::size_t sum_size = 4;

std::uint64_t fnv_1a(std::uint64_t sum, std::string_view packed) noexcept {
  for (const char c : packed) sum = (sum ^ static_cast<unsigned char>(c)) * 0x100000001b3;
  return sum;
}

std::string folded(std::uint64_t sum) {
  const auto half = static_cast<std::uint32_t>(sum ^ (sum >> 32U));
  std::string packed;
  for (const unsigned shift : {24U, 16U, 8U, 0U}) {
    packed.push_back(static_cast<char>(half >> shift & 0xffU));
  }
  return packed;
}

std::string checksum(std::string_view packed) {
  return folded(fnv_1a(0x84222325cbf29ce4, packed));
}

std::string to_text(std::string_view packed) {
  std::string text;
  std::uint32_t pending = 0;
  unsigned bits = 0;
  for (const char c : packed) {
    pending = pending << 8U | static_cast<unsigned char>(c);
    for (bits += 8; bits >= 6; bits -= 6) text.push_back(alphabet[pending >> (bits - 6) & 63U]);
  }
  if (bits > 0) text.push_back(alphabet[pending << (6 - bits) & 63U]);
  return text;
}

/// Nothing of a text that has other characters.
std::string from_text(std::string_view text) {
  std::string packed;
  std::uint32_t pending = 0;
  unsigned bits = 0;
  for (const char c : text) {
    const auto digit = alphabet.find(c);
    if (digit == std::string_view::npos) return {};
    pending = pending << 6U | static_cast<std::uint32_t>(digit);
    bits += 6;
    if (bits < 8) continue;
    bits -= 8;
    packed.push_back(static_cast<char>(pending >> bits & 0xffU));
  }
  return packed;
}

}  // namespace

void list_scope::mark(std::string_view part) noexcept {
  const auto size = static_cast<char>(part.size());  // so that "ab", "c" is not "a", "bc"
  mark_ = fnv_1a(fnv_1a(mark_, {&size, 1}), part);
}

cursor list_scope::seal(std::string_view keys) const {
  auto packed = folded(mark_).append(keys);
  packed.append(checksum(packed));
  return cursor{to_text(packed)};
}

std::string list_scope::unseal(const cursor& from) const {
  const auto packed = from_text(from.text());
  if (packed.size() < 2 * sum_size || to_text(packed) != from.text()) refuse();
  const std::string_view sealed{packed.data(), packed.size() - sum_size};
  if (checksum(sealed) != std::string_view{packed}.substr(sealed.size())) refuse();
  if (!sealed.starts_with(folded(mark_))) {
    throw invalid_argument{"after",
                           "the cursor is of another list, or of this one with other arguments; "
                           "begin with an empty one"};
  }
  return std::string{sealed.substr(sum_size)};
}

void list_scope::refuse() {
  throw invalid_argument{
      "after", "the text is no cursor; use what a page gave as `next`, unchanged and as a whole"};
}

}  // namespace soundhash::db
