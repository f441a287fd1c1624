// Reports what a load run measured: a table for people, one JSON object for machines.
#include <algorithm>
#include <array>

#include "fmt/format.h"
#include "nlohmann/json.hpp"
#include "server/bench/load.h"
#include "server/bench/load_summary.h"

namespace coppice::server {
namespace {

constexpr std::array<std::pair<const char*, double>, 3> kPercentiles = {{{"p50", 0.5}, {"p90", 0.9}, {"p99", 0.99}}};
constexpr double kLateMs = 20;  // ms: less is within what a loaded machine's scheduler does

std::string goal_text(const LatencyGoal& goal) {
  std::string text;
  if (goal.ttft_ms > 0) {
    text += fmt::format("first token within {:g} ms", goal.ttft_ms);
  }
  if (goal.itl_ms > 0) {
    text += fmt::format("{}{:g} ms a token after it", text.empty() ? "" : ", ", goal.itl_ms);
  }
  return text;
}

}  // namespace

std::string load_report_json(const LoadOptions& options, const LoadResult& result) {
  const LoadSummary summary = summarise(options, result);
  nlohmann::ordered_json report;
  report["url"] = options.url;
  report["requests"] = result.outcomes.size();
  report["concurrency"] = options.concurrency;
  report["rate"] = options.rate;
  report["wall_s"] = result.wall_s;
  for (const auto& [name, fraction] : kPercentiles) {
    report[fmt::format("ttft_ms_{}", name)] = percentile(summary.first_ms, fraction);
    report[fmt::format("inter_token_ms_{}", name)] = percentile(summary.gap_ms, fraction);
    report[fmt::format("e2e_ms_{}", name)] = percentile(summary.whole_ms, fraction);
  }
  report["prompt_tokens"] = summary.prompt_tokens;
  report["cached_tokens"] = summary.cached_tokens;
  report["output_tokens"] = summary.output_tokens;
  report["output_tokens_per_s"] = static_cast<double>(summary.output_tokens) / result.wall_s;
  report["total_tokens_per_s"] = static_cast<double>(summary.output_tokens + summary.prompt_tokens) / result.wall_s;
  report["requests_per_s"] = static_cast<double>(summary.whole_ms.size()) / result.wall_s;
  report["errors"] = summary.errors;
  report["send_late_ms_p99"] = percentile(summary.late_ms, 0.99);
  if (!options.trace.path.empty()) {
    report["trace"] = {{"file", options.trace.path}, {"speed", options.trace.speed}, {"sessions", result.sessions}};
  }
  if (has_goal(options.goal)) {
    report["slo"] = {{"ttft_ms", options.goal.ttft_ms}, {"itl_ms", options.goal.itl_ms}};
    report["goodput_requests_per_s"] = static_cast<double>(summary.kept) / result.wall_s;
    report["goodput_share"] = static_cast<double>(summary.kept) / static_cast<double>(result.outcomes.size());
  }
  if (!summary.first_error.empty()) {
    report["first_error"] = summary.first_error;
  }
  return report.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
}

std::string load_report_table(const LoadOptions& options, const LoadResult& result) {
  const LoadSummary summary = summarise(options, result);
  std::string table = fmt::format("{}  {} requests in {:.2f} s, {} errors\n\n", options.url, result.outcomes.size(),
                                  result.wall_s, summary.errors);
  if (!summary.first_error.empty()) {
    table += fmt::format("first error: {}\n\n", summary.first_error);
  }
  table += fmt::format("{:<24}{:>12}{:>12}{:>12}\n", "milliseconds", "p50", "p90", "p99");
  const auto row = [&table](const char* name, const std::vector<double>& sorted) {
    table += fmt::format("{:<24}", name);
    for (const auto& [label, fraction] : kPercentiles) {
      table += fmt::format("{:>12.2f}", percentile(sorted, fraction));
    }
    table += '\n';
  };
  row("time to first token", summary.first_ms);
  row("between tokens", summary.gap_ms);
  row("end to end", summary.whole_ms);
  const double wall_s = std::max(result.wall_s, 1e-9);
  table += fmt::format(
      "\noutput tokens/s {:.1f}   total tokens/s {:.1f}   requests/s {:.2f}   prompt tokens cached {:.1f} %\n",
      static_cast<double>(summary.output_tokens) / wall_s,
      static_cast<double>(summary.output_tokens + summary.prompt_tokens) / wall_s,
      static_cast<double>(summary.whole_ms.size()) / wall_s,
      summary.prompt_tokens > 0
          ? 100.0 * static_cast<double>(summary.cached_tokens) / static_cast<double>(summary.prompt_tokens)
          : 0.0);
  if (has_goal(options.goal)) {
    table +=
        fmt::format("goodput {:.2f} requests/s, {:.1f} % of all ({})\n", static_cast<double>(summary.kept) / wall_s,
                    100.0 * static_cast<double>(summary.kept) / static_cast<double>(result.outcomes.size()),
                    goal_text(options.goal));
  }
  if (const double late_ms = percentile(summary.late_ms, 0.99); late_ms > kLateMs) {
    table += fmt::format("requests were sent up to {:.0f} ms late (p99): this machine was too busy to keep the times\n",
                         late_ms);
  }
  return table;
}

}  // namespace coppice::server
