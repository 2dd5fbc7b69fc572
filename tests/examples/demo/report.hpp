#pragma once

#include <optional>
#include <string>
#include <vector>

#include <soundhash/db.hpp>

#include "dataset.hpp"

/// What the search said about one clip.
struct verdict {
  const clip* of = nullptr;
  std::optional<soundhash::db::video_match> found;
  double milliseconds = 0;

  [[nodiscard]] bool right() const;
};

/// One line per encoding, one per wrong verdict, and the totals.
void print_verdicts(const std::vector<verdict>& verdicts);

/// The figures of the registry: totals, pool, and a line per query.
void print_metrics(const soundhash::db::metrics_snapshot& metrics,
                   const soundhash::db::pool_stats& pool);

/// What the cache did: hit rate, time of the database that it saved, its breaker.
void print_cache(const soundhash::db::metrics_snapshot& metrics);
