#pragma once

#include <cstdint>
#include <string_view>

namespace soundhash::db {

/// CRC-32C (Castagnoli), as in RFC 3720, appendix B.4: finds every change of up to three bits and
/// every burst of up to 32 in what we store. By the processor's instruction where there is one.
[[nodiscard]] std::uint32_t crc32c(std::string_view data) noexcept;

/// The same by tables.
[[nodiscard]] std::uint32_t crc32c_by_tables(std::string_view data) noexcept;

}  // namespace soundhash::db
