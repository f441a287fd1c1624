// What a load run comes to: sorted times, sums, and the requests that kept the latency goal.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "server/bench/load.h"

namespace coppice::server {

struct LoadSummary {
  std::vector<double> first_ms;  // this and the next two: of requests that succeeded, sorted
  std::vector<double> gap_ms;
  std::vector<double> whole_ms;
  std::vector<double> late_ms;  // of all, sorted
  std::int64_t prompt_tokens = 0;
  std::int64_t cached_tokens = 0;
  std::int64_t output_tokens = 0;
  std::int64_t kept = 0;  // requests that kept the goal
  std::int64_t errors = 0;
  std::string first_error;
};

LoadSummary summarise(const LoadOptions& options, const LoadResult& result);

// The value below which `fraction` of the sorted samples lie (nearest rank); 0 when there are none.
double percentile(const std::vector<double>& sorted, double fraction);

// The mean time of one token after the first text; an event may carry several. 0 where there is no second token.
double token_ms(const LoadOutcome& outcome);

bool has_goal(const LatencyGoal& goal);
// Whether a request succeeded within the goal. A request without any text is measured by its end.
bool keeps(const LatencyGoal& goal, const LoadOutcome& outcome);

}  // namespace coppice::server
