#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <soundhash/db/observe/metrics.hpp>

namespace soundhash::db {

/// A counter for each value of one label, the values of `Label` counted from 0.
/// Thread safety: safe for concurrent use; counting is one relaxed increment.
template <class Label, std::size_t Values>
class labelled_counter {
 public:
  /// All texts must live for ever, and need no escapes.
  constexpr labelled_counter(std::string_view name, std::string_view help, std::string_view label,
                             std::array<std::string_view, Values> values) noexcept
      : name_{name}, help_{help}, label_{label}, values_{values} {}

  void count(Label value) noexcept {
    counts_[static_cast<std::size_t>(value)].fetch_add(1, std::memory_order_relaxed);
  }

  void add_figures(std::vector<figure>& out) const {
    for (std::size_t i = 0; i < Values; ++i) {
      out.push_back({.name = std::string{name_},
                     .labels = std::string{label_}.append("=\"").append(values_[i]).append("\""),
                     .value = static_cast<double>(counts_[i].load(std::memory_order_relaxed)),
                     .counter = true,
                     .help = std::string{help_}});
    }
  }

 private:
  std::string_view name_;
  std::string_view help_;
  std::string_view label_;
  std::array<std::string_view, Values> values_;
  std::array<std::atomic<std::uint64_t>, Values> counts_{};
};

}  // namespace soundhash::db
