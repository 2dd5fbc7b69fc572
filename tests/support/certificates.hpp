#pragma once

#include <filesystem>
#include <string>

namespace soundhash::db::test {

/// A certificate and its key, both files in PEM that everybody may read.
struct certificate {
  std::filesystem::path file;
  std::filesystem::path key;
};

/// Makes one with the program `openssl`: in `folder`, called `name`, for the names or addresses of
/// `subjects`, for two days. It is signed by itself, so that its own file is what whoever trusts it
/// must have.
/// Throws: std::runtime_error (this and below).
certificate make_certificate(const std::filesystem::path& folder, const std::string& name,
                             const std::string& subjects = "DNS:localhost");

/// The same, but it ended when it was made.
certificate make_expired_certificate(const std::filesystem::path& folder, const std::string& name);

}  // namespace soundhash::db::test
