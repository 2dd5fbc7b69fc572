#pragma once

#include <cstdint>
#include <vector>

#include <soundhash/db/core/error.hpp>
#include <soundhash/db/observe/metrics.hpp>

#include "exec/retry_policy.hpp"
#include "observe/labelled_counter.hpp"

namespace soundhash::db {

/// Why an error went to the caller although its kind may run again.
enum class retry_refusal : std::uint8_t { attempts, deadline, stop, budget };

/// How a COMMIT that was sent, or refused before, ended.
enum class commit_end : std::uint8_t { committed, rolled_back, in_doubt };

/// Where a change came to be in doubt.
enum class doubt_in : std::uint8_t { transaction, statement };

/// What became of the calls of one database beyond single statements.
/// Thread safety: safe for concurrent use.
struct call_counters {
  labelled_counter<retry_reason, 7> retries{
      "db_client_retries_total",
      "Times that a transaction or a statement ran again, by the reason",
      "reason",
      {"serialization", "deadlock", "lost", "in_doubt", "demoted_primary", "stale_plan",
       "lock_timeout"}};
  labelled_counter<retry_refusal, 4> refusals{
      "db_client_retries_refused_total",
      "Errors that could have run again and went to the caller, by what forbade it",
      "by",
      {"attempts", "deadline", "stop", "budget"}};
  labelled_counter<commit_end, 3> commits{"db_client_commits_total",
                                          "Ends of transactions by commit, by the outcome",
                                          "outcome",
                                          {"committed", "rolled_back", "in_doubt"}};
  labelled_counter<doubt_in, 2> doubts{"db_client_in_doubt_total",
                                       "Changes sent whose answer was lost",
                                       "in",
                                       {"transaction", "statement"}};
  labelled_counter<commit_outcome, 3> resolutions{
      "db_client_in_doubt_resolutions_total",
      "Questions for the outcome of a transaction in doubt, by the answer",
      "outcome",
      {"committed", "rolled_back", "unknown"}};

  void add_figures(std::vector<figure>& out) const {
    retries.add_figures(out);
    refusals.add_figures(out);
    commits.add_figures(out);
    doubts.add_figures(out);
    resolutions.add_figures(out);
  }
};

}  // namespace soundhash::db
