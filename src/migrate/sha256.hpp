#pragma once

#include <string>
#include <string_view>

namespace soundhash::db::migrate {

/// SHA-256 of the bytes, as 64 lower-case hexadecimal digits.
/// Our own: checksums are needed where there is no server (`new`, a plan, the tests), and one page
/// of code is cheaper to keep than a dependency on a cryptographic library for drift detection.
/// Source: FIPS 180-4, sections 4.1.2, 4.2.2, 5.1.1, 5.3.3 and 6.2.
std::string sha256_hex(std::string_view bytes);

}  // namespace soundhash::db::migrate
