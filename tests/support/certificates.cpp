#include "support/certificates.hpp"

#include <cstdlib>
#include <stdexcept>

namespace soundhash::db::test {
namespace {

void run_openssl(const std::string& arguments) {
  const auto command = "openssl " + arguments + " 2>/dev/null";
  if (std::system(command.c_str()) != 0) throw std::runtime_error{"failed: " + command};
}

}  // namespace

certificate make_certificate(const std::filesystem::path& folder, const std::string& name,
                             const std::string& subjects) {
  certificate made{folder / (name + ".crt"), folder / (name + ".key")};
  run_openssl(
      "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=" +
      name + " -addext subjectAltName=" + subjects + " -keyout " + made.key.string() + " -out " +
      made.file.string());
  using std::filesystem::perms;
  const auto readable =
      perms::owner_read | perms::owner_write | perms::group_read | perms::others_read;
  for (const auto& file : {made.file, made.key}) std::filesystem::permissions(file, readable);
  return made;
}

certificate make_expired_certificate(const std::filesystem::path& folder, const std::string& name) {
  const auto signer = make_certificate(folder, name + "-signer");
  certificate made{folder / (name + ".crt"), signer.key};
  run_openssl("x509 -days 0 -in " + signer.file.string() + " -signkey " + signer.key.string() +
              " -out " + made.file.string());
  return made;
}

}  // namespace soundhash::db::test
