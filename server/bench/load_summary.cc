// Sums a load run up and judges its requests by the latency goal.
#include "server/bench/load_summary.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <numeric>

#include "fmt/format.h"

namespace coppice::server {

absl::StatusOr<LatencyGoal> parse_latency_goal(const std::string& spec) {
  constexpr double kGoalMaxMs = 1e9;  // ms: eleven days, no goal but a slip
  LatencyGoal goal;
  std::size_t begin = 0;
  while (begin <= spec.size()) {
    const std::size_t end = std::min(spec.find(',', begin), spec.size());
    const std::string part = spec.substr(begin, end - begin);
    const std::size_t equals = std::min(part.find('='), part.size());
    const std::string key = part.substr(0, equals);
    double* place = key == "ttft" ? &goal.ttft_ms : key == "itl" ? &goal.itl_ms : nullptr;
    double value = 0;
    const char* last = part.data() + part.size();
    const auto parsed = std::from_chars(part.data() + std::min(equals + 1, part.size()), last, value);
    const bool fine = parsed.ec == std::errc() && parsed.ptr == last && value > 0 && value <= kGoalMaxMs;
    if (place == nullptr || !fine || *place != 0) {
      return absl::InvalidArgumentError(
          fmt::format("--slo: \"{}\" is not understood; write ttft=MS,itl=MS, one or both", part));
    }
    *place = value;
    begin = end + 1;
  }
  return goal;
}

double percentile(const std::vector<double>& sorted, double fraction) {
  if (sorted.empty()) {
    return 0;
  }
  const double rank = std::ceil(fraction * static_cast<double>(sorted.size()));
  return sorted[static_cast<std::size_t>(std::max(1.0, rank)) - 1];
}

double token_ms(const LoadOutcome& outcome) {
  const double whole_s = std::accumulate(outcome.gaps_s.begin(), outcome.gaps_s.end(), 0.0);
  const auto events = static_cast<std::int64_t>(outcome.gaps_s.size());
  const std::int64_t tokens = std::max(outcome.output_tokens - 1, events);  // a server may report no usage
  return tokens > 0 ? whole_s * 1e3 / static_cast<double>(tokens) : 0;
}

bool has_goal(const LatencyGoal& goal) {
  return goal.ttft_ms > 0 || goal.itl_ms > 0;
}

bool keeps(const LatencyGoal& goal, const LoadOutcome& outcome) {
  const double first_ms = (outcome.first_text_s > 0 ? outcome.first_text_s : outcome.end_s) * 1e3;
  return outcome.ok && (goal.ttft_ms <= 0 || first_ms <= goal.ttft_ms) &&
         (goal.itl_ms <= 0 || token_ms(outcome) <= goal.itl_ms);
}

LoadSummary summarise(const LoadOptions& options, const LoadResult& result) {
  LoadSummary summary;
  for (const LoadOutcome& outcome : result.outcomes) {
    summary.late_ms.push_back(outcome.late_s * 1e3);
    summary.kept += keeps(options.goal, outcome) ? 1 : 0;
    if (!outcome.ok) {
      ++summary.errors;
      if (summary.first_error.empty()) {
        summary.first_error = outcome.error;
      }
      continue;
    }
    if (outcome.first_text_s > 0) {
      summary.first_ms.push_back(outcome.first_text_s * 1e3);
    }
    for (const double gap_s : outcome.gaps_s) {
      summary.gap_ms.push_back(gap_s * 1e3);
    }
    summary.whole_ms.push_back(outcome.end_s * 1e3);
    summary.prompt_tokens += outcome.prompt_tokens;
    summary.cached_tokens += outcome.cached_tokens;
    summary.output_tokens += outcome.output_tokens;
  }
  std::sort(summary.first_ms.begin(), summary.first_ms.end());
  std::sort(summary.gap_ms.begin(), summary.gap_ms.end());
  std::sort(summary.late_ms.begin(), summary.late_ms.end());
  std::sort(summary.whole_ms.begin(), summary.whole_ms.end());
  return summary;
}

}  // namespace coppice::server
