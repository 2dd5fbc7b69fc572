#include "migrate/jitter.hpp"

#include <random>

namespace soundhash::db::migrate {

std::chrono::milliseconds jittered(std::chrono::milliseconds pause) {
  thread_local std::minstd_rand engine{std::random_device{}()};
  std::uniform_int_distribution<std::chrono::milliseconds::rep> spread{pause.count() / 2,
                                                                       pause.count()};
  return std::chrono::milliseconds{spread(engine)};
}

}  // namespace soundhash::db::migrate
