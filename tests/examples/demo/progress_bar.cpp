#include "progress_bar.hpp"

#include <algorithm>
#include <cstdio>
#include <utility>

#include <fmt/format.h>
#include <unistd.h>

progress_bar::progress_bar(std::string label, std::size_t total)
    : label_{std::move(label)},
      total_{std::max<std::size_t>(total, 1)},
      terminal_{isatty(1) == 1} {}

void progress_bar::advance(std::size_t by) {
  const std::lock_guard lock{mutex_};
  const auto tenths_before = done_ * 10 / total_;
  done_ = std::min(done_ + by, total_);
  if (terminal_ || done_ * 10 / total_ != tenths_before) draw();
}

void progress_bar::draw() const {
  constexpr std::size_t width = 40;
  const auto filled = done_ * width / total_;
  fmt::print("{}{:<18} [{:#<{}}{:.<{}}] {:>7}/{}{}", terminal_ ? "\r" : "", label_, "", filled, "",
             width - filled, done_, total_, terminal_ && done_ < total_ ? "" : "\n");
  std::fflush(stdout);
}
