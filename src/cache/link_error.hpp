#pragma once

#include <stdexcept>
#include <string>

namespace soundhash::db::redis {

/// A connection to Redis could not be made or is of no more use. The text says why, in words for a
/// log line, without any secret.
class link_error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// The same, since the other end is gone.
class link_lost : public link_error {
 public:
  using link_error::link_error;
};

}  // namespace soundhash::db::redis
