#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include <soundhash/db/core/deadline.hpp>

namespace soundhash::db {

/// Turns host names into numeric addresses. A lookup has no time limit of its own (getaddrinfo has
/// none), so each runs on a thread that is abandoned when the deadline passes; threads under way
/// are bounded, so that a dead name service does not collect them. Thread safety: safe for
/// concurrent use. Abandoned threads may outlive it.
class name_resolver {
 public:
  /// Puts the numeric addresses of a host into its second argument; returns 0 or an EAI_ code of
  /// getaddrinfo. Called on several threads at once.
  using lookup = std::function<int(const std::string&, std::vector<std::string>&)>;

  /// Lookups at once, abandoned ones included; further ones wait for a place.
  static constexpr std::size_t most_lookups = 8;

  explicit name_resolver(lookup ask);

  /// The addresses in the lookup's order; a numeric address comes back as it is.
  /// Throws: connection_error{name_resolution}, by the deadline.
  [[nodiscard]] std::vector<std::string> resolve(const std::string& host, deadline until) const;

 private:
  struct shared_state;
  std::shared_ptr<shared_state> state_;
};

/// The same by getaddrinfo, with one bound for the process.
std::vector<std::string> resolve(const std::string& host, deadline until);

}  // namespace soundhash::db
