#include "driver/conninfo.hpp"

namespace soundhash::db::driver {

std::string conninfo::get(const std::string& keyword) const {
  const auto found = keywords.find(keyword);
  return found == keywords.end() ? std::string{} : found->second;
}

std::string conninfo::endpoint() const {
  const auto host = get("host");
  const auto port = get("port");
  return (host.empty() ? "local socket" : host) + ":" + (port.empty() ? "5432" : port);
}

}  // namespace soundhash::db::driver
